"""store -> nothing: ask that what a project may no longer keep is withdrawn from it."""

from __future__ import annotations

import logging
from datetime import datetime

from medr1_pacs.db.audit import SERVICE
from medr1_pacs.db.retention import find_due, list_retentions
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.withdrawals import find_study_uids, request_withdrawal
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.withdrawals import RequestedKey
from medr1_pacs.records.words import WithdrawnKind

logger = logging.getLogger(__name__)

_AT_ONCE = 200
"""Studies of one withdrawal; its certificate is read by people."""


def end_retention(database: Database, site_key: bytes, now: datetime) -> int:
    """Ask for the withdrawal of studies that are due, from the project whose time is over alone;
    returns how many. Some at a time: call it until it is 0."""
    asked = 0
    with database.read() as session:
        retentions = list_retentions(session)
    for retention in retentions:
        with database.write() as session:
            due = find_due(session, retention, now, limit=_AT_ONCE)
            if not due:
                continue
            uids = find_study_uids(session, due)
            keys = [
                RequestedKey(
                    kind=WithdrawnKind.STUDY, key=study_key(site_key, uid), study_id=study_id
                )
                for study_id, uid in sorted(uids.items())
            ]
            request_withdrawal(
                session,
                keys,
                project=retention.project,
                reason=retention.describe(),
                actor=SERVICE,
                now=now,
            )
        asked += len(due)
        logger.info("%d studies: %s", len(due), retention.describe(), extra={"action": "retain"})
    return asked
