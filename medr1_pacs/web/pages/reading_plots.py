"""The figures of a reading protocol's results: where their dots, lines and texts are; pure.

All coordinates are px from the left upper corner, as the SVGs of the template take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medr1_pacs.reviews.changes import Change, ChangeCounts
from medr1_pacs.reviews.curves import Curve, Point
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, Figure
from medr1_pacs.statistics.accuracy import FEW_PATIENTS
from medr1_pacs.web.pages.reading_figures import say_figure

LEFT, AXIS, RIGHT = 210, 460, 290
"""Widths of labels, of 0 to 100 %, and of the figures beside it."""
TOP, ROW, GAP, BOTTOM = 30, 24, 14, 62
_TICKS = (0, 20, 40, 60, 80, 100)

SQUARE, MARGIN, ROC_TOP = 260, 64, 40
"""Side of an ROC plot, room for its axis on the left, and for its heading."""
_ROC_BOTTOM, _ROC_RIGHT = 52, 16
_RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

BAR_LABEL, BAR_HALF, BAR_ROW, BAR_TOP = 210, 200, 26, 30
"""Widths of labels and of either side of the middle; heights of a row and of the heading."""


@dataclass(frozen=True, slots=True)
class WhiskerMark:
    """A drawn share; without a dot where there is none."""

    y: float
    label: str
    kind: str
    """What it is drawn as: `model`, `blind`, `assisted` or `adjudication`."""
    is_mean: bool
    figures: str
    title: str
    is_of_few: bool
    """Whether so few patients are behind it that it says little."""
    x: float | None
    x_low: float
    x_high: float


@dataclass(frozen=True, slots=True)
class WhiskerPlot:
    """Shares with their intervals, in groups."""

    width: int
    height: float
    left: int
    right: float
    top: int
    bottom: float
    ticks: Sequence[tuple[float, int]]
    """(x, percent)."""
    headings: Sequence[tuple[float, str]]
    """(y, condition)."""
    marks: Sequence[WhiskerMark]


def plot_shares(groups: Sequence[tuple[str, str, Sequence[Figure]]]) -> WhiskerPlot:
    """Lay groups out from above. `groups`: (heading, what it is drawn as, shares)."""
    y: float = TOP
    marks, headings = [], []
    for heading, kind, figures in groups:
        if heading:
            headings.append((y + ROW * 0.5, heading))
            y += ROW
        for figure in figures:
            marks.append(_mark(y + ROW * 0.5, kind, figure))
            y += ROW
        y += GAP
    bottom = y - GAP + 4
    return WhiskerPlot(
        width=LEFT + AXIS + RIGHT,
        height=bottom + BOTTOM,
        left=LEFT,
        right=LEFT + AXIS,
        top=TOP,
        bottom=bottom,
        ticks=[(_x(percent / 100), percent) for percent in _TICKS],
        headings=headings,
        marks=marks,
    )


def _mark(y: float, kind: str, figure: Figure) -> WhiskerMark:
    has_interval = figure.low is not None and figure.high is not None
    value = figure.value or 0.0
    return WhiskerMark(
        y=y,
        label=figure.who[:1].upper() + figure.who[1:],
        kind=kind,
        is_mean=figure.who == ALL_READERS,
        figures=f"{say_figure(figure)}, n = {figure.n:,}",
        title=f"{figure.who}, {figure.condition or 'no reader'}: {figure.n:,} {figure.unit}",
        is_of_few=figure.patients is not None and figure.patients < FEW_PATIENTS,
        x=_x(value) if figure.value is not None else None,
        x_low=_x(figure.low or 0.0) if has_interval else _x(value),
        x_high=_x(figure.high or 0.0) if has_interval else _x(value),
    )


def _x(share: float) -> float:
    return round(LEFT + AXIS * share, 1)


# -- ROC ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """A curve as an SVG takes it."""

    who: str
    kind: str
    """`model`, `mean` or `reader`."""
    points: str
    """Of a polyline; empty: there is none."""
    dot: tuple[float, float] | None
    """The operating point."""


@dataclass(frozen=True, slots=True)
class RocPanel:
    """The curves of one condition, and the model's."""

    heading: str
    x: float
    curves: Sequence[DrawnCurve]


@dataclass(frozen=True, slots=True)
class RocPlot:
    """ROC curves, a panel a condition."""

    width: float
    height: float
    side: int
    top: int
    ticks: Sequence[tuple[float, str]]
    """(distance from the origin, rate)."""
    panels: Sequence[RocPanel]


def plot_curves(curves: Sequence[Curve]) -> RocPlot | None:
    """Lay the curves out, a panel a condition from left to right; None where there is none."""
    conditions = list(dict.fromkeys(curve.condition for curve in curves if curve.condition))
    model = [curve for curve in curves if curve.who == MODEL]
    if not conditions:
        return None
    panels = []
    for place, condition in enumerate(conditions):
        x = MARGIN + place * (SQUARE + MARGIN)
        own = [curve for curve in curves if curve.condition == condition]
        # The mean, which is wide, lies below the others.
        ordered = sorted(own, key=lambda curve: curve.who != ALL_READERS)
        panels.append(RocPanel(condition, x, [_draw(each, x) for each in [*ordered, *model]]))
    return RocPlot(
        width=MARGIN + len(panels) * (SQUARE + MARGIN) - MARGIN + _ROC_RIGHT,
        height=ROC_TOP + SQUARE + _ROC_BOTTOM,
        side=SQUARE,
        top=ROC_TOP,
        ticks=[(rate * SQUARE, f"{rate:.1f}") for rate in _RATES],
        panels=panels,
    )


def _draw(curve: Curve, x: float) -> DrawnCurve:
    def at(point: Point) -> tuple[float, float]:
        rate, true_rate = point
        return round(x + rate * SQUARE, 1), round(ROC_TOP + (1 - true_rate) * SQUARE, 1)

    kind = {MODEL: "model", ALL_READERS: "mean"}.get(curve.who, "reader")
    return DrawnCurve(
        who=curve.who,
        kind=kind,
        points=" ".join(f"{x:g},{y:g}" for x, y in map(at, curve.points)),
        dot=at(curve.operating_point) if curve.operating_point else None,
    )


# -- changes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangeBar:
    """How many answers of a reader changed, to wrong on the left and to right on the right."""

    y: float
    label: str
    to_wrong: int
    to_right: int
    wrong_width: float
    right_width: float
    note: str


@dataclass(frozen=True, slots=True)
class ChangePlot:
    """Bars on either side of a line in the middle."""

    width: int
    height: float
    middle: int
    bottom: float
    bars: Sequence[ChangeBar]


def plot_changes(changes: Sequence[ChangeCounts]) -> ChangePlot | None:
    """Lay the changes of one comparison out; None where there is none."""
    if not changes:
        return None
    longest = max(
        1, *(each.counts[kind] for each in changes for kind in (Change.TO_WRONG, Change.TO_RIGHT))
    )
    scale = (BAR_HALF - 30) / longest
    bars = [
        ChangeBar(
            y=BAR_TOP + BAR_ROW * place,
            label=each.who[:1].upper() + each.who[1:],
            to_wrong=each.counts[Change.TO_WRONG],
            to_right=each.counts[Change.TO_RIGHT],
            wrong_width=round(scale * each.counts[Change.TO_WRONG], 1),
            right_width=round(scale * each.counts[Change.TO_RIGHT], 1),
            note=f"of {each.pairs:,}, {each.counts[Change.SAME]:,} the same",
        )
        for place, each in enumerate(changes)
    ]
    bottom = BAR_TOP + BAR_ROW * len(bars)
    return ChangePlot(
        width=BAR_LABEL + 2 * BAR_HALF + 210,
        height=bottom + 14,
        middle=BAR_LABEL + BAR_HALF,
        bottom=bottom,
        bars=bars,
    )
