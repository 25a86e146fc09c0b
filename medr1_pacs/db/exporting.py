"""What an export holds, as of a head of the log, read in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    select,
)
from sqlalchemy.orm import Session

from medr1_pacs.audit.events import Event
from medr1_pacs.audit.notes import VerifierKey
from medr1_pacs.audit.reading_events import ReadingEvents
from medr1_pacs.db.as_of import IdSet, look_back
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.exported_answers import iterate_answers, iterate_left_out, iterate_wide
from medr1_pacs.db.exported_events import iterate_events, list_members
from medr1_pacs.db.exported_reading import (
    iterate_assignments,
    iterate_cases,
    iterate_judged,
    iterate_people,
    iterate_protocols,
    iterate_reviews,
)
from medr1_pacs.db.exported_tables import (
    iterate_checkpoints,
    iterate_questions,
    iterate_references,
    iterate_selections,
    iterate_withdrawn,
)
from medr1_pacs.db.key_statements import list_key_statements
from medr1_pacs.db.reading import describe_filters
from medr1_pacs.db.sealing import iterate_leaves
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Project,
)
from medr1_pacs.db.verifying import see_one_moment
from medr1_pacs.errors import ExportRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.judged import JudgedProtocol
from medr1_pacs.records.words import JsonObject


class ExportReader:
    """What an export of a project holds, all as of one head, read in one transaction."""

    def __init__(
        self, session: Session, project: str, project_id: int, filters: AnswerFilters, size: int
    ) -> None:
        self._session = session
        self._project = project
        self._filters = filters
        self._as_of = look_back(session, project_id, size)

    def answers(self) -> Iterator[list[str | None]]:
        return iterate_answers(self._session, self._project, self._filters, self._as_of)

    def left_out(self, exported: IdSet) -> Iterator[JsonObject]:
        return iterate_left_out(self._session, self._project, exported, self._filters, self._as_of)

    def wide(self, exported: IdSet) -> Iterator[tuple[JsonObject, dict[str, str | None]]]:
        return iterate_wide(self._session, self._as_of.project_id, exported)

    def questions(self, rows: Collection[int]) -> Iterator[JsonObject]:
        return iterate_questions(self._session, rows)

    def checkpoints(self, rows: Collection[int]) -> Iterator[JsonObject]:
        return iterate_checkpoints(self._session, rows)

    def references(self) -> Iterator[JsonObject]:
        return iterate_references(self._session, self._as_of)

    def selections(self) -> Iterator[JsonObject]:
        return iterate_selections(self._session, self._as_of)

    def cases(self) -> Iterator[JsonObject]:
        return iterate_cases(self._session, self._as_of)

    def reviews(self, *, hidden: Collection[str]) -> Iterator[JsonObject]:
        return iterate_reviews(self._session, self._as_of, hidden=hidden)

    def protocols(self, events: ReadingEvents, *, shows_times: bool) -> Iterator[JsonObject]:
        return iterate_protocols(self._session, self._as_of, events, shows_times=shows_times)

    def people(self) -> Iterator[JsonObject]:
        return iterate_people(self._session, self._as_of)

    def assignments(self, events: ReadingEvents) -> Iterator[JsonObject]:
        return iterate_assignments(self._session, self._as_of, events)

    def judged(self) -> Iterator[JudgedProtocol]:
        return iterate_judged(self._session, self._as_of)

    def withdrawn(self) -> Iterator[JsonObject]:
        return iterate_withdrawn(self._session, self._as_of)

    def members(self) -> set[int]:
        return list_members(self._session, self._as_of)

    def events(
        self, *, questions: Collection[int], checkpoints: Collection[int], accounts: Collection[int]
    ) -> Iterator[tuple[int, Event]]:
        """Yield each event with its place."""
        return iterate_events(
            self._session,
            self._as_of,
            questions=questions,
            checkpoints=checkpoints,
            accounts=accounts,
        )

    def key_statements(self, key: VerifierKey) -> list[str]:
        """Return by which earlier keys of the log lead to one."""
        return list_key_statements(self._session, key)

    def date_policy(self) -> str:
        """Return how the project shows the dates of studies: now, which may be less than as of the
        head."""
        statement = select(Project.dates).where(Project.id == self._as_of.project_id)
        return self._session.scalars(statement).one().value

    def leaves(self) -> Iterator[bytes]:
        """Yield the hashes of all leaves up to the head."""
        return iterate_leaves(self._session, 0, end=self._as_of.size)


@contextmanager
def open_export(
    database: Database, project: str, filters: AnswerFilters, size: int
) -> Iterator[ExportReader]:
    """Read a project as of a head of the log.

    Raises
    ------
    ExportRefused
        There is no such project.
    """
    with database.read() as session:
        see_one_moment(session)
        project_id = session.scalar(select(Project.id).where(Project.name == project))
        if project_id is None:
            raise ExportRefused(f"there is no project {project!r}")
        yield ExportReader(session, project, project_id, filters, size)


def tell_export(
    session: Session, project: str, filters: AnswerFilters, *, actor: str, **more: Any
) -> None:
    """Note that somebody exports a project.

    Raises
    ------
    ExportRefused
        There is no such project.
    """
    project_id = session.scalar(select(Project.id).where(Project.name == project))
    if project_id is None:
        raise ExportRefused(f"there is no project {project!r}")
    add_event(
        session,
        "project.exported",
        "project",
        project_id,
        actor=actor,
        new={"filters": describe_filters(session, project_id, filters)} | more,
    )
