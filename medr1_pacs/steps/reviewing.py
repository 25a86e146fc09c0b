"""review: a reader opens a case, judges it, and locks what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from medr1_pacs.db.claiming import claim_next, find_due, find_upcoming, measure_progress
from medr1_pacs.db.locking import amend_review, lock_review, save_draft
from medr1_pacs.db.reading_series import get_shown_frame, list_case_series, names_answer
from medr1_pacs.db.reads import get_read, get_shown
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ReadNotOpen
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.reviews import CaseSeries, Judgement, OpenRead, Reader, ReaderProgress
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.records.words import JsonObject

FRAMES_AHEAD = 5
"""How far from the frame that a case opens at its frames may be loaded ahead."""


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A read that somebody has open, and the series of its study."""

    read: OpenRead
    series: CaseSeries


def open_next(
    database: Database, reader: Reader, *, now: datetime
) -> tuple[OpenedCase | None, ReaderProgress]:
    """Open the next case of a reader, or the one that they have open already."""
    with database.write() as session:
        found = claim_next(session, reader, now=now)
    opened = None
    if found.assignment_id is not None:
        opened = open_read(database, reader, found.assignment_id, now=now)
    with database.read() as session:
        progress = measure_progress(session, reader, now=now)
    return opened, replace(progress, due_at=found.due_at)


def open_read(
    database: Database, reader: Reader, assignment_id: int, *, now: datetime
) -> OpenedCase:
    """Return a read that somebody has open, or had and may still look at.

    Raises
    ------
    ReadNotOpen
        It is not theirs, or closed to them.
    """
    with database.read() as session:
        read = get_read(session, reader, assignment_id, now=now)
    return OpenedCase(read, _label_series(database, read.case_id))


def find_progress(database: Database, reader: Reader, *, now: datetime) -> ReaderProgress:
    """Return how far somebody is, and when they go on where they have to wait."""
    with database.read() as session:
        progress = measure_progress(session, reader, now=now)
        if progress.is_waiting:
            progress = replace(progress, due_at=find_due(session, reader, now=now))
    return progress


def preview(database: Database, reader: Reader) -> tuple[int, CaseSeries] | None:
    """Return what a reader would open after the case that they have open, and its series.

    It is not claimed: another reader may still come first.
    """
    with database.read() as session:
        upcoming = find_upcoming(session, reader)
    if upcoming is None:
        return None
    assignment_id, case_id = upcoming
    return assignment_id, _label_series(database, case_id)


def find_frame(
    database: Database,
    reader: Reader,
    assignment_id: int,
    series_place: int,
    frame_place: int,
    *,
    now: datetime,
) -> ShownFrame:
    """Return a frame of a read that somebody has open, or had.

    Of the one that they open next, those at its start alone: the time that it takes begins when it
    is opened.

    Raises
    ------
    ReadNotOpen
        The case is not theirs, or has no such frame.
    """
    with database.read() as session:
        upcoming = find_upcoming(session, reader)
        is_ahead = upcoming is not None and upcoming[0] == assignment_id
        if is_ahead and upcoming is not None:
            case_id = upcoming[1]
        else:
            case_id = get_shown(session, reader, assignment_id, now=now)[1].id
    series = _case_series(database, case_id)
    if is_ahead and not _is_at_start(series, series_place, frame_place):
        raise ReadNotOpen("this case is not open for you: go on with the next one")
    found = (
        series.series[series_place].frame_at(frame_place)
        if series_place < len(series.series)
        else None
    )
    if found is None:
        raise ReadNotOpen("the case has no such frame")
    with database.read() as session:
        return get_shown_frame(session, case_id, *found)


def _is_at_start(series: CaseSeries, series_place: int, frame_place: int) -> bool:
    place, frame = series.start
    return series_place == place and abs(frame_place - frame) <= FRAMES_AHEAD


def _label_series(database: Database, case_id: int) -> CaseSeries:
    """Return the series of a case, their labels only where these give no answer away."""
    with database.read() as session:
        is_told = not names_answer(session, case_id)
    series = _case_series(database, case_id)
    return series if is_told else series.unlabelled()


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
        save_draft(session, reader, assignment_id, draft, active_ms=active_ms, now=now)


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
        return lock_review(
            session, reader, assignment_id, phase, judgement, active_ms=active_ms, now=now
        )


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
    ReadNotOpen
        It is not theirs, or closed to them.
    ReviewRefused
        Nothing is locked in the phase, no reason is given, or the protocol is over.
    """
    with database.write() as session:
        amend_review(session, reader, assignment_id, phase, judgement, reason=reason, now=now)
