"""Our synthetic studies say in a private block what their marker is: the truth of the demo
questions, which the model never sees."""

from __future__ import annotations

PHANTOM_PRIVATE_GROUP = 0x0099
PHANTOM_PRIVATE_CREATOR = "MEDR1 PHANTOM 1"
PHANTOM_ELEMENTS = {0x01: "PhantomMarkerQuadrant", 0x02: "PhantomMarkerShape"}
"""Element of the block -> the keyword under which it is indexed."""
