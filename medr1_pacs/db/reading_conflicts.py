"""The other protocols that a protocol's people are or were in, as far as they share its studies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import Question, ReadingCase, ReadingPerson, ReadingProtocol, Review
from medr1_pacs.records.review_words import CaseKind
from medr1_pacs.reviews.conflicts import Asked, EarlierPerson, EarlierProtocol
from medr1_pacs.reviews.protocols import restore_protocol


def find_earlier(
    session: Session, people: Mapping[str, int], study_ids: Collection[int]
) -> list[EarlierProtocol]:
    """Return the protocols, of any project, that some of these people have cases of these studies
    in; those of withdrawn studies count, as they were seen.

    `people`: account name -> row id.
    """
    names = {account_id: name for name, account_id in people.items()}
    found: dict[int, list[Any]] = {}
    for row in session.execute(
        select(
            ReadingPerson.protocol_id,
            ReadingPerson.account_id,
            ReadingPerson.part,
            ReadingPerson.unblinded_at,
        )
        .where(ReadingPerson.account_id.in_(names))
        .order_by(ReadingPerson.id)
    ):
        found.setdefault(row.protocol_id, []).append(row)
    cases = _find_cases(session, found, study_ids)
    judged = _find_judged(session, cases, names, study_ids)
    rows = session.scalars(select(ReadingProtocol).where(ReadingProtocol.id.in_(cases)))
    return [
        _earlier(
            row,
            cases[row.id],
            [
                EarlierPerson(
                    names[each.account_id],
                    each.part,
                    each.unblinded_at,
                    frozenset(judged.get((row.id, each.account_id), ())),
                )
                for each in found[row.id]
            ],
        )
        for row in rows
    ]


def _earlier(
    row: ReadingProtocol, cases: Mapping[Asked, set[CaseKind]], people: Sequence[EarlierPerson]
) -> EarlierProtocol:
    protocol = restore_protocol(row.definition)
    return EarlierProtocol(
        name=f"{row.name} {row.version}",
        arms=protocol.arms,
        is_reference=protocol.reference,
        state=row.state,
        ended_at=row.ended_at,
        cases={asked: frozenset(kinds) for asked, kinds in cases.items()},
        people=tuple(people),
    )


def _find_cases(
    session: Session, protocol_ids: Collection[int], study_ids: Collection[int]
) -> dict[int, dict[Asked, set[CaseKind]]]:
    """Return protocol -> its cases of some studies; those without any are not there."""
    found: dict[int, dict[Asked, set[CaseKind]]] = {}
    if not protocol_ids:
        return found
    for chunk in iterate_chunks(study_ids):
        for row in session.execute(
            select(
                ReadingCase.protocol_id,
                ReadingCase.study_id,
                Question.question_id,
                ReadingCase.kind,
            )
            .join(Question, Question.id == ReadingCase.question_id)
            .where(ReadingCase.protocol_id.in_(protocol_ids), ReadingCase.study_id.in_(chunk))
        ):
            cases = found.setdefault(row.protocol_id, {})
            cases.setdefault((row.study_id, row.question_id), set()).add(row.kind)
    return found


def _find_judged(
    session: Session,
    protocol_ids: Collection[int],
    account_ids: Collection[int],
    study_ids: Collection[int],
) -> dict[tuple[int, int], set[Asked]]:
    """Return (protocol, account) -> what they locked an answer of there, as far as it is of some
    studies."""
    found: dict[tuple[int, int], set[Asked]] = {}
    if not protocol_ids:
        return found
    for chunk in iterate_chunks(study_ids):
        for row in session.execute(
            select(
                ReadingCase.protocol_id,
                Review.account_id,
                ReadingCase.study_id,
                Question.question_id,
            )
            .distinct()
            .join(ReadingCase, ReadingCase.id == Review.case_id)
            .join(Question, Question.id == ReadingCase.question_id)
            .where(
                Review.account_id.in_(account_ids),
                ReadingCase.protocol_id.in_(protocol_ids),
                ReadingCase.study_id.in_(chunk),
            )
        ):
            key = row.protocol_id, row.account_id
            found.setdefault(key, set()).add((row.study_id, row.question_id))
    return found
