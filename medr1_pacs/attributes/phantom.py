"""Our synthetic studies say in a private block what their marker is: the truth of the demo
questions, which the model never sees."""

from __future__ import annotations

PHANTOM_PRIVATE_GROUP = 0x0099
PHANTOM_PRIVATE_CREATOR = "MEDR1 PHANTOM 1"
PHANTOM_ELEMENTS = {0x01: "PhantomMarkerQuadrant", 0x02: "PhantomMarkerShape"}
"""Element of the block -> the keyword under which it is indexed."""
PHANTOM_TAGS: tuple[int, ...] = tuple(
    (PHANTOM_PRIVATE_GROUP << 16) | element
    for block in range(0x10, 0x20)
    for element in (block, *(block << 8 | offset for offset in PHANTOM_ELEMENTS))
)
"""Where the block is looked for: the first sixteen that a group can have (PS3.5 7.8.1)."""
