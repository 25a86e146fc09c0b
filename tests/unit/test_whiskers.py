"""Where the dots and lines of the figure of shares are."""

from __future__ import annotations

import pytest

from medr1_pacs.records.accuracy import AccuracyRow
from medr1_pacs.web.pages.whiskers import (
    AXIS,
    BOTTOM,
    LABEL_MAX,
    LEFT,
    ROW,
    TOP,
    PlottedShare,
    plot,
    shorten,
)


def make_row(accuracy=0.5, low=0.25, high=0.75, patients=12) -> AccuracyRow:
    return AccuracyRow(
        by={"question": "q"},
        accuracy=accuracy,
        low=low,
        high=high,
        method="wilson" if accuracy is not None else "",
        right=6,
        answers=12,
        patients=patients,
        few_patients=patients < 10,
        unparsed=0,
        unknown_truth=0,
    )


def mark_of(*labels, **row):
    [mark] = plot([PlottedShare(labels or ("q",), make_row(**row))]).marks
    return mark


def test_a_share_lies_on_the_axis_between_0_and_100_percent():
    mark = mark_of(accuracy=0.5, low=0, high=1)

    assert (mark.x_low, mark.x, mark.x_high) == (LEFT, LEFT + AXIS / 2, LEFT + AXIS)


def test_the_ticks_are_where_shares_would_be():
    ticks = plot([]).ticks

    assert ticks[0] == (LEFT, 0)
    assert ticks[-1] == (LEFT + AXIS, 100)
    assert (mark_of(accuracy=0.4).x, 40) in ticks


def test_the_figures_are_written_beside_it():
    assert mark_of(patients=1_234).figures == "50.0 % (25.0 to 75.0 %), 1,234 patients"
    assert mark_of(patients=1).figures.endswith(", 1 patient")


def test_without_a_share_there_is_no_dot():
    mark = mark_of(accuracy=None, low=None, high=None)

    assert (mark.x, mark.figures) == (None, "–")


@pytest.mark.parametrize(("patients", "is_of_few"), [(9, True), (10, False)])
def test_a_share_of_few_patients_is_drawn_as_one(patients, is_of_few):
    assert mark_of(patients=patients).is_of_few is is_of_few


def test_rows_are_below_each_other_and_fit():
    drawn = plot(PlottedShare((f"q{n}",), make_row()) for n in range(50))

    assert [mark.y for mark in drawn.marks] == [TOP + ROW * (n + 0.5) for n in range(50)]
    assert drawn.height == TOP + 50 * ROW + BOTTOM


def test_a_long_label_is_cut_where_it_is_longest():
    label = shorten(("0a7f168f4dcca4748a9fb93321e846b7", "xr-chest-projection", "xray"))

    assert len(label) <= LABEL_MAX
    assert label.startswith("0a7f168")
    assert " · xr-ch" in label
    assert label.endswith(" · xray")


def test_a_label_that_fits_is_whole():
    assert shorten(("xr-technique", "xray")) == "xr-technique · xray"
