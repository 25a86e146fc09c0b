"""Where the figures of a reading protocol's results have their dots, lines and bars."""

from __future__ import annotations

import pytest
from judged import draw_protocol

from medr1_pacs.reviews.changes import Change, ChangeCounts
from medr1_pacs.reviews.curves import Curve
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, Measure, Subject
from medr1_pacs.reviews.results import compute_results
from medr1_pacs.web.pages.reading_figures import (
    group_accuracies,
    say_figure,
    tabulate_changes,
    tabulate_rightness,
)
from medr1_pacs.web.pages.reading_plots import (
    AXIS,
    BAR_HALF,
    LEFT,
    MARGIN,
    ROC_TOP,
    SQUARE,
    plot_changes,
    plot_curves,
    plot_shares,
)


def share(value_of, who="Reader A"):
    rights = [(n < value_of * 10, f"p{n}") for n in range(10)]
    subject = Subject("q", "blind", who)
    return subject.share(Measure.ACCURACY, rights, unit="cases", empty="none")


def test_a_share_lies_on_the_axis_below_the_heading_of_its_group():
    plot = plot_shares([("", MODEL, [share(1)]), ("Blind", "blind", [share(0.5), share(0)])])

    first, second, third = plot.marks
    assert (first.x, second.x, third.x) == (LEFT + AXIS, LEFT + AXIS / 2, LEFT)
    [(y, heading)] = plot.headings
    assert heading == "Blind"
    assert first.y < y < second.y < third.y < plot.bottom
    assert second.x_low < second.x < second.x_high


def test_a_share_of_nothing_has_no_dot():
    empty = Subject("q", "blind", "Reader A").share(
        Measure.ACCURACY, [], unit="cases", empty="none"
    )
    [mark] = plot_shares([("Blind", "blind", [empty])]).marks

    assert (mark.x, mark.figures) == (None, "–, n = 0")


@pytest.mark.parametrize(("patients", "is_of_few"), [(9, True), (10, False)])
def test_a_share_of_few_patients_is_drawn_so(patients, is_of_few):
    cases = [(True, f"p{n % patients}") for n in range(40)]
    figure = Subject("q", "blind", "Reader A").share(
        Measure.ACCURACY, cases, unit="cases", empty="none"
    )
    [mark] = plot_shares([("Blind", "blind", [figure])]).marks

    assert (figure.patients, mark.is_of_few) == (patients, is_of_few)


def test_a_curve_goes_from_the_lower_left_to_the_upper_right_corner():
    curve = Curve("blind", "Reader A", [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)], (0.5, 0.5))
    model = Curve("", MODEL, [], (0.0, 1.0))
    plot = plot_curves([model, curve])

    [panel] = plot.panels
    reader, drawn_model = panel.curves
    bottom = ROC_TOP + SQUARE
    assert reader.points == f"{MARGIN},{bottom} {MARGIN},{ROC_TOP} {MARGIN + SQUARE},{ROC_TOP}"
    assert reader.dot == (MARGIN + SQUARE / 2, ROC_TOP + SQUARE / 2)
    assert (drawn_model.points, drawn_model.dot) == ("", (MARGIN, ROC_TOP))


def test_without_readers_there_is_no_plot_of_curves():
    assert plot_curves([Curve("", MODEL, [], (0.0, 1.0))]) is None
    assert plot_changes([]) is None


def test_bars_are_as_long_as_their_counts_on_either_side():
    counts = dict.fromkeys(Change, 0) | {Change.TO_RIGHT: 4, Change.TO_WRONG: 2}
    [bar] = plot_changes([ChangeCounts("blind to assisted", "Reader A", 10, counts)]).bars

    assert bar.right_width == 2 * bar.wrong_width == BAR_HALF - 30


def make_figure(measure, value, low=None, high=None):
    figure = Subject("q", "blind", "Reader A").plain(measure, value, n=5, unit="x", method="y")
    return type(figure)(
        **{name: getattr(figure, name) for name in figure.__slots__} | {"low": low, "high": high}
    )


@pytest.mark.parametrize(
    ("measure", "values", "text"),
    [
        (Measure.ACCURACY, (0.5, 0.25, 0.75), "50.0 % (25.0 to 75.0)"),
        (Measure.COHENS_KAPPA, (-0.1, -0.25, 0.05), "−0.100 (−0.250 to 0.050)"),
        (Measure.ACCURACY_DIFFERENCE, (0.05, -0.01, 0.11), "+5.0 points (−1.0 to +11.0)"),
        (Measure.MCNEMAR, (0.0004,), "< 0.001"),
        (Measure.ACTIVE_TIME, (12.34, 8, 20), "12.3 s (8.0 to 20.0)"),
        (Measure.CHANGED, (1234.0,), "1,234"),
        (Measure.AREA, (None,), "–"),
    ],
)
def test_a_figure_is_written_in_its_unit(measure, values, text):
    assert say_figure(make_figure(measure, *values)) == text


def test_tables_have_a_row_a_reader_and_condition():
    results = compute_results(draw_protocol(20, 2)).questions[0]
    table = tabulate_rightness(results)

    readers = ["Reader A", "Reader B", ALL_READERS]
    assert [row.labels[:2] for row in table.rows] == [
        ("", MODEL),
        *((condition, who) for condition in ("blind", "assisted") for who in readers),
    ]
    assert table.headings[:2] == ["Accuracy", "Sensitivity"]
    assert [heading for heading, _, _ in group_accuracies(results)] == ["", "Blind", "Assisted"]
    assert tabulate_changes(results).rows[-1].labels == ("blind to assisted", ALL_READERS)
