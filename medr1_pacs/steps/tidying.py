"""Remove what processes that are gone left behind."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.associations import close_orphans
from medr1_pacs.db.renderings import heal_waiting
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import forget_spent
from medr1_pacs.db.workers import forget_silent_workers
from medr1_pacs.processes import ASSOCIATION_SILENT_S
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

_ASSOCIATION_LOST = timedelta(seconds=4 * ASSOCIATION_SILENT_S)
_WORKER_FORGOTTEN = timedelta(days=1)
_SPENT_FORGOTTEN = timedelta(days=30)
_DEVICE_FORGOTTEN = timedelta(days=400)
"""As long as browsers keep a cookie."""


def tidy(database: Database, instances: InstanceStore, pictures: PictureStore) -> None:
    """Close lost associations, forget lost workers, delete files that were never finished."""
    now = datetime.now(UTC)
    with database.write() as session:
        close_orphans(session, now - _ASSOCIATION_LOST, now)
        forget_silent_workers(session, now - _WORKER_FORGOTTEN)
        forget_spent(session, now - _SPENT_FORGOTTEN, now - _DEVICE_FORGOTTEN)
        if healed := heal_waiting(session):
            logger.warning("the prompts of %d renderings waited for nothing", healed)
    instances.remove_unfinished()
    pictures.remove_unfinished()
