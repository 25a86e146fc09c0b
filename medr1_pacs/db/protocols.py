"""Reading protocols: started and ended; who is in one."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.reading_series import freeze_pictures
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.study_answers import add_study_answer
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    Project,
    ProjectMember,
    ProjectStudy,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
)
from medr1_pacs.errors import ProtocolNotFound, ProtocolRefused
from medr1_pacs.records.review_words import (
    AssignmentState,
    Part,
    ProtocolState,
)
from medr1_pacs.records.reviews import ReadingPlan
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


def start_protocol(
    session: Session,
    project_id: int,
    protocol: Protocol,
    plan: ReadingPlan,
    people: Mapping[str, int],
    *,
    actor: str,
    now: datetime,
) -> int:
    """Freeze a protocol with its cases and planned reads; returns its row id.

    Each case's record, which commits to the model's side of it, gets into the log here: before any
    reader can open it. Its project and its people are locked since before it was planned.
    """
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
    # Row ids stand in addresses, and would tell what all readers read, controls, repeats and what
    # is pooled apart. Chance decides, which no seed knows: an order is no part of a plan.
    reads = list(plan.reads)
    secrets.SystemRandom().shuffle(reads)
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
        for read in reads
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
    """Return a project's row id; until the transaction ends nobody else starts a protocol in it,
    and no study is withdrawn from it.

    Raises
    ------
    ProtocolNotFound
        There is no such project.
    """
    found = session.scalar(
        select(Project.id).where(Project.name == project).with_for_update(key_share=True)
    )
    if found is None:
        raise ProtocolNotFound(f"there is no project {project!r}")
    return found


def lock_people(session: Session, names: Collection[str]) -> None:
    """Lock accounts by their names: until the transaction ends nobody starts a protocol with any of
    them, in whatever project, and none of them is unblinded."""
    session.execute(
        select(Account.id)
        .where(Account.name.in_(names))
        # Administrators first, as everybody does who locks them with others.
        .order_by(Account.is_administrator.desc(), Account.id)
        .with_for_update(key_share=True)
    )


def refuse_started(session: Session, project: str, protocol: Protocol) -> None:
    """Refuse what there is already.

    Raises
    ------
    ProtocolRefused
        The project has this version of it.
    """
    same = (
        select(ReadingProtocol.id)
        .join(Project, Project.id == ReadingProtocol.project_id)
        .where(
            Project.name == project,
            ReadingProtocol.name == protocol.name,
            ReadingProtocol.version == protocol.version,
        )
    )
    if session.scalar(same) is not None:
        raise ProtocolRefused(
            f"version: {protocol.name} {protocol.version} was started already and never changes; "
            f"give it version {protocol.version + 1}"
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
    versions = {each.candidate.study_id: each.candidate.study_version for each in plan.cases}
    pictures = freeze_pictures(session, versions)
    for planned in plan.cases:
        each = planned.candidate
        rows.append(
            ReadingCase(
                protocol_id=protocol_id,
                number=planned.number,
                case_key=each.key,
                kind=planned.kind,
                study_id=each.study_id,
                study_version_id=each.study_version_id,
                question_id=each.question_row,
                rendering_id=each.rendering_id,
                study_answer_id=add_study_answer(session, each, now),
                model_side=each.answer.side.to_json() if each.answer else None,
                truth=each.truth,
                truth_source=each.truth_source,
                pictures=pictures[each.study_id],
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
        .with_for_update(key_share=True)
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


def get_definition(session: Session, protocol_id: int) -> Protocol:
    """Return what a protocol says of itself."""
    return restore_protocol(session.get_one(ReadingProtocol, protocol_id).definition)


def find_part(session: Session, protocol_id: int, account_id: int) -> ReadingPerson | None:
    """Return what an account is in a protocol."""
    return session.scalar(
        select(ReadingPerson).where(
            ReadingPerson.protocol_id == protocol_id, ReadingPerson.account_id == account_id
        )
    )
