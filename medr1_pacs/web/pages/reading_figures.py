"""Figures of a reading protocol's results as the page writes them; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medr1_pacs.reviews.figures import ALL_READERS, MODEL, TRUTH, Figure, Measure, select
from medr1_pacs.reviews.results import QuestionResults

_PERCENT = (
    Measure.ACCURACY, Measure.SENSITIVITY, Measure.SPECIFICITY, Measure.CANNOT_ASSESS,
    Measure.CONTROL_ACCURACY, Measure.PERCENT_AGREEMENT, Measure.FOLLOWED_WRONG,
    Measure.FOLLOWED_RIGHT,
)  # fmt: skip
_COUNTS = (Measure.CHANGED, Measure.CONFUSION)
_TIMES = (Measure.ACTIVE_TIME, Measure.WALL_TIME)
_RIGHTNESS = (
    Measure.ACCURACY,
    Measure.SENSITIVITY,
    Measure.SPECIFICITY,
    Measure.AREA,
    Measure.CANNOT_ASSESS,
)
_OF_ALL = (
    Measure.PERCENT_AGREEMENT,
    Measure.FLEISS_KAPPA,
    Measure.ALPHA,
    Measure.ORDINAL_ALPHA,
)
_OF_PAIRS = (Measure.PERCENT_AGREEMENT, Measure.COHENS_KAPPA, Measure.WEIGHTED_KAPPA)
_OF_CHANGE = (
    Measure.ACCURACY_DIFFERENCE,
    Measure.MCNEMAR,
    Measure.FOLLOWED_WRONG,
    Measure.FOLLOWED_RIGHT,
    Measure.AREA_DIFFERENCE,
)


def say_value(figure: Figure) -> str:
    """Return the number alone: `83.3 %`, `0.71`, `12.3 s`; a dash where it is undefined."""
    value = figure.value
    if value is None:
        return "–"
    if figure.measure is Measure.MCNEMAR:
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if figure.measure is Measure.ACCURACY_DIFFERENCE:
        return f"{_signed(100 * value, 1)} points"
    if figure.measure is Measure.AREA_DIFFERENCE:
        return _signed(value, 3)
    if figure.measure in _COUNTS:
        return f"{value:,.0f}"
    if figure.measure in _TIMES:
        return f"{value:,.1f} s"
    return f"{100 * value:.1f} %" if figure.measure in _PERCENT else f"{value:.3f}"


def say_interval(figure: Figure) -> str:
    """Return `71.0 to 91.2`, in the unit of the number; empty where there is none."""
    low, high = figure.low, figure.high
    if low is None or high is None:
        return ""
    if figure.measure is Measure.ACCURACY_DIFFERENCE:
        return f"{_signed(100 * low, 1)} to {_signed(100 * high, 1)}"
    if figure.measure in _PERCENT:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    if figure.measure in _TIMES:
        return f"{low:,.1f} to {high:,.1f}"
    return f"{_minus(f'{low:.3f}')} to {_minus(f'{high:.3f}')}"


def say_figure(figure: Figure) -> str:
    """Return the number with its interval: `83.3 % (71.0 to 91.2)`."""
    interval = say_interval(figure)
    return f"{_minus(say_value(figure))} ({interval})" if interval else _minus(say_value(figure))


def _signed(value: float, digits: int) -> str:
    return _minus(f"{value:+.{digits}f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """A cell of a table."""

    text: str
    """The number."""
    interval: str
    note: str
    """What n is, how it was made, or why it is not there."""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of a table: whose figures they are."""

    labels: Sequence[str]
    cells: Sequence[ShownFigure]


@dataclass(frozen=True, slots=True)
class ShownTable:
    """Figures side by side."""

    headings: Sequence[str]
    rows: Sequence[ShownRow]


def shown(figure: Figure | None) -> ShownFigure:
    """Return a figure as a cell."""
    if figure is None:
        return ShownFigure("–", "", "")
    note = f"{figure.n:,} {figure.unit}; {figure.method or figure.reason}"
    return ShownFigure(
        _minus(say_value(figure)),
        say_interval(figure),
        f"{note}; {figure.reason}" if figure.method and figure.reason else note,
    )


def _tabulate(
    figures: Sequence[Figure], rows: Sequence[tuple[str, str, str]], measures: Sequence[Measure]
) -> ShownTable:
    """Return a table without the columns that nothing is in. `rows`: (condition, who, against)."""
    found = {(f.condition, f.who, f.against, f.measure): f for f in figures}
    used = [m for m in measures if any((*row, m) in found for row in rows)]
    return ShownTable(
        [measure.value[:1].upper() + measure.value[1:] for measure in used],
        [
            ShownRow(row, [shown(found.get((*row, measure))) for measure in used])
            for row in rows
            if any((*row, measure) in found for measure in used)
        ],
    )


def tabulate_rightness(results: QuestionResults) -> ShownTable:
    """Return how often each is right, and how well their scores tell."""
    rows = list(
        dict.fromkeys(
            (f.condition, f.who, TRUTH) for f in select(results.figures, Measure.ACCURACY)
        )
    )
    return _tabulate(results.figures, rows, _RIGHTNESS)


def tabulate_agreement(results: QuestionResults) -> ShownTable:
    """Return how far all readers agree."""
    rows = [(each.name, ALL_READERS, "each other") for each in results.conditions]
    return _tabulate(results.figures, rows, _OF_ALL)


def tabulate_pairs(results: QuestionResults) -> ShownTable:
    """Return how far each two readers agree, each with the model, and each with themselves."""
    rows = [(f.condition, f.who, f.against) for f in select(results.figures, Measure.COHENS_KAPPA)]
    return _tabulate(results.figures, rows, _OF_PAIRS)


def tabulate_changes(results: QuestionResults) -> ShownTable:
    """Return what seeing the model did."""
    figures = [
        # What follows the model stands beside what is measured against the truth.
        (f.condition, f.who, f.measure, f)
        for f in results.figures
        if f.measure in _OF_CHANGE
    ]
    found = {(condition, who, measure): figure for condition, who, measure, figure in figures}
    rows = list(dict.fromkeys((condition, who) for condition, who, _, _ in figures))
    # The difference of areas is of all readers, who come last.
    rows.sort(key=lambda row: row[1] == ALL_READERS)
    used = [m for m in _OF_CHANGE if any((*row, m) in found for row in rows)]
    return ShownTable(
        [measure.value[:1].upper() + measure.value[1:] for measure in used],
        [ShownRow(row, [shown(found.get((*row, m))) for m in used]) for row in rows],
    )


def tabulate_times(results: QuestionResults) -> ShownTable:
    """Return how long readers took."""
    rows = [(f.condition, f.who, "") for f in select(results.figures, Measure.ACTIVE_TIME)]
    return _tabulate(results.figures, rows, _TIMES)


def tabulate_controls(results: QuestionResults) -> ShownTable:
    """Return how often readers are right on controls."""
    rows = [(f.condition, f.who, TRUTH) for f in select(results.figures, Measure.CONTROL_ACCURACY)]
    return _tabulate(results.figures, rows, (Measure.CONTROL_ACCURACY,))


def group_accuracies(results: QuestionResults) -> list[tuple[str, str, list[Figure]]]:
    """Return (heading, what it is drawn as, shares): the model, then each condition."""
    found = select(results.figures, Measure.ACCURACY)
    groups = [("", MODEL, [f for f in found if f.who == MODEL and f.value is not None])]
    groups += [
        (each.name.capitalize(), each.phase.value, [f for f in found if f.condition == each.name])
        for each in results.conditions
    ]
    return [group for group in groups if group[2]]
