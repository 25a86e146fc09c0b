"""What there is to count of how often answers are right: by group, and by patient.

    narrow rows -> (group, patient): right, known, unparsed, unknown
                -> (group, right, known): patients

Both steps run in the database, which returns as many rows as patients differ in how many answers
they have and how many of them are right: tens a group, however many answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.research import ORIGIN_OF, OUTCOME_OF, narrow_rows
from medr1_pacs.db.tables import AnswerFacet, AnswerOrigin, AnswerOutcome, Study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.accuracy import AccuracyCounts, Grouping
from medr1_pacs.records.words import Correctness, ParseStatus


def count_accuracy(
    session: Session, project: str, filters: AnswerFilters, by: Sequence[Grouping]
) -> list[AccuracyCounts]:
    """Count the answers that filters mean, by groups in the order of their values.

    All of them, those that a search for words finds too: a share of the first ones would be one of
    the newest or the oldest.
    """
    study_id: Any = AnswerFacet.study_id
    hits = narrow_rows(session, project, filters, study_id).subquery()
    names = [grouping.value for grouping in by]
    outcome, origin = AnswerOutcome, AnswerOrigin
    columns: list[Any] = [
        (
            getattr(outcome, OUTCOME_OF[name])
            if name in OUTCOME_OF
            else getattr(origin, ORIGIN_OF[name])
        ).label(f"by_{name}")
        for name in names
    ]
    is_known = outcome.correctness != Correctness.UNKNOWN
    of_patients = (
        select(
            *columns,
            _number(is_known).label("answers"),
            _number(outcome.correctness == Correctness.RIGHT).label("right"),
            _number(and_(is_known, outcome.parse_status != ParseStatus.PARSED)).label("unparsed"),
            _number(outcome.correctness == Correctness.UNKNOWN).label("unknown"),
        )
        .select_from(hits)
        .join(outcome, outcome.id == hits.c.outcome_id)
        .join(Study, Study.id == hits.c.study_id)
        .group_by(*columns, Study.patient_id)
    )
    if any(name in ORIGIN_OF for name in names):
        of_patients = of_patients.join(origin, origin.id == hits.c.origin_id)
    each = of_patients.subquery()
    groups = [each.c[f"by_{name}"] for name in names]
    rows = session.execute(
        select(
            *groups,
            each.c.right,
            each.c.answers,
            func.count(),
            func.sum(each.c.unparsed),
            func.sum(each.c.unknown),
        ).group_by(*groups, each.c.right, each.c.answers)
    )
    counts: dict[tuple[str, ...], tuple[dict[tuple[int, int], int], list[int]]] = {}
    for *values, right, answers, patients, unparsed, unknown in rows:
        distribution, sums = counts.setdefault(tuple(map(str, values)), ({}, [0, 0]))
        if answers:
            distribution[int(right), int(answers)] = patients
        sums[0] += int(unparsed)
        sums[1] += int(unknown)
    return [
        AccuracyCounts(values, distribution, unparsed, unknown)
        for values, (distribution, [unparsed, unknown]) in sorted(counts.items())
    ]


def _number(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))
