"""Turn the encoded frames of stored instances into arrays, in children that may die of it.

    pool.py         the parent's side: children, their limits, their replacement
    messages.py     what parent and child say to each other
    child.py        the child's side: one request after the other
    frames.py       one frame of one file -> stored values
    description.py  what the header says of the pixels
    native.py       one uncompressed frame -> samples
    codecs.py       one compressed frame -> samples
    codestream.py   what a compressed frame says of itself

The bytes come from anyone who can send, and the codecs are C: a decoder that crashes, hangs or
grows takes one frame with it and nothing else. Only children import the codecs.
"""

from medr1_pacs.decoding.messages import DecodedFrame
from medr1_pacs.decoding.pool import DecoderPool

__all__ = ["DecodedFrame", "DecoderPool"]
