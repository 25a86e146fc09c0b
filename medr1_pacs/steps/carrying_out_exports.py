"""Carry out an export that somebody asked for on a page, in a process of its own.

    row, taken by the sweep -> folder -> files -> row, finished

A thread writes heartbeat and progress to the row. An attempt that nobody wants any more, since a
person removed the export or a study was withdrawn, gives up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.db.project_exports import (
    begin_export,
    end_attempt,
    fail_export,
    finish_export,
    list_folders,
    note_progress,
    remove_finished_before,
    remove_for_withdrawal,
)
from medr1_pacs.db.research import count_found
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import (
    AuditFilesUnusable,
    DatabaseFull,
    DatabaseUnavailable,
    ExportRefused,
    Interrupted,
    LogInconsistent,
    PermanentError,
    StorageFull,
    StorageUnavailable,
    TransientError,
)
from medr1_pacs.filters import parse_filters
from medr1_pacs.records.project_exports import TakenExport, export_name
from medr1_pacs.records.words import TableFormat
from medr1_pacs.steps.exporting import ExportRequest
from medr1_pacs.steps.making_exports import Exporter, make_export
from medr1_pacs.storage.durable import named_failures
from medr1_pacs.storage.exports import ExportStore

logger = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""How long a finished export is kept."""
_NOTE_S = 1.0
"""How often progress is written."""
_NOT_WANTED = "it was removed, or a study was withdrawn"


def carry_out_export(
    exporter: Exporter, exports: ExportStore, export_id: int, *, owner: str
) -> None:
    """Write the files of an export that was taken.

    Raises
    ------
    PermanentError
        It cannot be made; its row says so.
    TransientError
        It can be tried again, or is not wanted any more.
    """
    database = exporter.database
    with database.write() as session:
        taken = begin_export(session, export_id, datetime.now(UTC), owner=owner)
    if taken is None:
        raise Interrupted(f"the export {export_id} is not taken, or by another process")
    try:
        _make(exporter, exports, taken)
    except PermanentError as error:
        _log(taken, error)
        with database.write() as session:
            fail_export(session, taken, _say(error))
        raise
    except Exception as error:
        _log(taken, error)
        with database.write() as session:
            end_attempt(session, taken, _say(error), datetime.now(UTC))
        raise


def _say(error: Exception) -> str:
    """Say what went wrong to people who do not run the service: no path or host, nothing of a
    defect."""
    if isinstance(error, ExportRefused | Interrupted | StorageFull):
        return str(error)
    for kinds, sentence in _SENTENCES.items():
        if isinstance(error, kinds):
            return f"{sentence}; who runs the service sees why"
    return f"a defect of the service ({type(error).__name__}), of which its log says more"


_SENTENCES: dict[tuple[type[Exception], ...], str] = {
    (AuditFilesUnusable, LogInconsistent): "the audit log cannot be signed at the moment",
    (DatabaseUnavailable, DatabaseFull): "the database is away",
    (StorageUnavailable,): "the storage folder is away",
}


def _log(taken: TakenExport, error: Exception) -> None:
    logger.warning(
        "the export %d is not made: %s", taken.export_id, error, extra={"action": "export"}
    )


def _make(exporter: Exporter, exports: ExportStore, taken: TakenExport) -> None:
    database, request = exporter.database, _request_of(taken)
    with database.read() as session:
        expected = count_found(session, taken.project, request.filters).number
    folder = exports.begin(taken.folder)
    with _Telling(database, exports, taken, expected) as telling, named_failures():
        exported = make_export(
            exporter,
            folder,
            request,
            actor=taken.requested_by,
            as_of=taken.wish.as_of,
            progress=telling.note,
        )
        size_bytes = exports.finish(taken.folder, export_name(taken.project, exported.size))
        telling.tell()
    with database.write() as session:
        is_ours = finish_export(
            session,
            taken,
            datetime.now(UTC),
            head_size=exported.size,
            size_bytes=size_bytes,
        )
    if not is_ours:
        raise Interrupted(_NOT_WANTED)
    if exported.pictures_lost:
        logger.warning(
            "%d pictures of the export %d are lost", exported.pictures_lost, taken.export_id
        )
    logger.info(
        "the export %d is written: %d bytes",
        taken.export_id,
        size_bytes,
        extra={"action": "export"},
    )


def _request_of(taken: TakenExport) -> ExportRequest:
    wish = taken.wish
    return ExportRequest(
        project=taken.project,
        filters=EVERYTHING if wish.is_everything else parse_filters(wish.filters),
        formats=tuple(map(TableFormat, wish.formats)),
        has_pictures=wish.has_pictures,
    )


class _Telling:
    """Tells the row how far an attempt is, from a thread; a context manager.

    `note` raises what the thread found: the attempt is not wanted any more, or the disk is full.
    """

    def __init__(
        self, database: Database, exports: ExportStore, taken: TakenExport, expected: int
    ) -> None:
        self._database = database
        self._exports = exports
        self._taken = taken
        self._expected = expected
        self._progress: dict[str, int] = {}
        self._trouble: TransientError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="export-progress", daemon=True)

    def __enter__(self) -> _Telling:
        self.tell()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def note(self, table: str, rows: int) -> None:
        if self._trouble is not None:
            raise self._trouble
        self._progress[table] = rows

    def tell(self) -> None:
        """Write to the row now.

        Raises
        ------
        Interrupted
            The attempt is not wanted any more.
        StorageFull
            What is left of the disk is for what comes in.
        """
        self._exports.check_room()
        with self._database.write() as session:
            is_wanted = note_progress(
                session,
                self._taken,
                self._progress,
                datetime.now(UTC),
                expected_answers=self._expected,
            )
        if not is_wanted:
            raise Interrupted(_NOT_WANTED)

    def _run(self) -> None:
        while not self._stop.wait(_NOTE_S):
            try:
                self.tell()
            except (Interrupted, StorageFull) as error:
                self._trouble = error
                return
            except TransientError as error:
                logger.warning("the progress of an export is not written: %s", error)


# -- what goes again -------------------------------------------------------------------------------


def remove_expired(database: Database, now: datetime) -> int:
    """Remove what was kept long enough; returns how many exports."""
    with database.write() as session:
        return remove_finished_before(session, now - KEPT, now)


def remove_withdrawn(
    database: Database, exports: ExportStore, projects: Collection[str], now: datetime
) -> int:
    """Remove the exports of projects that a study goes from; returns how many were finished.

    Raises
    ------
    StorageUnavailable
        Files that may be of the study are still there: call it again.
    """
    if not projects:
        return 0
    with database.write() as session:
        removed = remove_for_withdrawal(session, projects, now)
    if left := delete_removed(database, exports):
        raise StorageUnavailable(
            f"{len(left)} folders of removed exports are still there: {', '.join(sorted(left))}"
        )
    return removed


def delete_removed(database: Database, exports: ExportStore) -> set[str]:
    """Delete every folder that no export stands on: removed, or left by an attempt that ended.

    Returns those that are still there: the disk refused, or a process still writes into them.

    Raises
    ------
    TransientError
        The database or the storage is away.
    """
    # First the folders: one that is made meanwhile has its row before.
    there = exports.list_folders()
    if not there:
        return set()
    with database.read() as session:
        unwanted = there - list_folders(session)
    for folder in unwanted:
        exports.remove(folder)
    return unwanted & exports.list_folders() if unwanted else set()
