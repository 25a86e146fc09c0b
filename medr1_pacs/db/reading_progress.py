"""How far the reading protocols of a project are, and their people: nothing of what they said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.protocols import get_protocol_id
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    Project,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
)
from medr1_pacs.records.review_words import AssignmentState, CaseKind
from medr1_pacs.records.reviews import PersonProgress, ProtocolListing


def list_protocols(
    session: Session, project: str, *, account_id: int | None = None, is_lead: bool = True
) -> list[ProtocolListing]:
    """Return a project's protocols, the latest first; of who does not lead, those they are in."""
    statement = (
        _listings(account_id).where(Project.name == project).order_by(ReadingProtocol.id.desc())
    )
    found = map(_listing, session.execute(statement))
    return [listing for listing in found if is_lead or listing.part is not None]


def _listings(account_id: int | None) -> Any:
    counts = (
        select(
            Assignment.protocol_id,
            func.count().label("reads"),
            func.sum(case((Assignment.state == AssignmentState.DONE, 1), else_=0)).label("done"),
        )
        .group_by(Assignment.protocol_id)
        .subquery()
    )
    own = aliased(ReadingPerson)
    cases = (
        select(func.count())
        .select_from(ReadingCase)
        .where(ReadingCase.protocol_id == ReadingProtocol.id, ReadingCase.kind != CaseKind.PRACTICE)
        .correlate(ReadingProtocol)
        .scalar_subquery()
    )
    return (
        select(
            ReadingProtocol,
            cases.label("cases"),
            counts.c.reads,
            counts.c.done,
            own.part,
            own.unblinded_at,
        )
        .join(Project, Project.id == ReadingProtocol.project_id)
        .outerjoin(counts, counts.c.protocol_id == ReadingProtocol.id)
        .outerjoin(own, and_(own.protocol_id == ReadingProtocol.id, own.account_id == account_id))
    )


def _listing(found: Any) -> ProtocolListing:
    row = found.ReadingProtocol
    return ProtocolListing(
        protocol_id=row.id,
        name=row.name,
        version=row.version,
        title=row.title,
        state=row.state,
        started_by=row.started_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cases=found.cases or 0,
        reads=found.reads or 0,
        done=found.done or 0,
        part=found.part,
        unblinded_at=found.unblinded_at,
        definition=row.definition,
    )


def get_listing(
    session: Session, project: str, name: str, version: int, *, account_id: int | None = None
) -> ProtocolListing:
    """Return one protocol of a project as `list_protocols` has it.

    Raises
    ------
    ProtocolNotFound
        The project has none of this name and version.
    """
    protocol_id = get_protocol_id(session, project, name, version)
    statement = _listings(account_id).where(ReadingProtocol.id == protocol_id)
    return _listing(session.execute(statement).one())


def count_cases(session: Session, protocol_id: int) -> dict[CaseKind, int]:
    """Return kind -> number of a protocol's cases, those of withdrawn studies included."""
    found: Sequence[Any] = session.execute(
        select(ReadingCase.kind, func.count())
        .where(ReadingCase.protocol_id == protocol_id)
        .group_by(ReadingCase.kind)
    ).all()
    counts: dict[CaseKind, int] = dict(found)
    return {kind: counts.get(kind, 0) for kind in CaseKind}


def list_people_progress(
    session: Session, protocol_id: int, *, now: datetime
) -> list[PersonProgress]:
    """Return how far each of a protocol's people is: it tells nothing of what they said."""
    overdue = dict(
        session.execute(
            select(Assignment.account_id, func.count())
            .where(
                Assignment.protocol_id == protocol_id,
                Assignment.state == AssignmentState.OPEN,
                Assignment.claimed_until < now,
            )
            .group_by(Assignment.account_id)
        ).all()
    )
    states = {
        (account_id, state): number
        for account_id, state, number in session.execute(
            select(Assignment.account_id, Assignment.state, func.count())
            .where(Assignment.protocol_id == protocol_id, Assignment.account_id.is_not(None))
            .group_by(Assignment.account_id, Assignment.state)
        )
    }
    times = {
        row.account_id: row
        for row in session.execute(
            select(
                Review.account_id,
                func.sum(Review.active_ms).label("active_ms"),
                func.max(Review.locked_at).label("last"),
            )
            .join(ReadingCase, ReadingCase.id == Review.case_id)
            .where(ReadingCase.protocol_id == protocol_id, Review.version == 1)
            .group_by(Review.account_id)
        )
    }
    people: Sequence[Any] = session.execute(
        select(ReadingPerson, Account.name)
        .join(Account, Account.id == ReadingPerson.account_id)
        .where(ReadingPerson.protocol_id == protocol_id)
        .order_by(ReadingPerson.id)
    ).all()
    return [
        PersonProgress(
            account=name,
            label=person.label,
            part=person.part,
            done=states.get((person.account_id, AssignmentState.DONE), 0),
            open=states.get((person.account_id, AssignmentState.OPEN), 0),
            overdue=overdue.get(person.account_id, 0),
            active_ms=int(times[person.account_id].active_ms) if person.account_id in times else 0,
            last_locked_at=times[person.account_id].last if person.account_id in times else None,
            unblinded_at=person.unblinded_at,
        )
        for person, name in people
    ]
