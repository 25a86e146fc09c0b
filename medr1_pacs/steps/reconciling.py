"""rows <-> store: find what one of the two does not know. The files are the truth.

After a database or the vault was restored, or the storage folder was: every file is read once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from medr1_pacs.db.facets import list_faults, refresh_facets
from medr1_pacs.db.instances import hashes_of_rows, iterate_stored_names, note_scanners
from medr1_pacs.db.quarantine import list_dropped
from medr1_pacs.db.renderings import draw_again, list_pictures, record_pixels
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.taking import find_withdrawn_files
from medr1_pacs.db.vault import record_identities
from medr1_pacs.errors import InstanceDamaged, PictureLost, StorageUnavailable
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.records.received import IndexedInstance, PatientIdentity
from medr1_pacs.rendering import hash_pixels
from medr1_pacs.steps.indexing import read_received
from medr1_pacs.storage.instances import InstanceStore, StoredName
from medr1_pacs.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

_FILES_AT_ONCE = 500


@dataclass(slots=True)
class ReconcileReport:
    """What was found, and what was done about it."""

    returned: int = 0
    """Files without a row that go back to the backlog."""
    identities: int = 0
    """Files whose identity is in the vault now, if it was not before."""
    unreadable: list[str] = field(default_factory=list)
    """Files that the disk does not give at the moment."""
    damaged: list[str] = field(default_factory=list)
    """One sentence for each row whose file is missing or changed: send the instance again."""
    pictures_lost: int = 0
    """Pictures that were missing or changed, and are drawn again."""
    studies_found_anew: int = 0
    """Studies whose answers research found by what they are no longer."""


def reconcile(
    store: InstanceStore,
    pictures: PictureStore,
    database: Database,
    vault: Database,
    site_key: bytes,
    headers: HeaderReader,
) -> ReconcileReport:
    """Compare files and rows, both ways.

    Files without a row go back to the backlog; identities go to the vault, which leaves what it
    knows alone; a picture that is lost is drawn again; what a person dropped is deleted. A row
    whose file is missing or changed is reported: only the sender can repair that.
    """
    report = ReconcileReport()
    files = store.settled()
    while batch := list(islice(files, _FILES_AT_ONCE)):
        _reconcile_files(batch, store, database, vault, site_key, headers, report)
    with database.read() as session:
        for stored_name in iterate_stored_names(session):
            if not store.instance_path(StoredName(stored_name)).exists():
                report.damaged.append(str(InstanceDamaged(stored_name, "is missing")))
    _check_pictures(pictures, database, report)
    _check_research_rows(database, report)
    return report


def _reconcile_files(
    files: Sequence[tuple[StoredName, Path]],
    store: InstanceStore,
    database: Database,
    vault: Database,
    site_key: bytes,
    headers: HeaderReader,
    report: ReconcileReport,
) -> None:
    with database.read() as session:
        known = hashes_of_rows(session, [stored.name for stored, _ in files])
        dropped = list_dropped(session, [stored.name for stored, _ in files])
        withdrawn = find_withdrawn_files(session, [stored.name for stored, _ in files])
    identities: list[PatientIdentity] = []
    scanners: dict[tuple[str, str], str] = {}
    for stored, path in files:
        if stored.name in dropped and path == store.quarantine_path(stored):
            store.leave_quarantine(stored)  # a crash, or a restored folder, left it there
            continue
        if stored.name not in known:
            store.return_to_incoming(stored, path)
            report.returned += 1
        try:
            item = read_received(path, stored, site_key, headers)
        except (OSError, StorageUnavailable) as error:
            report.unreadable.append(f"{stored.name}: {error}")
            continue
        if known.get(stored.name, item.sha256) != item.sha256:
            report.damaged.append(str(InstanceDamaged(stored.name, "is not what was received")))
        elif isinstance(item, IndexedInstance) and stored.name in known:
            # Of one without a row, who indexes says whether it may be kept; of one that was
            # withdrawn, the start deletes the file.
            if stored.name in withdrawn or path == store.quarantine_path(stored):
                continue
            identities.append(item.identity)
            if item.scanner_key:
                scanners[item.study_instance_uid, item.series_instance_uid] = item.scanner_key
    with database.write() as session:
        note_scanners(session, scanners)
    record_identities(vault, identities, datetime.now(UTC))
    report.identities += len(identities)


def _check_research_rows(database: Database, report: ReconcileReport) -> None:
    """Write narrow rows anew that say something else than the answers do."""
    with database.read() as session:
        faults = list_faults(session)
    for first in range(0, len(faults), _FILES_AT_ONCE):
        with database.write() as session:
            refresh_facets(session, *faults[first : first + _FILES_AT_ONCE])
    report.studies_found_anew = len(faults)


def _check_pictures(pictures: PictureStore, database: Database, report: ReconcileReport) -> None:
    """Read every picture that is drawn: plan lost ones again, and note pixels not hashed yet."""
    with database.read() as session:
        drawn = list_pictures(session)
    for png_sha256, has_pixels in drawn:
        try:
            png = pictures.read(png_sha256)
        except PictureLost as error:
            with database.write() as session:
                draw_again(session, png_sha256, str(error))
            report.pictures_lost += 1
        except StorageUnavailable as error:
            report.unreadable.append(str(error))
        else:
            if not has_pixels:  # drawn by the first version
                with database.write() as session:
                    record_pixels(session, png_sha256, hash_pixels(png))
