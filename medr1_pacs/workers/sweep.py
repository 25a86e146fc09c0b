"""The clock: once a second, the steps that are due; then a bell for every queue with work.

One sweep a site. What it does is idempotent, so a second one would waste work and harm nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.associations import close_orphans
from medr1_pacs.db.claims import expire_claims
from medr1_pacs.db.generations import count_due_by_checkpoint, fail_generations
from medr1_pacs.db.renderings import count_due_renderings, fail_renderings
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import refresh_asked
from medr1_pacs.db.tables import Generation, Rendering
from medr1_pacs.errors import TransientError
from medr1_pacs.projects import ProjectRules
from medr1_pacs.steps.answering import parse_generations
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import index_instances
from medr1_pacs.steps.planning import AskingPolicy, plan_study
from medr1_pacs.storage import InstanceStore
from medr1_pacs.workers.bells import BellTower
from medr1_pacs.workers.checkpoints import CheckpointRegistry

logger = logging.getLogger(__name__)

TICK_S = 1.0
_HOUSEKEEPING_S = 10.0
_WAIT_MAX_S = 10.0
ASSOCIATION_HEARTBEAT_LIMIT_S = 15.0
"""An association whose heartbeat stopped for so long is dead: it holds no study open."""


@dataclass(frozen=True, slots=True)
class SweepRules:
    """What the sweep decides by."""

    asking: AskingPolicy
    projects: ProjectRules
    registry: CheckpointRegistry
    site_key: bytes
    study_quiet_s: float


class Sweep:
    """Everything that happens because time passes."""

    def __init__(
        self,
        database: Database,
        vault: Database,
        store: InstanceStore,
        bells: BellTower,
        rules: SweepRules,
    ) -> None:
        self._database = database
        self._vault = vault
        self._store = store
        self._bells = bells
        self._rules = rules
        self._housekept_at = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Tick until asked to stop; a resource that is away is waited for, longer each time."""
        wait_s = TICK_S
        while not stop.is_set():
            try:
                self.tick()
                wait_s = TICK_S
            except TransientError as error:
                wait_s = min(wait_s * 2, _WAIT_MAX_S)
                logger.warning("the sweep waits: %s", error, extra={"action": "sweep"})
            stop.wait(wait_s)

    def tick(self) -> None:
        """Do what is due, in the order of the flow."""
        self._index()
        # While instances wait for rows, any study may have one among them.
        if not self._store.incoming(1):
            complete_studies(
                self._database,
                quiet_s=self._rules.study_quiet_s,
                heartbeat_limit_s=ASSOCIATION_HEARTBEAT_LIMIT_S,
            )
        while plan_study(self._database, self._rules.asking):
            pass
        parse_generations(self._database)
        self._settle()
        self._ring()

    def _index(self) -> None:
        while index_instances(
            self._store,
            self._database,
            self._vault,
            site_key=self._rules.site_key,
            rules=self._rules.projects,
        ).total:
            pass

    def _settle(self) -> None:
        with self._database.write() as session:
            expire_claims(session, Rendering, fail_renderings)
            expire_claims(session, Generation, fail_generations)
            refresh_asked(session, self._rules.registry.names)
            if time.monotonic() - self._housekept_at > _HOUSEKEEPING_S:
                self._housekept_at = time.monotonic()
                now = datetime.now(UTC)
                limit = timedelta(seconds=ASSOCIATION_HEARTBEAT_LIMIT_S)
                close_orphans(session, now - 4 * limit, now)
                self._store.sweep_unfinished()

    def _ring(self) -> None:
        with self._database.read() as session:
            due_renderings = count_due_renderings(session)
            due_prompts = count_due_by_checkpoint(session)
        if due_renderings:
            self._bells.ring_render()
        for checkpoint in due_prompts:
            if checkpoint in self._rules.registry.names:
                self._bells.ring_answer(checkpoint)
