"""Making the proofs of RFC 9162 2.1.3 and 2.1.4 from the hashes of the leaves.

A proof consists of the roots of a few runs of leaves. Which runs follows from the sizes alone, and
no two of them overlap, so one pass over the leaves finds all their roots: memory does not grow with
the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from medr1_pacs.audit.merkle import HASH_BYTES, Frontier

_Run = tuple[int, int]
"""Leaves from the first index up to, and without, the second."""


def split_hashes(stored: bytes | memoryview) -> Iterator[bytes]:
    """Return the hashes that lie one after the other in a buffer, without a copy of the whole.

    Raises
    ------
    ValueError
        The last one is not whole.
    """
    view = memoryview(stored).cast("B")
    if len(view) % HASH_BYTES:
        raise ValueError(f"{len(view)} bytes are no whole number of hashes")
    return (bytes(view[at : at + HASH_BYTES]) for at in range(0, len(view), HASH_BYTES))


def inclusion_proof(leaves: Iterable[bytes], index: int, size: int) -> list[bytes]:
    """Return what shows that a leaf is in the tree of the first `size` leaves (RFC 9162 2.1.3.1).

    Parameters
    ----------
    leaves
        The hashes of at least as many leaves, in order; read once, no further than needed.
    index
        Of the leaf, from 0.

    Raises
    ------
    ValueError
        There is no such leaf in such a tree, or there are fewer leaves.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    runs: list[_Run] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            runs.append((middle, end))
            end = middle
        else:
            runs.append((start, middle))
            start = middle
    return _roots(leaves, runs[::-1])


def consistency_proof(leaves: Iterable[bytes], first: int, second: int) -> list[bytes]:
    """Return what shows that the tree of `second` leaves begins with that of `first` (2.1.4.1).

    Empty where both are the same.

    Parameters
    ----------
    leaves
        The hashes of at least `second` leaves, in order; read once, no further than needed.

    Raises
    ------
    ValueError
        The first tree is empty or the larger one, or there are fewer leaves.
    """
    if not 0 < first <= second:
        raise ValueError(f"no proof leads from a tree of {first} leaves to one of {second}")
    runs: list[_Run] = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            runs.append((middle, end))
            end = middle
        else:
            runs.append((start, middle))
            start = middle
    if start:  # otherwise the first tree is this run, and whoever verifies has its root
        runs.append((start, end))
    return _roots(leaves, runs[::-1])


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2 (k of RFC 9162 2.1.1)."""
    return 1 << (size - 1).bit_length() - 1


def _roots(leaves: Iterable[bytes], runs: list[_Run]) -> list[bytes]:
    """Return the root of each run, in the order given."""
    rest, read = iter(leaves), 0
    roots: dict[_Run, bytes] = {}
    for start, end in sorted(runs):
        next(islice(rest, start - read, start - read), None)  # skips what lies between
        tree = Frontier()
        for leaf in islice(rest, end - start):
            tree.add(leaf)
        if tree.size < end - start:
            raise ValueError(f"there are fewer than {end} leaves")
        roots[start, end] = tree.root()
        read = end
    return [roots[run] for run in runs]
