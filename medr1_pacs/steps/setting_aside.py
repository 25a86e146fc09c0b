"""Tell people which files of the backlog cannot be recorded at the moment, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.set_aside import replace_set_aside
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.storage.instances import InstanceStore


def tell_set_aside(
    database: Database, store: InstanceStore, set_aside: Iterable[SetAsideFile]
) -> None:
    """Write what is set aside, and what lies in the backlog's folder and nobody received."""
    now = datetime.now(UTC)
    foreign = [
        SetAsideFile(
            name=f"inode {inode}",
            reason="nobody received it; ingest it from elsewhere, and remove it here",
            study_instance_uid=None,
            association_token=None,
            set_aside_at=now,
        )
        for inode in store.list_foreign()
    ]
    with database.write() as session:
        replace_set_aside(session, [*set_aside, *foreign])
