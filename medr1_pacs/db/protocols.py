"""Reading protocols: started, listed, ended; who is in one, and how far they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.study_answers import add_study_answer
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    Project,
    ProjectMember,
    ProjectStudy,
    Question,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
)
from medr1_pacs.errors import ProtocolNotFound, ProtocolRefused
from medr1_pacs.records.review_words import (
    AssignmentState,
    CaseKind,
    Part,
    ProtocolState,
)
from medr1_pacs.records.reviews import PersonProgress, ProtocolListing, ReadingPlan
from medr1_pacs.records.words import Role
from medr1_pacs.reviews.protocols import ReadingProtocol as Protocol
from medr1_pacs.reviews.protocols import restore_protocol

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def find_people(session: Session, project: str, protocol: Protocol) -> dict[str, int]:
    """Return account name -> row id of a protocol's people.

    Raises
    ------
    ProtocolRefused
        Somebody has no open account, or is no reader of the project.
    """
    names = [*protocol.readers, *protocol.adjudicators]
    found = session.execute(
        select(Account.name, Account.id)
        .join(ProjectMember, ProjectMember.account_id == Account.id)
        .join(Project, ProjectMember.project_id == Project.id)
        .where(
            Account.name.in_(names),
            Account.closed_at.is_(None),
            Project.name == project,
            ProjectMember.role == Role.READER,
        )
    )
    ids: dict[str, int] = {row.name: row.id for row in found}
    if missing := [name for name in names if name not in ids]:
        raise ProtocolRefused(
            f"readers: {', '.join(missing)}: no open account with the role `reader` in the "
            f"project {project}; an administrator gives it"
        )
    return ids


def find_conflicts(
    session: Session, protocol: Protocol, people: Mapping[str, int], plan: ReadingPlan
) -> list[str]:
    """Return who of a protocol's people may not read its cases, and why, a sentence each.

    Readers of an evaluated arm never form its reference panel: who said what is true of a case
    does not read it for an evaluation, and who read it for one does not say what is true.
    """
    keys = {planned.candidate.key for planned in plan.cases}
    names = {account_id: name for name, account_id in people.items()}
    # A protocol with a reference panel is told by its definition, which is JSON: looked at here.
    rows = session.execute(
        select(
            ReadingProtocol.name,
            ReadingProtocol.version,
            ReadingProtocol.definition,
            ReadingPerson.account_id,
            ReadingCase.study_id,
            Question.question_id,
            ReadingCase.rendering_id,
        )
        .join(ReadingPerson, ReadingPerson.protocol_id == ReadingProtocol.id)
        .join(ReadingCase, ReadingCase.protocol_id == ReadingProtocol.id)
        .join(Question, Question.id == ReadingCase.question_id)
        .where(ReadingPerson.account_id.in_(names), Question.question_id.in_(protocol.questions))
    )
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        is_panel = bool(row.definition.get("reference"))
        key = (row.study_id, row.question_id, row.rendering_id)
        if is_panel != protocol.reference and key in keys:
            which = names[row.account_id], f"{row.name} {row.version}"
            found[which] = found.get(which, 0) + 1
    what = "read for an evaluation" if protocol.reference else "said the truth of"
    return [
        f"{name} has {what} {number} of these cases in {other}: name somebody else, or other cases"
        for (name, other), number in sorted(found.items())
    ]


def start_protocol(
    session: Session,
    project: str,
    protocol: Protocol,
    plan: ReadingPlan,
    people: Mapping[str, int],
    *,
    actor: str,
    now: datetime,
) -> int:
    """Freeze a protocol with its cases and planned reads; returns its row id.

    Each case's record, which commits to the model's side of it, gets into the log here: before any
    reader can open it.

    Raises
    ------
    ProtocolRefused
        The project has this version of it already.
    """
    project_id = lock_project(session, project)
    if session.scalar(_same(project_id, protocol)) is not None:
        raise ProtocolRefused(
            f"version: {protocol.name} {protocol.version} was started already and never changes; "
            f"give it version {protocol.version + 1}"
        )
    row = ReadingProtocol(
        project_id=project_id,
        name=protocol.name,
        version=protocol.version,
        title=protocol.title,
        definition=protocol.definition(),
        definition_sha256=protocol.definition_sha256,
        state=ProtocolState.STARTED,
        started_by=actor,
        started_at=now,
    )
    session.add(row)
    session.flush()
    _add_people(session, row.id, protocol, people)
    case_ids = _add_cases(session, row.id, plan, now)
    session.add_all(
        Assignment(
            protocol_id=row.id,
            case_id=case_ids[read.case_number],
            kind=read.kind,
            arm=read.arm,
            account_id=people[read.reader] if read.reader is not None else None,
            is_pooled=read.reader is None,
            state=AssignmentState.PLANNED,
            active_ms=0,
        )
        for read in plan.reads
    )
    session.flush()
    add_event(
        session,
        "protocol.started",
        "reading_protocol",
        row.id,
        actor=actor,
        new={
            "name": protocol.name,
            "version": protocol.version,
            "definition_sha256": protocol.definition_sha256,
            "cases": len(plan.cases),
            "reads": len(plan.reads),
            "readers": [people[name] for name in protocol.readers],
            "adjudicators": [people[name] for name in protocol.adjudicators],
        },
    )
    tell_records(session, "case.frozen", "reading_case", list(case_ids.values()), actor=actor)
    return row.id


def lock_project(session: Session, project: str) -> int:
    """Return a project's row id; until the transaction ends no study is withdrawn from it.

    Raises
    ------
    ProtocolNotFound
        There is no such project.
    """
    found = session.scalar(
        select(Project.id).where(Project.name == project).with_for_update(read=True)
    )
    if found is None:
        raise ProtocolNotFound(f"there is no project {project!r}")
    return found


def _same(project_id: int, protocol: Protocol) -> Any:
    return select(ReadingProtocol.id).where(
        ReadingProtocol.project_id == project_id,
        ReadingProtocol.name == protocol.name,
        ReadingProtocol.version == protocol.version,
    )


def _add_people(
    session: Session, protocol_id: int, protocol: Protocol, people: Mapping[str, int]
) -> None:
    for part, names in (
        (Part.READER, protocol.readers),
        (Part.ADJUDICATOR, protocol.adjudicators),
    ):
        session.add_all(
            ReadingPerson(
                protocol_id=protocol_id,
                account_id=people[name],
                part=part,
                label=f"{part.value.capitalize()} {label_of(place)}",
            )
            for place, name in enumerate(names)
        )


def label_of(place: int) -> str:
    """Return the letters of a place from 0: A to Z, then AA."""
    before, letter = divmod(place, len(LABELS))
    return (label_of(before - 1) if before else "") + LABELS[letter]


def _add_cases(
    session: Session, protocol_id: int, plan: ReadingPlan, now: datetime
) -> dict[int, int]:
    rows = []
    for planned in plan.cases:
        each = planned.candidate
        rows.append(
            ReadingCase(
                protocol_id=protocol_id,
                number=planned.number,
                kind=planned.kind,
                study_id=each.study_id,
                study_version_id=each.study_version_id,
                question_id=each.question_row,
                rendering_id=each.rendering_id,
                study_answer_id=add_study_answer(session, each, now),
                model_side=each.answer.side.to_json() if each.answer else None,
                truth=each.truth,
                truth_source=each.truth_source,
                record_salt=new_salt(),
            )
        )
    session.add_all(rows)
    session.flush()
    return {row.number: row.id for row in rows}


def lock_protocol(session: Session, protocol_id: int) -> ReadingProtocol:
    """Return a protocol's row; until the transaction ends nobody else claims or locks a read."""
    return session.scalars(
        select(ReadingProtocol)
        .where(ReadingProtocol.id == protocol_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def get_protocol_id(session: Session, project: str, name: str, version: int) -> int:
    """Return the row id of a protocol.

    Raises
    ------
    ProtocolNotFound
        The project has none of this name and version.
    """
    found = session.scalar(
        select(ReadingProtocol.id)
        .join(Project, Project.id == ReadingProtocol.project_id)
        .where(
            Project.name == project,
            ReadingProtocol.name == name,
            ReadingProtocol.version == version,
        )
    )
    if found is None:
        raise ProtocolNotFound(f"the project {project} has no reading protocol {name} {version}")
    return found


def finish_if_done(session: Session, row: ReadingProtocol, now: datetime) -> bool:
    """End a protocol, locked, of which nothing is left to be read; returns whether it is over."""
    if row.state is not ProtocolState.STARTED:
        return True
    left = exists().where(
        Assignment.protocol_id == row.id,
        Assignment.state.in_((AssignmentState.PLANNED, AssignmentState.OPEN)),
    )
    session.flush()
    if session.scalar(select(left)):
        return False
    row.state, row.ended_at = ProtocolState.FINISHED, now
    add_event(session, "protocol.finished", "reading_protocol", row.id)
    return True


def stop_protocol(
    session: Session, protocol_id: int, *, reason: str, actor: str, now: datetime
) -> None:
    """End a protocol early: what is not read will not be, and blinding is over.

    Raises
    ------
    ProtocolRefused
        It is over already, or no reason is given.
    """
    row = lock_protocol(session, protocol_id)
    if row.state is not ProtocolState.STARTED:
        raise ProtocolRefused(f"{row.name} {row.version} is over already")
    if not reason.strip():
        raise ProtocolRefused("say why it ends early: everybody is unblinded by that")
    session.execute(
        update(Assignment)
        .where(
            Assignment.protocol_id == protocol_id,
            Assignment.state.in_((AssignmentState.PLANNED, AssignmentState.OPEN)),
        )
        .values(state=AssignmentState.DROPPED, claimed_until=None)
    )
    row.state, row.ended_at = ProtocolState.STOPPED, now
    add_event(
        session, "protocol.stopped", "reading_protocol", row.id, actor=actor, reason=reason.strip()
    )


# -- read ----------------------------------------------------------------------------------------


def find_blinded(session: Session, account_id: int) -> frozenset[str]:
    """Return the projects of which an account sees no answers, of the model or of readers.

    Those that use a study which it is to judge in a protocol that is not over.
    """
    own = (
        select(ReadingPerson.protocol_id)
        .join(ReadingProtocol, ReadingProtocol.id == ReadingPerson.protocol_id)
        .where(
            ReadingPerson.account_id == account_id,
            ReadingPerson.unblinded_at.is_(None),
            ReadingProtocol.state == ProtocolState.STARTED,
        )
    )
    protocols = session.scalars(own).all()
    if not protocols:
        return frozenset()
    studies = select(ReadingCase.study_id).where(ReadingCase.protocol_id.in_(protocols))
    return frozenset(
        session.scalars(
            select(Project.name).where(
                or_(
                    exists().where(
                        ProjectStudy.project_id == Project.id, ProjectStudy.study_id.in_(studies)
                    ),
                    exists().where(
                        ReadingProtocol.project_id == Project.id,
                        ReadingProtocol.id.in_(protocols),
                    ),
                )
            )
        )
    )


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


def get_definition(session: Session, protocol_id: int) -> Protocol:
    """Return what a protocol says of itself."""
    return restore_protocol(session.get_one(ReadingProtocol, protocol_id).definition)


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


def find_part(session: Session, protocol_id: int, account_id: int) -> ReadingPerson | None:
    """Return what an account is in a protocol."""
    return session.scalar(
        select(ReadingPerson).where(
            ReadingPerson.protocol_id == protocol_id, ReadingPerson.account_id == account_id
        )
    )
