"""What was shown before, kept in little memory."""

from __future__ import annotations

from medr1_pacs.db.past import PastValues, hash_past


def test_what_was_of_a_row_is_found_among_others():
    past = PastValues()
    past.add("answer", 3, {"is_current": True})
    past.add("answer", 7, {"truth": "A", "no_such_column": 1})
    past.add("series", 7, {"plane": "axial"})

    assert [past.get("answer", n) for n in (2, 3, 5, 7, 9)] == [
        {}, {"is_current": True}, {}, {"truth": "A"}, {},
    ]  # fmt: skip
    assert (past.get("series", 7), past.get("selection", 7)) == ({"plane": "axial"}, {})
    assert list(past.ids("answer")) == [3, 7]


def test_equal_values_are_kept_once():
    past = PastValues()
    for row_id in range(100):
        past.add("answer", row_id, {"is_current": True})

    assert past.get("answer", 1) is past.get("answer", 99)


def test_the_hash_of_what_was_is_of_the_rows_in_order():
    pairs = [(1, {"truth": None}), (2, {"is_current": True, "study_version": 1})]

    assert hash_past(pairs) == hash_past(reversed(pairs))
    assert hash_past(pairs) != hash_past(pairs[:1])
