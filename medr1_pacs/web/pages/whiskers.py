"""Shares with their intervals as a figure: where its dots, lines and texts are; pure.

    labels | 0 % ---|--o--|--- 100 % | share (interval)

All coordinates are px from the left upper corner, as the SVG of the template takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medr1_pacs.records.accuracy import AccuracyRow, say_share

LEFT, AXIS, RIGHT = 320, 440, 310
"""Widths of labels, of 0 to 100 %, and of the figures beside it."""
TOP, ROW, BOTTOM = 30, 24, 58
LABEL_MAX = 38
"""Characters of a label that fit, wide ones too; the table has it whole."""
_TICKS = (0, 20, 40, 60, 80, 100)


@dataclass(frozen=True, slots=True)
class PlottedShare:
    """A row that is to be drawn."""

    labels: tuple[str, ...]
    row: AccuracyRow


@dataclass(frozen=True, slots=True)
class Mark:
    """A drawn row; without a dot where there is no share."""

    y: float
    label: str
    name: str
    """The label, however long."""
    figures: str
    x: float | None
    x_low: float
    x_high: float
    is_of_few: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure."""

    width: int
    height: int
    left: int
    axis_top: int
    axis_bottom: int
    ticks: Sequence[tuple[float, int]]
    """(x, percent)."""
    marks: Sequence[Mark]


def plot(shares: Iterable[PlottedShare]) -> Plot:
    """Lay shares out from above in their order."""
    marks = [_mark(number, each) for number, each in enumerate(shares)]
    bottom = TOP + ROW * len(marks)
    return Plot(
        width=LEFT + AXIS + RIGHT,
        height=bottom + BOTTOM,
        left=LEFT,
        axis_top=TOP,
        axis_bottom=bottom,
        ticks=[(_x(percent / 100), percent) for percent in _TICKS],
        marks=marks,
    )


def _mark(number: int, share: PlottedShare) -> Mark:
    row = share.row
    has_share = row.accuracy is not None and row.low is not None and row.high is not None
    return Mark(
        y=TOP + ROW * (number + 0.5),
        label=shorten(share.labels),
        name=" · ".join(share.labels),
        figures=_figures(row) if has_share else "–",
        x=_x(row.accuracy or 0) if has_share else None,
        x_low=_x(row.low or 0),
        x_high=_x(row.high or 0),
        is_of_few=row.few_patients,
    )


def _figures(row: AccuracyRow) -> str:
    patients = "1 patient" if row.patients == 1 else f"{row.patients:,} patients"
    return f"{say_share(row.accuracy)} ({row.interval}), {patients}"


def _x(share: float) -> float:
    return round(LEFT + AXIS * share, 1)


def shorten(labels: Sequence[str], longest: int = LABEL_MAX) -> str:
    """Join labels, the longest of them cut until all fits, so that something of each is seen."""
    parts = list(labels)
    while len(joined := " · ".join(parts)) > longest:
        index = max(range(len(parts)), key=lambda i: len(parts[i]))
        parts[index] = f"{parts[index].removesuffix('…')[:-1]}…"
    return joined
