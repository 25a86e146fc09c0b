"""Lookup tables as DICOM objects carry them: a descriptor of three values, and entries.

The Modality LUT (PS3.3 C.11.1.1), the VOI LUT (C.11.2.1.1) and the palettes (C.7.6.3.1.5) share
this form; palettes may also be segmented (C.7.9.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import find_value

_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A table whose first entry belongs to the value `first_mapped`."""

    first_mapped: int
    entries: np.ndarray
    """``(n,)`` uint16, each in 0 .. 2**bits - 1."""
    bits: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Look values up; those outside take the first or the last entry (PS3.3 C.11.1.1)."""
        indices = np.rint(values).astype(np.int64) - self.first_mapped
        outputs: np.ndarray = self.entries[np.clip(indices, 0, len(self.entries) - 1)]
        return outputs


def find_lut(
    item: Dataset,
    descriptor_keyword: str,
    data_keyword: str,
    *,
    segmented: bool = False,
    is_little_endian: bool = True,
) -> LookupTable | None:
    """Return a lookup table, or None if it is absent or its parts contradict each other.

    Parameters
    ----------
    is_little_endian
        Byte order of the entries where their element holds bytes (OW).
    """
    try:
        count, first_mapped, bits = (int(value) for value in find_value(item, descriptor_keyword))
    except (TypeError, ValueError):
        return None
    data = find_value(item, data_keyword)
    if data is None or not 1 <= bits <= 16:
        return None
    count = count or 65536  # 2**16 does not fit the descriptor's 16 bits
    if segmented:
        words = _words(data, 8 if bits <= 8 else 16, is_little_endian)
        entries = expand_segments(words.tolist(), count, bytes_per_word=1 if bits <= 8 else 2)
    else:
        # 8-bit entries come packed two in a word, or one in a word each.
        is_packed = isinstance(data, bytes) and bits <= 8 and len(data) < 2 * count
        entries = _words(data, 8 if is_packed else 16, is_little_endian)[:count]
    if len(entries) < count:
        return None
    highest = int(entries.max())
    # Descriptors that say 8 over entries scaled to 16 bits exist; the entries are right.
    return LookupTable(first_mapped, entries, 16 if highest >= 1 << bits else bits)


def _words(data: object, bits: int, is_little_endian: bool) -> np.ndarray:
    """Return the entries of an LUT Data element, whatever its VR made of them, as uint16."""
    if isinstance(data, bytes):
        order = "<" if is_little_endian else ">"
        dtype = np.dtype(np.uint8) if bits == 8 else np.dtype(f"{order}u2")
        usable = len(data) - len(data) % dtype.itemsize
        return np.frombuffer(data[:usable], dtype).astype(np.uint16)
    try:
        return (np.atleast_1d(np.array(data, dtype=np.int64)) & 0xFFFF).astype(np.uint16)
    except (TypeError, ValueError):
        return np.empty(0, np.uint16)


def expand_segments(words: Sequence[int], count: int, *, bytes_per_word: int) -> np.ndarray:
    """Expand a segmented palette (PS3.3 C.7.9.2) to at most `count` entries.

    A malformed segment ends the expansion, so the result may be too short. It is never longer
    than `count`, however often indirect segments repeat others.
    """
    entries: list[int] = []
    position: int | None = 0
    while position is not None and position + 1 < len(words) and len(entries) < count:
        if words[position] != _INDIRECT:
            position = _append_segment(words, position, entries)
            continue
        copies, end = words[position + 1], position + 2 + 4 // bytes_per_word
        source: int | None = (
            _byte_offset(words[position + 2 : end], bytes_per_word) // bytes_per_word
        )
        position = end
        while copies and source is not None and len(entries) < count:
            source = _append_segment(words, source, entries)
            copies -= 1
    return np.array(entries[:count], dtype=np.uint16)


def _byte_offset(words: Sequence[int], bytes_per_word: int) -> int:
    """Read 32 bits, least significant word first."""
    return sum(word << 8 * bytes_per_word * place for place, word in enumerate(words))


def _append_segment(words: Sequence[int], position: int, entries: list[int]) -> int | None:
    """Append one discrete or linear segment; return where the next begins, None if malformed.

    An indirect segment is malformed here: one may not lead to another (C.7.9.2.3).
    """
    if position + 2 >= len(words):
        return None
    opcode, length = words[position : position + 2]
    position += 2
    if opcode == _DISCRETE:
        entries.extend(words[position : position + length])
        return position + length
    if opcode == _LINEAR and entries:
        # The line starts at the entry before and ends at the one named.
        line = np.linspace(entries[-1], words[position], length + 1)[1:]
        entries.extend(np.rint(line).astype(int).tolist())
        return position + 1
    return None
