"""review -> accuracy: how often the answers that filters find are right, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from medr1_pacs.db.accuracy import count_accuracy
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import PermanentError
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.accuracy import (
    DEFAULT_GROUPING,
    GROUPINGS_MAX,
    AccuracyCounts,
    AccuracyRow,
    Grouping,
)
from medr1_pacs.statistics import estimate_accuracy


class GroupingRefused(PermanentError):
    """Answers cannot be grouped so; the message says why."""


def choose_grouping(asked: Iterable[Grouping]) -> tuple[Grouping, ...]:
    """Return what answers are grouped by: what was asked for, or by question and checkpoint.

    Raises
    ------
    GroupingRefused
        By too much at once.
    """
    chosen = tuple(dict.fromkeys(asked)) or DEFAULT_GROUPING
    by = tuple(grouping for grouping in chosen if grouping is not Grouping.OVERALL)
    if len(by) > GROUPINGS_MAX:
        raise GroupingRefused(f"group answers by at most {GROUPINGS_MAX} things at once")
    return by


def estimate(
    database: Database, project: str, filters: AnswerFilters, by: Sequence[Grouping]
) -> Iterator[AccuracyRow]:
    """Return a row a group, in the order of their values; each is estimated when it is asked for.

    Counted at one moment, before the first is.
    """
    with database.read() as session:
        counts = count_accuracy(session, project, filters, by)
    return (_row(by, each) for each in counts)


def _row(by: Sequence[Grouping], counts: AccuracyCounts) -> AccuracyRow:
    estimate = estimate_accuracy(counts.patients)
    return AccuracyRow(
        by={grouping.value: value for grouping, value in zip(by, counts.values, strict=True)},
        accuracy=estimate.accuracy,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method.value if estimate.method else "",
        right=estimate.right,
        answers=estimate.answers,
        patients=estimate.patients,
        few_patients=estimate.is_of_few,
        unparsed=counts.unparsed,
        unknown_truth=counts.unknown_truth,
    )
