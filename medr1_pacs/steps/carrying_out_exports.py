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

from medr1_pacs.audit.signing import SigningKey
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
    Interrupted,
    LogInconsistent,
    PermanentError,
    StorageFull,
    TransientError,
)
from medr1_pacs.filters import AnswerFilters, parse_filters
from medr1_pacs.records.project_exports import ExportWish, TakenExport, export_name
from medr1_pacs.steps.exporting import ExportRequest, TableFormat
from medr1_pacs.steps.making_exports import make_export
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.durable import named_failures
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""How long a finished export is kept."""
_NOTE_S = 1.0
"""How often progress is written."""
_NOT_WANTED = "nobody wants this attempt any more"


def carry_out_export(
    database: Database,
    pictures: PictureStore,
    exports: ExportStore,
    sealer: Sealer,
    key: SigningKey,
    site_key: bytes,
    export_id: int,
    *,
    owner: str,
) -> None:
    """Write the files of an export that was taken.

    Raises
    ------
    PermanentError
        It cannot be made; its row says so.
    TransientError
        It can be tried again, or is not wanted any more.
    """
    with database.write() as session:
        taken = begin_export(session, export_id, datetime.now(UTC), owner=owner)
    if taken is None:
        raise Interrupted(f"the export {export_id} is not taken, or by another process")
    try:
        _make(database, pictures, exports, sealer, key, site_key, taken)
    except PermanentError as error:
        with database.write() as session:
            fail_export(session, taken, str(error))
        raise
    except Exception as error:
        with database.write() as session:
            end_attempt(session, taken, _say(error), datetime.now(UTC))
        raise


def _say(error: Exception) -> str:
    """Say what went wrong to people who do not run the service: no path, nothing from a defect."""
    if isinstance(error, AuditFilesUnusable | LogInconsistent):
        return "the audit log cannot be signed at the moment; who runs the service sees why"
    if isinstance(error, TransientError):
        return str(error)
    return f"a defect of the service ({type(error).__name__}), of which its log says more"


def _make(
    database: Database,
    pictures: PictureStore,
    exports: ExportStore,
    sealer: Sealer,
    key: SigningKey,
    site_key: bytes,
    taken: TakenExport,
) -> None:
    filters, wish = filters_of(taken.wish), taken.wish
    with database.read() as session:
        expected = count_found(session, taken.project, filters).number
    folder = exports.begin(taken.folder)
    with _Telling(database, exports, taken, expected) as telling, named_failures():
        exported = make_export(
            database,
            pictures,
            sealer,
            key,
            site_key,
            folder,
            ExportRequest(
                project=taken.project,
                filters=filters,
                formats=tuple(TableFormat(each) for each in wish.formats),
                has_pictures=wish.has_pictures,
            ),
            actor=taken.requested_by,
            as_of=wish.as_of,
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


def filters_of(wish: ExportWish) -> AnswerFilters:
    """Return which answers are meant."""
    return EVERYTHING if wish.is_everything else parse_filters(wish.filters)


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
    """Remove the exports of projects that a study goes from; returns how many were finished."""
    if not projects:
        return 0
    with database.write() as session:
        removed = remove_for_withdrawal(session, projects, now)
    delete_removed(database, exports)
    return removed


def delete_removed(database: Database, exports: ExportStore) -> None:
    """Delete every folder that no export stands on: removed, or left by an attempt that ended.

    Raises
    ------
    TransientError
        The database or the storage is away.
    """
    # First the folders: one that is made meanwhile has its row before.
    there = exports.list_folders()
    if not there:
        return
    with database.read() as session:
        wanted = list_folders(session)
    for folder in there - wanted:
        exports.remove(folder)
