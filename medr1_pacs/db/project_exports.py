"""Exports that people ask for on a page: one row each, which the sweep has carried out.

    requested --take--> running --finish--> finished --remove--> removed
                           '--end_attempt--> requested; after three attempts: failed

Whoever carries one out works under the random name of its folder: a row that has another one by
now, or none, takes nothing from it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import SERVICE, add_event
from medr1_pacs.db.reading import describe_filters
from medr1_pacs.db.tables import Project, ProjectStudy
from medr1_pacs.db.tables import ProjectExport as Row
from medr1_pacs.errors import ExportRefused
from medr1_pacs.filters import parse_filters
from medr1_pacs.processes import SILENT_S
from medr1_pacs.records.project_exports import (
    UNFINISHED,
    ExportWish,
    ProjectExport,
    TakenExport,
)
from medr1_pacs.records.words import ExportRemoval, ExportState

ATTEMPTS_MAX = 3
RETRY_S = 10.0
"""How long an export waits after an attempt that failed."""
WAITING_MAX = 5
"""Exports of one project that may wait or run at the same time."""
_FOLDER_BYTES = 16
_GONE: dict[str, Any] = {"folder": None, "claimed_by": None, "heartbeat_at": None}

# -- asking, and reading of them -------------------------------------------------------------------


def request_export(
    session: Session, project: str, wish: ExportWish, *, actor: str, now: datetime
) -> int:
    """Ask for an export; returns its id.

    Raises
    ------
    ExportRefused
        So many of the project wait already.
    """
    # Locked: two that ask at once are counted one after the other.
    project_id = session.scalars(
        select(Project.id).where(Project.name == project).with_for_update(key_share=True)
    ).one()
    waiting = session.scalar(
        select(func.count(Row.id)).where(Row.project_id == project_id, Row.state.in_(UNFINISHED))
    )
    if (waiting or 0) >= WAITING_MAX:
        raise ExportRefused(f"{waiting} exports of this project wait or run: wait for one of them")
    row = Row(
        project_id=project_id,
        requested_by=actor,
        requested_at=now,
        request=wish.to_json(),
        state=ExportState.REQUESTED,
        due_at=now,
    )
    session.add(row)
    session.flush()
    filters = describe_filters(session, project_id, parse_filters(wish.filters))
    told = wish.to_json() | {"filters": filters}
    _tell(session, "export.requested", row, actor=actor, **told)
    return row.id


def _tell(session: Session, action: str, row: Row, *, actor: str, **more: Any) -> None:
    new = {"export": row.id} | more
    add_event(session, action, "project", row.project_id, actor=actor, new=new)


def list_exports(session: Session, project: str, *, newest: int) -> list[ProjectExport]:
    """Return the exports of a project, the latest first."""
    rows = session.execute(
        select(Row, Project.name)
        .join(Project)
        .where(Project.name == project)
        .order_by(Row.id.desc())
        .limit(newest)
    )
    return [_record(row.ProjectExport, row.name) for row in rows]


def find_export(session: Session, project: str, export_id: int) -> ProjectExport | None:
    """Return an export of a project."""
    row = session.execute(
        select(Row, Project.name).join(Project).where(Project.name == project, Row.id == export_id)
    ).first()
    return None if row is None else _record(row.ProjectExport, row.name)


def _record(row: Row, project: str) -> ProjectExport:
    return ProjectExport(
        export_id=row.id,
        project=project,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        wish=ExportWish(**row.request),
        state=row.state,
        attempts=row.attempts,
        folder=row.folder,
        progress=row.progress or {},
        expected_answers=row.expected_answers,
        head_size=row.head_size,
        size_bytes=row.size_bytes,
        error=row.error,
        finished_at=row.finished_at,
        removed_at=row.removed_at,
        removed_because=row.removed_because,
    )


def tell_download(session: Session, project: str, export_id: int, *, actor: str) -> None:
    """Note that somebody downloads an export."""
    row = session.get_one(Row, export_id)
    _tell(session, "export.downloaded", row, actor=actor, head_size=row.head_size)


# -- carrying out ----------------------------------------------------------------------------------


def has_unfinished(session: Session) -> bool:
    """Whether any export waits or is being written."""
    return session.scalar(select(Row.id).where(Row.state.in_(UNFINISHED)).limit(1)) is not None


def take_export(
    session: Session, now: datetime, *, is_gone: Callable[[str], bool]
) -> TakenExport | None:
    """Take the export that has waited longest, unless another one is being written.

    One whose process is gone, or silent, waits too. `is_gone`: whether a process is known to have
    ended.
    """
    silent = now - timedelta(seconds=SILENT_S)
    for running in session.scalars(select(Row).where(Row.state == ExportState.RUNNING)):
        is_dead = running.claimed_by is not None and is_gone(running.claimed_by)
        if not is_dead and running.heartbeat_at is not None and running.heartbeat_at > silent:
            return None
        _end_attempt(running, "its process ended in the middle", now)
    session.flush()
    row = session.scalar(
        select(Row)
        .where(Row.state == ExportState.REQUESTED, Row.due_at <= now)
        .order_by(Row.id)
        .limit(1)
    )
    if row is None:
        return None
    row.state, row.folder = ExportState.RUNNING, secrets.token_hex(_FOLDER_BYTES)
    row.attempts += 1
    row.heartbeat_at, row.progress = now, {}
    return _taken(session, row)


def begin_export(
    session: Session, export_id: int, now: datetime, *, owner: str
) -> TakenExport | None:
    """Let a process carry out an export that was taken; None: it was not, or not any more."""
    row = session.scalar(
        select(Row).where(Row.id == export_id, Row.state == ExportState.RUNNING).with_for_update()
    )
    if row is None or row.claimed_by is not None:
        return None
    row.claimed_by, row.heartbeat_at = owner, now
    return _taken(session, row)


def _taken(session: Session, row: Row) -> TakenExport:
    project = session.get_one(Project, row.project_id)
    assert row.folder is not None, "it is being carried out"
    return TakenExport(
        row.id, project.name, row.requested_by, ExportWish(**row.request), row.folder
    )


def find_heartbeat(session: Session, taken: TakenExport) -> datetime | None:
    """Return when the process of an attempt was heard of; None: the attempt is not wanted."""
    return session.scalar(select(Row.heartbeat_at).where(*_attempt(taken)))


def note_progress(
    session: Session,
    taken: TakenExport,
    progress: Mapping[str, int],
    now: datetime,
    *,
    expected_answers: int,
) -> bool:
    """Write a heartbeat and how far it is; False when the attempt is not wanted any more."""
    values = {
        "heartbeat_at": now,
        "progress": dict(progress),
        "expected_answers": expected_answers,
    }
    noted = session.execute(update(Row).where(*_attempt(taken)).values(**values).returning(Row.id))
    return noted.first() is not None


def finish_export(
    session: Session, taken: TakenExport, now: datetime, *, head_size: int, size_bytes: int
) -> bool:
    """Note that the files are there; False when the attempt is not wanted any more."""
    values = {
        "state": ExportState.FINISHED,
        "head_size": head_size,
        "size_bytes": size_bytes,
        "finished_at": now,
        "heartbeat_at": None,
        "claimed_by": None,
        "error": None,
    }
    finished = session.execute(
        update(Row).where(*_attempt(taken)).values(**values).returning(Row.id)
    )
    return finished.first() is not None


def fail_export(session: Session, taken: TakenExport, error: str) -> None:
    """Give an export up: another attempt would end alike."""
    session.execute(
        update(Row).where(*_attempt(taken)).values(state=ExportState.FAILED, error=error, **_GONE)
    )


def end_attempt(session: Session, taken: TakenExport, error: str, now: datetime) -> None:
    """Let an export be tried again in a while, or rest as failed after three attempts."""
    row = session.scalar(select(Row).where(*_attempt(taken)).with_for_update())
    if row is not None:
        _end_attempt(row, error, now)


def give_back(session: Session, taken: TakenExport, now: datetime) -> None:
    """Let an export wait again whose process was asked to stop: that costs it no attempt."""
    row = session.scalar(select(Row).where(*_attempt(taken)).with_for_update())
    if row is not None:
        _give_back(row, now)


def _end_attempt(row: Row, error: str, now: datetime) -> None:
    is_over = row.attempts >= ATTEMPTS_MAX
    row.state = ExportState.FAILED if is_over else ExportState.REQUESTED
    row.error, row.due_at = error, now + timedelta(seconds=RETRY_S)
    _forget_attempt(row)


def _give_back(row: Row, now: datetime) -> None:
    row.state, row.due_at = ExportState.REQUESTED, now
    row.attempts -= 1
    _forget_attempt(row)


def _forget_attempt(row: Row) -> None:
    row.progress = None
    for name, value in _GONE.items():
        setattr(row, name, value)


def _attempt(taken: TakenExport) -> tuple[ColumnElement[bool], ...]:
    return (
        Row.id == taken.export_id,
        Row.state == ExportState.RUNNING,
        Row.folder == taken.folder,
    )


# -- removing --------------------------------------------------------------------------------------


def list_folders(session: Session) -> set[str]:
    """Return the folders that exports stand on, finished or being written."""
    states = (ExportState.RUNNING, ExportState.FINISHED)
    rows = session.scalars(select(Row.folder).where(Row.state.in_(states)))
    return {folder for folder in rows if folder is not None}


def remove_export(session: Session, export_id: int, *, actor: str, now: datetime) -> bool:
    """Remove an export by a person's word, or let it not be made; False: it is over already."""
    row = session.get_one(Row, export_id, with_for_update=True)
    if row.state not in (*UNFINISHED, ExportState.FINISHED):
        return False
    _remove(session, row, ExportRemoval.PERSON, actor=actor, now=now)
    return True


def remove_finished_before(session: Session, before: datetime, now: datetime) -> int:
    """Remove what was kept long enough; returns how many."""
    return _remove_finished(session, ExportRemoval.EXPIRED, now, Row.finished_at < before)


def count_withdrawn(session: Session, project: str) -> int:
    """Return how many studies were withdrawn from a project; they never come back."""
    withdrawn = (
        select(func.count(ProjectStudy.id))
        .join(Project, Project.id == ProjectStudy.project_id)
        .where(Project.name == project, ProjectStudy.withdrawn_at.is_not(None))
    )
    return session.scalar(withdrawn) or 0


def remove_for_withdrawal(session: Session, projects: Collection[str], now: datetime) -> int:
    """Remove the finished exports of projects, and let those that are being written begin anew.

    Returns how many were removed.
    """
    ids = select(Project.id).where(Project.name.in_(projects))
    running = select(Row).where(Row.state == ExportState.RUNNING, Row.project_id.in_(ids))
    for row in session.scalars(running.with_for_update()):
        _give_back(row, now)
    return _remove_finished(session, ExportRemoval.WITHDRAWAL, now, Row.project_id.in_(ids))


def _remove_finished(
    session: Session, because: ExportRemoval, now: datetime, which: ColumnElement[bool]
) -> int:
    finished = select(Row).where(Row.state == ExportState.FINISHED, which).with_for_update()
    rows = session.scalars(finished).all()
    for row in rows:
        _remove(session, row, because, now=now)
    return len(rows)


def _remove(
    session: Session, row: Row, because: ExportRemoval, *, now: datetime, actor: str = SERVICE
) -> None:
    _forget_attempt(row)
    row.state, row.removed_at, row.removed_because = ExportState.REMOVED, now, because
    _tell(session, "export.removed", row, actor=actor, because=because.value)
