"""Read the header of a received file in a guarded child: a peer controls every byte of it.

child.py   parses one header a request, within limits
reader.py  the parent's side
"""

from medr1_pacs.parsing.reader import HeaderReader

__all__ = ["HeaderReader"]
