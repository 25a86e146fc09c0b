"""review: a reader opens a case, judges it, and locks what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from medr1_pacs.db.assignments import (
    amend_review,
    claim_next,
    get_case_id,
    get_open_case,
    get_read,
    lock_review,
    measure_progress,
    preview_next,
    save_draft,
)
from medr1_pacs.db.reading_series import get_shown_frame, list_case_series
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ReadNotOpen
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.reviews import CaseSeries, Judgement, OpenRead, ReaderProgress
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.records.words import JsonObject
from medr1_pacs.steps.reading_protocols import state_panels


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A read that somebody has open, and the series of its study."""

    read: OpenRead
    series: CaseSeries


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody in a protocol."""

    protocol_id: int
    account_id: int


def open_next(
    database: Database, reader: Reader, *, now: datetime
) -> tuple[OpenedCase | None, ReaderProgress]:
    """Open the next case of a reader, or the one that they have open already."""
    with database.write() as session:
        found = claim_next(session, reader.protocol_id, reader.account_id, now=now)
    opened = None
    if found.assignment_id is not None:
        opened = open_read(database, reader, found.assignment_id)
    with database.read() as session:
        progress = measure_progress(session, reader.protocol_id, reader.account_id)
    return opened, replace(progress, due_at=found.due_at)


def open_read(database: Database, reader: Reader, assignment_id: int) -> OpenedCase:
    """Return a read that somebody has open, or had.

    Raises
    ------
    ReadNotOpen
        It is not theirs.
    """
    with database.read() as session:
        read = get_read(session, assignment_id, reader.account_id)
        if read.protocol_id != reader.protocol_id:
            raise ReadNotOpen("this case is of another protocol")
    return OpenedCase(read, _case_series(database, read.case_id))


def find_progress(database: Database, reader: Reader, *, now: datetime) -> ReaderProgress:
    """Return how far somebody is, and when they go on where they have to wait."""
    with database.read() as session:
        progress = measure_progress(session, reader.protocol_id, reader.account_id)
        if progress.is_waiting:
            found = preview_next(session, reader.protocol_id, reader.account_id, now=now)
            progress = replace(progress, due_at=found.due_at)
    return progress


def find_upcoming(
    database: Database, reader: Reader, *, now: datetime
) -> tuple[int, CaseSeries] | None:
    """Return what a reader would open after the case that they have open, and its series.

    It is not claimed: another reader may still come first.
    """
    with database.read() as session:
        found = preview_next(session, reader.protocol_id, reader.account_id, now=now)
        if found.assignment_id is None:
            return None
        case_id = get_case_id(session, found.assignment_id)
    return found.assignment_id, _case_series(database, case_id)


def find_frame(
    database: Database,
    reader: Reader,
    assignment_id: int,
    series_place: int,
    frame_place: int,
    *,
    now: datetime,
) -> ShownFrame:
    """Return a frame of a read that somebody has open, or had, or opens next.

    Raises
    ------
    ReadNotOpen
        The case is not theirs, or has no such frame.
    """
    case_id = _find_shown_case(database, reader, assignment_id, now=now)
    series = _case_series(database, case_id)
    found = (
        series.series[series_place].frame_at(frame_place)
        if series_place < len(series.series)
        else None
    )
    if found is None:
        raise ReadNotOpen("the case has no such frame")
    with database.read() as session:
        return get_shown_frame(session, case_id, *found)


def _find_shown_case(
    database: Database, reader: Reader, assignment_id: int, *, now: datetime
) -> int:
    """Return the case of a read whose pictures somebody may see."""
    try:
        with database.read() as session:
            return get_open_case(session, reader.protocol_id, assignment_id, reader.account_id)
    except ReadNotOpen:
        upcoming = find_upcoming(database, reader, now=now)
    with database.read() as session:
        if upcoming is not None and upcoming[0] == assignment_id:
            return get_case_id(session, assignment_id)
        # It may have been opened between the two: another one is upcoming by now.
        return get_open_case(session, reader.protocol_id, assignment_id, reader.account_id)


@lru_cache(maxsize=64)
def _case_series(database: Database, case_id: int) -> CaseSeries:
    """Return the series of a case, which never change: hundreds of its frames are asked for one by
    one. Whether the case may be shown is asked each time, before."""
    with database.read() as session:
        return list_case_series(session, case_id)


def keep_draft(
    database: Database,
    reader: Reader,
    assignment_id: int,
    draft: JsonObject,
    *,
    active_ms: int,
    now: datetime,
) -> None:
    """Keep what is filled in so far.

    Raises
    ------
    ReadNotOpen
        Somebody else was given the case since, or it is locked.
    """
    with database.write() as session:
        save_draft(session, assignment_id, reader.account_id, draft, active_ms=active_ms, now=now)


def lock(
    database: Database,
    reader: Reader,
    assignment_id: int,
    phase: Phase,
    judgement: Judgement,
    *,
    active_ms: int,
    now: datetime,
) -> bool:
    """Lock what somebody says in a phase; returns whether the protocol is over by that.

    Raises
    ------
    ReadNotOpen
        Somebody else was given the case since.
    ReviewRefused
        Something is missing, or something else is locked in the phase.
    """
    with database.write() as session:
        is_over = lock_review(
            session,
            assignment_id,
            reader.account_id,
            phase,
            judgement,
            active_ms=active_ms,
            now=now,
        )
    if is_over:
        state_panels(database)
    return is_over


def amend(
    database: Database,
    reader: Reader,
    assignment_id: int,
    phase: Phase,
    judgement: Judgement,
    *,
    reason: str,
    now: datetime,
) -> None:
    """Put another answer in the place of a locked one.

    Raises
    ------
    ReviewRefused
        Nothing is locked in the phase, no reason is given, or the protocol is over.
    """
    with database.write() as session:
        amend_review(
            session,
            assignment_id,
            reader.account_id,
            phase,
            judgement,
            reason=reason,
            now=now,
        )
