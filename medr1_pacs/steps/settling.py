"""answer -> state: studies whose last answer came in, or that wait for something else than said."""

from __future__ import annotations

from collections.abc import Collection

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import find_settled, record_settled


def settle_studies(database: Database, configured_checkpoints: Collection[str]) -> int:
    """Write the state of every asked study that changed; returns how many that were."""
    with database.read() as session:
        changes = find_settled(session, configured_checkpoints)
    if changes:
        with database.write() as session:
            record_settled(session, changes)
    return len(changes)
