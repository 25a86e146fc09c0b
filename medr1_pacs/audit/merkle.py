"""The Merkle tree of RFC 9162 2.1: its hashes, its right edge, and the verifying of proofs.

Only the standard library is imported: a verifier that stands alone carries a copy of this file.
Making proofs needs the leaves and is in `proofs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one entry (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two neighbouring subtrees (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: as much of it as is needed to add leaves and to know the root.

    Attributes
    ----------
    size
        The number of leaves.
    hashes
        The roots of the perfect subtrees that the tree consists of, the largest first: one for
        each bit that is set in `size`.

    Raises
    ------
    ValueError
        The size is negative, or these hashes are not those of a tree of this size.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count():
            raise ValueError(f"{len(self.hashes)} hashes are not the edge of {size} leaves")
        if any(len(given) != HASH_BYTES for given in self.hashes):
            raise ValueError(f"a hash has {HASH_BYTES} bytes")

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf; one more hash a leaf on average.

        Raises
        ------
        ValueError
            It is no hash by its length.
        """
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"the hash of a leaf has {HASH_BYTES} bytes, not {len(leaf)}")
        # Each trailing 1 of the size is a subtree as large as what has just been completed. This
        # runs for millions of leaves, so node_hash is written out.
        hashes, rest, sha256 = self.hashes, self.size, hashlib.sha256
        while rest & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            rest >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self.hashes:
            return EMPTY_ROOT
        *left, root = self.hashes
        for subtree in reversed(left):
            root = node_hash(subtree, root)
        return root


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether a proof shows that a leaf is in a tree (RFC 9162 2.1.3.2).

    Parameters
    ----------
    index
        Of the leaf, from 0.
    size
        The number of leaves of the tree.
    leaf
        The hash of the leaf, not its data.
    """
    if not 0 <= index < size or not _are_hashes(leaf, *proof):
        return False
    node, last = index, size - 1  # fn and sn of the standard
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            leaf = node_hash(sibling, leaf)
            # A last node without a sibling is its own parent: up to where it has one.
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = node_hash(leaf, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and leaf == root


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Whether a proof shows that a tree begins with all of an earlier one (RFC 9162 2.1.4.2).

    A tree is consistent with itself by an empty proof. With a tree without leaves every tree is,
    which says nothing: that is never shown.

    Parameters
    ----------
    first, second
        The numbers of leaves of the earlier tree and of the later one.
    """
    if first == second:
        return first > 0 and not proof and first_root == second_root
    if not 0 < first < second or not proof or not _are_hashes(first_root, *proof):
        return False
    # The root of a perfect first tree is known and left out of the proof.
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    node, last = first - 1, second - 1  # fn and sn of the standard
    while node & 1:
        node, last = node >> 1, last >> 1
    earlier = later = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            earlier, later = node_hash(sibling, earlier), node_hash(sibling, later)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            later = node_hash(later, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and earlier == first_root and later == second_root


def _are_hashes(*given: bytes) -> bool:
    return all(len(one) == HASH_BYTES for one in given)
