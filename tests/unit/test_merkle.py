"""The Merkle tree and its proofs: against published cases and against the definition itself."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medr1_pacs.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from medr1_pacs.audit.proofs import consistency_proof, inclusion_proof, split_hashes

# transparency-dev/merkle, testdata: eight entries, and the root of the tree of the first n.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(root)
    for root in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
# Of the same: leaf 5 of 8, and 6 of 8 leaves.
INCLUSION_5_OF_8 = [
    bytes.fromhex(sibling)
    for sibling in (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    )
]
CONSISTENCY_6_OF_8 = [
    bytes.fromhex(sibling)
    for sibling in (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    )
]
VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "merkle.json"

SIZES = range(1, 71)
MANY = tuple(leaf_hash(b"%d" % number) for number in SIZES)


@cache
def root_of(start: int, end: int) -> bytes:
    """MTH of RFC 9162 2.1.1 over a part of MANY, as it is written there."""
    return naive_root(MANY[start:end])


def naive_root(leaves) -> bytes:
    n = len(leaves)
    if n == 0:
        return EMPTY_ROOT
    if n == 1:
        return leaves[0]
    k = max(2**power for power in range(n) if 2**power < n)
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


def frontier_of(leaves) -> Frontier:
    tree = Frontier()
    for leaf in leaves:
        tree.add(leaf)
    return tree


def flipped(given: bytes) -> bytes:
    return bytes([given[0] ^ 16]) + given[1:]


def wrong_proofs(proof: list[bytes]) -> list[list[bytes]]:
    """Return what is almost this proof."""
    return [
        proof[:-1],
        proof[1:],
        *[[*proof[:at], flipped(proof[at]), *proof[at + 1 :]] for at in range(len(proof))],
        *[[*proof, more] for more in (b"", ROOTS[1], *proof)],
        *[[more, *proof] for more in (b"", ROOTS[1], *proof)],
    ]


# -- roots -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(9))
def test_the_root_of_the_first_leaves_is_the_published_one(size):
    assert frontier_of(LEAVES[:size]).root() == ROOTS[size]


def test_a_leaf_is_not_taken_for_a_node():
    left, right = LEAVES[:2]

    assert leaf_hash(left + right) != node_hash(left, right)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_the_right_edge_knows_the_root_of_all(leaves):
    tree = frontier_of(leaves)

    assert (tree.size, tree.root()) == (len(leaves), naive_root(leaves))


@settings(deadline=None)
@given(st.integers(0, 70), st.integers(0, 70))
def test_a_right_edge_that_was_kept_grows_like_one_that_was_not(kept, more):
    kept, more = sorted((kept, more))
    before = frontier_of(MANY[:kept])
    after = Frontier(before.size, before.hashes)
    for leaf in MANY[kept:more]:
        after.add(leaf)

    assert (after.size, after.hashes) == (more, frontier_of(MANY[:more]).hashes)
    assert before.root() == root_of(0, kept)


def test_the_right_edge_holds_the_largest_subtree_first():
    assert frontier_of(MANY[:7]).hashes == [root_of(0, 4), root_of(4, 6), MANY[6]]


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(0, MANY[:1]), (1, []), (3, MANY[:1]), (3, MANY[:3]), (4, MANY[:2]), (-1, MANY[:1])],
)
def test_hashes_that_do_not_fit_the_size_are_no_right_edge(size, hashes):
    with pytest.raises(ValueError, match="are not the edge of"):
        Frontier(size, hashes)


def test_a_right_edge_of_something_else_than_hashes_is_refused():
    with pytest.raises(ValueError, match="has 32 bytes"):
        Frontier(3, [MANY[0], MANY[1].hex().encode()])


@pytest.mark.parametrize("leaf", [b"", b"an entry", MANY[0].hex().encode()])
def test_an_entry_is_not_added_in_place_of_its_hash(leaf):
    tree = frontier_of(MANY[:3])

    with pytest.raises(ValueError, match="32 bytes, not"):
        tree.add(leaf)

    assert (tree.size, tree.root()) == (3, root_of(0, 3))


# -- inclusion ---------------------------------------------------------------------------------


def test_the_published_proof_shows_a_leaf():
    assert verify_inclusion(5, 8, LEAVES[5], INCLUSION_5_OF_8, ROOTS[8])


def test_the_published_proof_of_inclusion_is_made():
    assert inclusion_proof(LEAVES, 5, 8) == INCLUSION_5_OF_8


@pytest.mark.parametrize(
    ("index", "size", "leaf", "root"),
    [
        (4, 8, LEAVES[5], ROOTS[8]),
        (6, 8, LEAVES[5], ROOTS[8]),
        (-3, 8, LEAVES[5], ROOTS[8]),
        (5, 4, LEAVES[5], ROOTS[8]),
        (5, 16, LEAVES[5], ROOTS[8]),
        (5, 8, LEAVES[4], ROOTS[8]),
        (5, 8, b"WrongLeaf", ROOTS[8]),
        (5, 8, ENTRIES[5], ROOTS[8]),
        (5, 8, LEAVES[5], ROOTS[7]),
        (5, 8, LEAVES[5], b""),
        (2**64 - 1, 8, LEAVES[5], ROOTS[8]),
    ],
)
def test_a_proof_shows_no_other_leaf(index, size, leaf, root):
    assert not verify_inclusion(index, size, leaf, INCLUSION_5_OF_8, root)


@pytest.mark.parametrize("proof", wrong_proofs(INCLUSION_5_OF_8))
def test_a_changed_proof_shows_no_leaf(proof):
    assert not verify_inclusion(5, 8, LEAVES[5], proof, ROOTS[8])


def test_a_root_is_the_leaf_only_where_there_is_one():
    assert verify_inclusion(0, 1, ROOTS[1], [], ROOTS[1])
    assert not verify_inclusion(1, 1, ROOTS[1], [], ROOTS[1])
    assert not verify_inclusion(0, 2, ROOTS[2], [], ROOTS[2])
    assert not verify_inclusion(0, 0, EMPTY_ROOT, [], EMPTY_ROOT)


def test_a_part_of_a_proof_is_not_a_hash_of_another_length():
    # A node is hashed as the two sides together: where they meet is not part of the hash.
    left, right = MANY[:2]

    assert verify_inclusion(0, 2, left, [right], node_hash(left, right))
    assert not verify_inclusion(0, 2, left + right[:8], [right[8:]], node_hash(left, right))
    assert not verify_inclusion(0, 1, left[:8], [], left[:8])


def test_a_proof_that_goes_on_above_the_root_shows_no_leaf():
    above = node_hash(MANY[0], ROOTS[8])

    assert not verify_inclusion(5, 8, LEAVES[5], [*INCLUSION_5_OF_8, MANY[0]], above)


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_has_its_proof(size):
    for index in range(size):
        proof = inclusion_proof(MANY, index, size)

        assert verify_inclusion(index, size, MANY[index], proof, root_of(0, size))


@pytest.mark.parametrize("size", [1, 2, 7, 8, 21, 64, 70])
def test_a_proof_shows_no_leaf_but_its_own(size):
    for index in range(size):
        proof = inclusion_proof(MANY, index, size)

        shown = [
            at
            for at in range(size)
            if verify_inclusion(at, size, MANY[at], proof, root_of(0, size))
        ]
        assert shown == [index]


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (6, 5)])
def test_no_proof_is_made_of_a_leaf_that_is_not_in_the_tree(index, size):
    with pytest.raises(ValueError, match="there is no leaf"):
        inclusion_proof(MANY, index, size)


# -- consistency -------------------------------------------------------------------------------


def test_the_published_proof_shows_that_a_tree_grew():
    assert verify_consistency(6, 8, CONSISTENCY_6_OF_8, ROOTS[6], ROOTS[8])


def test_the_published_proof_of_consistency_is_made():
    assert consistency_proof(LEAVES, 6, 8) == CONSISTENCY_6_OF_8


@pytest.mark.parametrize(
    ("first", "second", "first_root", "second_root"),
    [
        (4, 8, ROOTS[6], ROOTS[8]),
        (5, 8, ROOTS[6], ROOTS[8]),
        (7, 8, ROOTS[6], ROOTS[8]),
        (0, 8, EMPTY_ROOT, ROOTS[8]),
        (-6, 8, ROOTS[6], ROOTS[8]),
        (6, 4, ROOTS[6], ROOTS[8]),
        (6, 6, ROOTS[6], ROOTS[6]),
        (6, 16, ROOTS[6], ROOTS[8]),
        (6, 8, ROOTS[8], ROOTS[6]),
        (6, 8, ROOTS[5], ROOTS[8]),
        (6, 8, ROOTS[6], ROOTS[7]),
        (6, 8, b"", ROOTS[8]),
    ],
)
def test_a_proof_shows_no_other_growth(first, second, first_root, second_root):
    assert not verify_consistency(first, second, CONSISTENCY_6_OF_8, first_root, second_root)


@pytest.mark.parametrize("proof", wrong_proofs(CONSISTENCY_6_OF_8))
def test_a_changed_proof_shows_no_growth(proof):
    assert not verify_consistency(6, 8, proof, ROOTS[6], ROOTS[8])


def test_an_empty_proof_shows_no_growth():
    assert not verify_consistency(6, 8, [], ROOTS[6], ROOTS[8])
    assert not verify_consistency(4, 8, [], ROOTS[4], ROOTS[8])


def test_what_is_no_hash_by_its_length_shows_no_growth():
    a, b, c, d = MANY[:4]
    ab, cut = node_hash(a, b), (c + d[:8], d[8:])
    roots = node_hash(ab, cut[0]), node_hash(ab, node_hash(c, d))

    assert not verify_consistency(3, 4, [*cut, ab], *roots)
    assert not verify_consistency(1, 2, [b], a[:8], node_hash(a[:8], b))


def test_a_proof_that_goes_on_above_the_roots_shows_no_growth():
    above = [node_hash(MANY[0], root) for root in (ROOTS[6], ROOTS[8])]

    assert not verify_consistency(6, 8, [*CONSISTENCY_6_OF_8, MANY[0]], *above)


def test_a_tree_is_consistent_with_itself_by_an_empty_proof():
    assert verify_consistency(5, 5, [], ROOTS[5], ROOTS[5])
    assert not verify_consistency(5, 5, [], ROOTS[5], ROOTS[6])
    assert consistency_proof(LEAVES, 5, 5) == []


def test_growth_from_nothing_is_never_shown():
    assert not verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    assert not verify_consistency(0, 1, [], EMPTY_ROOT, ROOTS[1])


@pytest.mark.parametrize("second", SIZES)
def test_every_tree_is_shown_to_have_grown_from_every_smaller_one(second):
    for first in range(1, second + 1):
        proof = consistency_proof(MANY, first, second)

        assert verify_consistency(first, second, proof, root_of(0, first), root_of(0, second))


@pytest.mark.parametrize("second", [2, 7, 8, 21, 64, 70])
def test_a_proof_shows_growth_from_its_own_tree_alone(second):
    for first in range(1, second):
        proof = consistency_proof(MANY, first, second)

        shown = [
            size
            for size in range(1, second)
            if verify_consistency(size, second, proof, root_of(0, size), root_of(0, second))
        ]
        assert shown == [first]


@settings(deadline=None)
@given(st.integers(2, 70), st.data())
def test_a_tree_whose_past_was_changed_is_not_shown_to_have_grown(second, data):
    first = data.draw(st.integers(1, second - 1))
    changed = data.draw(st.integers(0, first - 1))
    leaves = [*MANY[:changed], flipped(MANY[changed]), *MANY[changed + 1 : second]]
    proof = consistency_proof(leaves, first, second)

    assert not verify_consistency(first, second, proof, root_of(0, first), naive_root(leaves))


@pytest.mark.parametrize(("first", "second"), [(0, 5), (0, 0), (-1, 5), (6, 5)])
def test_no_proof_is_made_of_growth_that_cannot_be(first, second):
    with pytest.raises(ValueError, match="no proof leads"):
        consistency_proof(MANY, first, second)


# -- the leaves that proofs are made of --------------------------------------------------------


@pytest.mark.parametrize("make", [inclusion_proof, consistency_proof])
def test_no_proof_is_made_of_fewer_leaves_than_the_tree_has(make):
    with pytest.raises(ValueError, match="fewer than 8 leaves"):
        make(LEAVES[:7], 3, 8)


@pytest.mark.parametrize("make", [inclusion_proof, consistency_proof])
def test_leaves_are_read_once_and_no_further_than_the_tree(make):
    read = count()
    leaves = (MANY[next(read)] for _ in MANY)

    assert make(leaves, 6, 21) == make(MANY, 6, 21)
    assert next(read) == 21


def test_a_buffer_is_split_into_its_hashes():
    assert list(split_hashes(b"".join(MANY))) == list(MANY)
    assert list(split_hashes(memoryview(b"".join(MANY[:3]))[32:])) == list(MANY[1:3])
    assert list(split_hashes(b"")) == []


def test_a_buffer_with_a_part_of_a_hash_is_refused():
    with pytest.raises(ValueError, match="no whole number"):
        split_hashes(b"".join(MANY)[:-1])


# -- all published cases -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def vectors():
    if not VECTORS.exists():
        pytest.skip("the published cases are not beside the repository")
    return json.loads(VECTORS.read_text("utf-8"))


def hashes_of(case) -> list[bytes]:
    return [b64decode(sibling) for sibling in case["proof"] or ()]


def test_every_published_case_of_inclusion_has_its_answer(vectors):
    assert len(vectors["inclusion"]) == 98
    for case in vectors["inclusion"]:
        leaf, root = b64decode(case["leafHash"]), b64decode(case["root"])
        is_shown = verify_inclusion(case["leafIdx"], case["treeSize"], leaf, hashes_of(case), root)

        assert is_shown is not case["wantErr"], case


def test_every_published_case_of_consistency_has_its_answer(vectors):
    assert len(vectors["consistency"]) == 98
    for case in vectors["consistency"]:
        roots = b64decode(case["root1"]), b64decode(case["root2"])
        is_shown = verify_consistency(case["size1"], case["size2"], hashes_of(case), *roots)

        assert is_shown is not case["wantErr"], case
