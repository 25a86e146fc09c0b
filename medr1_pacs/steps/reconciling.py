"""rows <- store: rebuild what a lost or older database does not know. The files are the truth."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from medr1_pacs.db.instances import has_row
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.vault import record_identities
from medr1_pacs.records.received import IndexedInstance
from medr1_pacs.steps.indexing import read_received
from medr1_pacs.storage.instances import InstanceStore

logger = logging.getLogger(__name__)


def reconcile(store: InstanceStore, database: Database) -> int:
    """Put every stored file without a row back into the backlog; returns how many."""
    returned = 0
    for stored, path in store.settled():
        with database.read() as session:
            known = has_row(session, stored.name)
        if not known:
            store.return_to_incoming(stored, path)
            returned += 1
    return returned


def restore_identities(store: InstanceStore, vault: Database, site_key: bytes) -> int:
    """Write the identities of every stored file to the vault; returns how many files were read.

    After the vault was lost or restored from an older backup. What it knows already is left alone.
    """
    count = 0
    for stored, path in store.settled():
        try:
            with path.open("rb") as file:
                item = read_received(file, stored, site_key)
        except OSError as error:
            logger.error("%s cannot be read: %s", stored.name, error.strerror)
            continue
        if isinstance(item, IndexedInstance):
            record_identities(vault, [item.identity], datetime.now(UTC))
            count += 1
    return count
