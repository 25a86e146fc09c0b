"""complete: find the studies that nothing is sent to any more."""

from __future__ import annotations

from datetime import UTC, datetime

from medr1_pacs.completion import find_complete_studies
from medr1_pacs.db.associations import list_open_associations
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import list_receiving, mark_complete
from medr1_pacs.processes import ASSOCIATION_SILENT_S


def complete_studies(database: Database, *, quiet_s: float) -> int:
    """Mark what is complete; returns how many studies that were.

    Call it only while the backlog is empty: an instance without a row may belong to any study.
    """
    with database.read() as session:
        receiving = list_receiving(session)
        if not receiving:
            return 0
        associations = list_open_associations(session)
    now = datetime.now(UTC)
    complete = find_complete_studies(
        receiving, associations, now=now, quiet_s=quiet_s, heartbeat_limit_s=ASSOCIATION_SILENT_S
    )
    for study_id in complete:
        with database.write() as session:
            mark_complete(session, study_id, now)
    return len(complete)
