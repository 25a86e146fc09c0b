"""The clock: once a second, the steps that are due; then a bell for every queue with work.

One sweep a site. What it does is idempotent, so a second one would waste work and harm nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.associations import close_orphans
from medr1_pacs.db.claims import CLAIM_S, expire_claims, has_expired_claims
from medr1_pacs.db.generations import fail_generations, has_due_prompts
from medr1_pacs.db.plans import ask_again_without
from medr1_pacs.db.renderings import fail_renderings, has_due_renderings
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import find_settled, record_settled
from medr1_pacs.db.tables import Generation, Rendering
from medr1_pacs.db.workers import forget_silent_workers
from medr1_pacs.errors import DatabaseUnavailable, TransientError
from medr1_pacs.projects import ProjectRules
from medr1_pacs.steps.answering import parse_generations
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import index_instances
from medr1_pacs.steps.planning import AskingPolicy, plan_study
from medr1_pacs.storage import InstanceStore
from workers.bells import BellTower
from workers.checkpoints import DEMO, CheckpointRegistry

logger = logging.getLogger(__name__)

TICK_S = 1.0
STEP_S = 2.0
"""How long one step of a tick goes on while it finds work."""
TIDY_S = 60.0
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
        self._stop = threading.Event()
        self._away: dict[str, str] = {}
        self._tidied_at = float("-inf")
        self._expire_from = float("-inf")
        self._unreadable: frozenset[str] = frozenset()

    def run(self, stop: threading.Event, watch: Callable[[Callable[[], None]], None]) -> None:
        """Tick until asked to stop; `watch` runs each tick and notices one that hangs."""
        self._stop = stop
        self._withdraw_demo_prompts()
        while not stop.is_set():
            watch(self.tick)
            stop.wait(TICK_S)

    def _withdraw_demo_prompts(self) -> None:
        if self._rules.registry.is_demo:
            return
        with self._database.write() as session:
            count = ask_again_without(session, DEMO)
        if count:
            logger.info("%d studies that waited for the demo checkpoint are asked again", count)

    def tick(self) -> None:
        """Do what is due, in the order of the flow; what is away holds up its own step alone."""
        for step in (
            self._index,
            self._complete,
            self._plan,
            self._parse,
            self._expire,
            self._settle,
            self._tidy,
            self._ring,
        ):
            try:
                step()
                if self._away.pop(step.__name__, None):
                    logger.info("the sweep goes on: %s", step.__name__.strip("_"))
            except TransientError as error:
                self._note_away(step.__name__, error)

    def _note_away(self, step: str, error: TransientError) -> None:
        if isinstance(error, DatabaseUnavailable) and step != self._index.__name__:
            # Owners that live could not renew either: they get the time to record first. Indexing
            # does not count: it may be the vault that is away.
            self._expire_from = time.monotonic() + CLAIM_S
        if self._away.get(step) != str(error):
            logger.warning("the sweep waits: %s", error, extra={"action": step.strip("_")})
        self._away[step] = str(error)

    def _index(self) -> None:
        for _ in self._turns():
            report = index_instances(
                self._store,
                self._database,
                self._vault,
                site_key=self._rules.site_key,
                rules=self._rules.projects,
            )
            self._unreadable = report.unreadable
            if not report.total:
                return

    def _complete(self) -> None:
        # While instances wait for rows, any study may have one among them.
        waiting = self._store.incoming(len(self._unreadable) + 1)
        if any(stored.name not in self._unreadable for stored in waiting):
            return
        complete_studies(
            self._database,
            quiet_s=self._rules.study_quiet_s,
            heartbeat_limit_s=ASSOCIATION_HEARTBEAT_LIMIT_S,
        )

    def _plan(self) -> None:
        for _ in self._turns():
            if not plan_study(self._database, self._rules.asking):
                return

    def _turns(self) -> Iterator[None]:
        """Repeat for a while: a long backlog must not keep the other steps waiting."""
        ends_at = time.monotonic() + STEP_S
        while not self._stop.is_set() and time.monotonic() < ends_at:
            yield

    def _parse(self) -> None:
        parse_generations(self._database)

    def _expire(self) -> None:
        if time.monotonic() < self._expire_from:
            return
        with self._database.read() as session:
            if not has_expired_claims(session):
                return
        with self._database.write() as session:
            expire_claims(session, Rendering, fail_renderings)
            expire_claims(session, Generation, fail_generations)

    def _settle(self) -> None:
        with self._database.read() as session:
            changes = find_settled(session, self._rules.registry.names)
        if changes:
            with self._database.write() as session:
                record_settled(session, changes)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied_at < TIDY_S:
            return
        now = datetime.now(UTC)
        limit = timedelta(seconds=ASSOCIATION_HEARTBEAT_LIMIT_S)
        with self._database.write() as session:
            close_orphans(session, now - 4 * limit, now)
            forget_silent_workers(session, now - timedelta(days=1))
        self._store.sweep_unfinished()
        self._tidied_at = time.monotonic()

    def _ring(self) -> None:
        with self._database.read() as session:
            draw = has_due_renderings(session)
            checkpoints = [
                name
                for name in sorted(self._rules.registry.names)
                if has_due_prompts(session, name)
            ]
        if draw:
            self._bells.ring_render()
        for name in checkpoints:
            self._bells.ring_answer(name)
