"""complete: find the studies that nothing is sent to any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from medr1_pacs.completion import find_complete_studies
from medr1_pacs.db.associations import list_open_associations
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.set_aside import find_studies_of
from medr1_pacs.db.studies import list_receiving, mark_complete
from medr1_pacs.processes import ASSOCIATION_SILENT_S
from medr1_pacs.records.received import SetAsideFile


def complete_studies(
    database: Database,
    *,
    quiet_s: float,
    oldest_waiting_at: datetime | None = None,
    set_aside: Iterable[SetAsideFile] = (),
) -> int:
    """Mark what is complete; returns how many studies that were.

    `oldest_waiting_at`: when the oldest instance of the backlog arrived that is not set aside.
    """
    with database.read() as session:
        receiving = list_receiving(session)
        if not receiving:
            return 0
        associations = list_open_associations(session)
        missing = find_studies_of(session, set_aside)
    now = datetime.now(UTC)
    complete = find_complete_studies(
        receiving,
        associations,
        now=now,
        quiet_s=quiet_s,
        heartbeat_limit_s=ASSOCIATION_SILENT_S,
        oldest_waiting_at=oldest_waiting_at,
        set_aside=missing.keys(),
    )
    for study_id in complete:
        names = missing.get(study_id, [])
        note = f"without {len(names)} set aside: {', '.join(names)}" if names else ""
        with database.write() as session:
            mark_complete(session, study_id, now, missing=note)
    return len(complete)
