"""How well confidence tells positive cases from negative ones: ROC curves and their areas.

A reader's score of a case is the confidence, negative where the choice is not positive; a case
that cannot be assessed has none, and is in no curve of theirs. The model's is how likely a positive
option is, where its engine says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medr1_pacs.records.judged import JudgedCase
from medr1_pacs.records.review_words import Phase
from medr1_pacs.reviews.changes import list_comparisons, pair_up, say_order
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, Condition, Figure, Measure, Subject
from medr1_pacs.reviews.readings import Reading, readers_of, under
from medr1_pacs.statistics.resampling import difference, estimate_by_bootstrap
from medr1_pacs.statistics.roc import reader_averaged_area, roc_points

_UNDEFINED = "undefined: it takes scores of positive and of negative cases, of every reader"
_AREA = "trapezoids, ties are half"
Point = tuple[float, float]
"""(false positive rate, true positive rate), 0 to 1."""


@dataclass(frozen=True, slots=True)
class Curve:
    """An ROC curve, from (0, 0) to (1, 1)."""

    condition: str
    who: str
    points: Sequence[Point]
    operating_point: Point | None
    """What its choices come to, whatever the confidence; None for all readers."""


def estimate_areas(
    question: str,
    cases: Sequence[JudgedCase],
    readings: Sequence[Reading],
    conditions: Sequence[Condition],
) -> Iterator[Figure]:
    """Yield the area of the model, of each reader, their mean, and how the mean differs."""
    known = [case for case in cases if case.truth is not None and case.positive]
    if not known:
        return
    truths, patients = [case.truth in case.positive for case in known], [c.patient for c in known]

    def area(condition: str, who: str, scores: Sequence[Sequence[float | None]]) -> Figure:
        says = "mean of the readers' areas; " if who == ALL_READERS else ""
        return Subject(question, condition, who).drawn(
            Measure.AREA,
            estimate_by_bootstrap(reader_averaged_area(truths, scores), patients),
            n=sum(any(score is not None for score in row) for row in scores),
            unit="cases with a score and a known truth",
            says=says + _AREA,
            empty=_UNDEFINED if who != MODEL else "the engine tells no scores of options",
        )

    yield area("", MODEL, [[case.model_score] for case in known])
    for condition in conditions:
        if condition.phase is Phase.ADJUDICATION:
            continue
        here = under(readings, condition)
        readers = readers_of(here)
        rows = tabulate_scores(known, here, readers)
        for place, reader in enumerate(readers):
            yield area(condition.name, reader, [[row[place]] for row in rows])
        if len(readers) > 1:
            yield area(condition.name, ALL_READERS, rows)
    for before, after in list_comparisons(conditions):
        # Of the same readings: an area over other cases is another area.
        pairs = [
            pair
            for pair in pair_up(readings, before, after)
            if None not in (pair.before.score, pair.after.score)
        ]
        readers = readers_of([pair.after for pair in pairs])
        rows = tabulate_scores(known, [pair.after for pair in pairs], readers)
        both = difference(
            reader_averaged_area(truths, rows),
            reader_averaged_area(
                truths, tabulate_scores(known, [pair.before for pair in pairs], readers)
            ),
        )
        order = say_order(pairs)
        yield Subject(question, f"{before.name} to {after.name}", ALL_READERS).drawn(
            Measure.AREA_DIFFERENCE,
            estimate_by_bootstrap(both, patients),
            n=sum(any(score is not None for score in row) for row in rows),
            unit="cases that a reader scored both times, with a known truth",
            says="mean of the readers' areas, assisted less blind" + (order and f"; {order}"),
            empty=_UNDEFINED,
        )


def tabulate_scores(
    cases: Sequence[JudgedCase], readings: Sequence[Reading], readers: Sequence[str]
) -> list[list[float | None]]:
    """Return cases x readers: how sure each is that the case is positive."""
    scores = {(each.case.case_id, each.reader): each.score for each in readings}
    return [[scores.get((case.case_id, reader)) for reader in readers] for case in cases]


def list_curves(
    cases: Sequence[JudgedCase], readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[Curve]:
    """Yield the curves that there are: of the model, of each reader, and their mean.

    The mean is of the true positive rates at each false positive rate, so that the area under it is
    the mean of the areas (vertical averaging: Fawcett T (2006), Pattern Recognition Letters
    27:861-874, 8.1). A model without scores has its operating point alone.
    """
    known = [case for case in cases if case.truth is not None and case.positive]
    if not known:
        return
    truths = [case.truth in case.positive for case in known]
    scores = [case.model_score for case in known]
    called = [case.calls_positive(case.model) if case.has_model else None for case in known]
    model = _operating_point(truths, called)
    points = _points(truths, scores)
    if points or model:
        yield Curve("", MODEL, points, model)
    for condition in conditions:
        if condition.phase is Phase.ADJUDICATION:
            continue
        here = under(readings, condition)
        readers = readers_of(here)
        rows = tabulate_scores(known, here, readers)
        choices = {(each.case.case_id, each.reader): each.choice for each in here}
        curves = []
        for place, reader in enumerate(readers):
            chosen = [case.calls_positive(choices.get((case.case_id, reader))) for case in known]
            if points := _points(truths, [row[place] for row in rows]):
                curves.append(
                    Curve(condition.name, reader, points, _operating_point(truths, chosen))
                )
        yield from curves
        if len(curves) > 1 and len(curves) == len(readers):
            mean = average_curves([curve.points for curve in curves])
            yield Curve(condition.name, ALL_READERS, mean, None)


def average_curves(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the mean of curves: at each false positive rate of any, the mean of the others."""
    rates = sorted({rate for curve in curves for rate, _ in curve})
    points: list[Point] = []
    for rate in rates:
        lows, highs = zip(*(_ends_at(curve, rate) for curve in curves), strict=True)
        for ends in (lows, highs):
            point = rate, sum(ends) / len(curves)
            if point not in points[-1:]:
                points.append(point)
    return points


def _ends_at(curve: Sequence[Point], rate: float) -> Point:
    """Return the lowest and the highest true positive rate that a curve has at a rate."""
    here = [y for x, y in curve if x == rate]
    if here:
        return min(here), max(here)
    after = bisect_right(curve, rate, key=lambda point: point[0])
    (x1, y1), (x2, y2) = curve[after - 1], curve[after]
    between = y1 + (y2 - y1) * (rate - x1) / (x2 - x1)
    return between, between


def _points(truths: Sequence[bool], scores: Sequence[float | None]) -> list[Point]:
    found = roc_points(truths, scores) or ()
    return [(point.false_positive_rate, point.true_positive_rate) for point in found]


def _operating_point(truths: Sequence[bool], called: Sequence[bool | None]) -> Point | None:
    """Return the rates of those that were called anything."""
    of_negative = [call for truth, call in zip(truths, called, strict=True) if not truth]
    of_positive = [call for truth, call in zip(truths, called, strict=True) if truth]
    rates = []
    for calls in (of_negative, of_positive):
        made = [call for call in calls if call is not None]
        if not made:
            return None
        rates.append(sum(made) / len(made))
    return rates[0], rates[1]
