"""The clock: once a second, the steps that are due; then a bell for every queue with work.

One sweep a site: a second one on the same database waits until the first has lost its lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from medr1_pacs.asking import Questionnaire
from medr1_pacs.checkpoints import DEMO
from medr1_pacs.db.claims import CLAIM_S
from medr1_pacs.errors import DatabaseUnavailable, TransientError
from medr1_pacs.processes import StopSignal
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.steps.answering import parse_generations
from medr1_pacs.steps.carrying_out_exports import remove_expired
from medr1_pacs.steps.claiming import expire_claims
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.naming import declare, name_for_research
from medr1_pacs.steps.planning import plan_study, withdraw_waiting_prompts
from medr1_pacs.steps.reading_protocols import state_panels
from medr1_pacs.steps.retaining import end_retention
from medr1_pacs.steps.ringing import find_due_work
from medr1_pacs.steps.sealing import NoSealer, Sealer
from medr1_pacs.steps.setting_aside import tell_set_aside
from medr1_pacs.steps.settling import settle_studies
from medr1_pacs.steps.tidying import tidy
from medr1_pacs.steps.withdrawing import Withdrawer
from medr1_pacs.storage.pictures import PictureStore
from workers.bells import BellTower
from workers.export_runner import ExportRunner

logger = logging.getLogger(__name__)

TICK_S = 1.0
STEP_S = 2.0
"""How long one step of a tick goes on while it finds work."""
SEAL_S = 0.5
"""How often what happened is given its place in the audit log."""
TIDY_S = 60.0
RETENTION_S = 60.0
"""How often it is looked for what a project may no longer keep."""
PANELS_S = 10.0
"""How often it is looked for panels that are done and have not said what is true."""


_CLOCK_STEP_S = 3.0
"""What the clock may run ahead of the monotonic one between two ticks; more is a jump."""


def _clock_gap_s() -> float:
    return time.time() - time.monotonic()


class Sweep:
    """Everything that happens because time passes."""

    def __init__(
        self,
        indexer: Indexer,
        pictures: PictureStore,
        withdrawer: Withdrawer,
        sealer: Sealer | NoSealer,
        bells: BellTower,
        questionnaire: Questionnaire,
        checkpoints: frozenset[str],
        exports: ExportRunner,
        *,
        study_quiet_s: float,
    ) -> None:
        self._indexer = indexer
        self._database = indexer.database
        self._pictures = pictures
        self._withdrawer = withdrawer
        self._sealer = sealer
        self._bells = bells
        self._questionnaire = questionnaire
        self._checkpoints = checkpoints
        self._exports = exports
        self._study_quiet_s = study_quiet_s
        self._stop = StopSignal()
        self._away: dict[str, str] = {}
        self._tidied_at = float("-inf")
        self._expire_from = time.monotonic() + CLAIM_S
        self._clock_gap_s = _clock_gap_s()
        self._has_lease: Callable[[], bool] = lambda: True
        self._settle_from = float("-inf")
        self._told_set_aside: dict[str, SetAsideFile] | None = None
        self._has_more = False
        self._are_projects_declared = False
        self._is_list_applied = False
        self._seal_from = float("-inf")
        self._retention_from = float("-inf")
        self._panels_from = float("-inf")

    def run(
        self,
        stop: StopSignal,
        watch: Callable[[Callable[[], None]], None],
        has_lease: Callable[[], bool],
    ) -> None:
        """Tick until asked to stop, while nobody else does.

        `watch` runs each tick and notices one that hangs; `has_lease` may raise a TransientError.
        """
        self._stop = stop
        self._has_lease = has_lease
        while not stop.is_set():
            self._has_more = False
            if self._may_go_on():
                watch(self.tick)
            if not self._has_more:
                stop.wait(TICK_S)

    def _may_go_on(self) -> bool:
        try:
            is_ours = self._has_lease()
        except TransientError as error:
            self._note_away("_lease", error)
            return False
        self._away.pop("_lease", None)
        return is_ours

    def tick(self) -> None:
        """Do what is due, in the order of the flow; what fails holds up its own step alone."""
        self._note_clock()
        for step in (
            self._withdraw_prompts,
            self._declare,
            self._end_retention,
            self._withdraw_studies,
            self._index,
            self._tell_set_aside,
            self._complete,
            self._plan,
            self._name,
            self._parse,
            self._expire,
            self._settle,
            self._state_panels,
            self._tidy,
            self._export,
            self._ring,
        ):
            if not self._may_go_on():
                return
            self._do(step)
            if time.monotonic() >= self._seal_from:
                self._do(self._seal)

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
            if self._away.pop(step.__name__, None):
                logger.info("the sweep goes on: %s", step.__name__.strip("_"))
        except TransientError as error:
            self._note_away(step.__name__, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours; the others go on
            self._note_defect(step.__name__, error)

    def _note_clock(self) -> None:
        """Expire nothing soon after a suspend or a clock that was set: owners renew first."""
        gap_s = _clock_gap_s()
        if abs(gap_s - self._clock_gap_s) > _CLOCK_STEP_S:
            self._expire_from = time.monotonic() + CLAIM_S
        self._clock_gap_s = gap_s

    def _note_defect(self, step: str, error: Exception) -> None:
        if self._away.get(step) != repr(error):
            logger.error(
                "the sweep cannot %s: %s",
                step.strip("_"),
                type(error).__name__,
                exc_info=error,
                extra={"action": step.strip("_")},
            )
        self._away[step] = repr(error)

    def _note_away(self, step: str, error: TransientError) -> None:
        if isinstance(error, DatabaseUnavailable) and step != self._index.__name__:
            # Owners that live could not renew either: they get the time to record first. Indexing
            # does not count: it may be the vault that is away.
            self._expire_from = time.monotonic() + CLAIM_S
        if self._away.get(step) != str(error):
            logger.warning("the sweep waits: %s", error, extra={"action": step.strip("_")})
        self._away[step] = str(error)

    def _turns(self) -> Iterator[None]:
        """Repeat for a while: a long backlog must not keep the other steps waiting."""
        ends_at = time.monotonic() + STEP_S
        while not self._stop.is_set() and time.monotonic() < ends_at:
            yield
        self._has_more = True  # the next tick need not wait

    def _withdraw_prompts(self) -> None:
        if self._questionnaire.is_demo:
            return
        for _ in self._turns():
            if not (count := withdraw_waiting_prompts(self._database, DEMO)):
                return
            logger.info("%d studies that waited for the demo checkpoint are asked again", count)

    def _declare(self) -> None:
        """Let the rows of projects say what the site declares, once a start."""
        if not self._are_projects_declared:
            declare(self._database, self._indexer.rules)
            self._are_projects_declared = True

    def _end_retention(self) -> None:
        """Ask that what a project may no longer keep goes, some of it, once a minute."""
        if not self._are_projects_declared or time.monotonic() < self._retention_from:
            return
        if not end_retention(self._database, self._indexer.site_key, datetime.now(UTC)):
            self._retention_from = time.monotonic() + RETENTION_S

    def _withdraw_studies(self) -> None:
        """Carry out withdrawals; before the first, what the list outside has of them.

        A backup that was restored brings nothing back: until the list was applied, nothing comes
        in.
        """
        if not self._is_list_applied:
            self._withdrawer.apply_list()
            self._is_list_applied = True
        if self._withdrawer.carry_out():
            self._indexer.look_again()

    def _index(self) -> None:
        if not self._is_list_applied:
            return
        for _ in self._turns():
            if not self._indexer.index().total:
                return

    def _tell_set_aside(self) -> None:
        """Write to the database which files are set aside, when it does not know."""
        set_aside = dict(self._indexer.set_aside)
        if set_aside != self._told_set_aside:
            tell_set_aside(self._database, self._indexer.store, set_aside.values())
            self._told_set_aside = set_aside

    def _complete(self) -> None:
        set_aside = self._indexer.set_aside
        waiting = self._indexer.store.incoming(1, but_not=set_aside)
        complete_studies(
            self._database,
            quiet_s=self._study_quiet_s,
            oldest_waiting_at=waiting[0].received_at if waiting else None,
            set_aside=set_aside.values(),
        )

    def _plan(self) -> None:
        for _ in self._turns():
            if not plan_study(self._database, self._questionnaire):
                return

    def _name(self) -> None:
        for _ in self._turns():
            if not name_for_research(self._database, self._indexer.site_key):
                return

    def _parse(self) -> None:
        parse_generations(self._database)

    def _expire(self) -> None:
        if time.monotonic() >= self._expire_from:
            expire_claims(self._database)

    def _settle(self) -> None:
        # It looks at every study that is asked: with very many, it keeps to a tenth of the time.
        began_at = time.monotonic()
        if began_at >= self._settle_from:
            settle_studies(self._database, self._checkpoints)
            self._settle_from = time.monotonic() + 10 * (time.monotonic() - began_at)

    def _state_panels(self) -> None:
        """Let reference panels say what is true whose last read was locked, and nothing after it.

        Whoever locks it has them say so at once, unless the process ends in between.
        """
        if time.monotonic() >= self._panels_from:
            self._panels_from = time.monotonic() + PANELS_S
            if stated := state_panels(self._database):
                logger.info("reference panels said what is true of %d cases", stated)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied_at >= TIDY_S:
            tidy(self._database, self._indexer.store, self._pictures)
            remove_expired(self._database, datetime.now(UTC))
            self._told_set_aside = None  # what nobody received may have come and gone
            self._tidied_at = time.monotonic()

    def _seal(self) -> None:
        """Give what happened its place in the audit log, and sign it when it is time.

        Between the other steps, of which each may take its while.
        """
        self._seal_from = time.monotonic() + SEAL_S
        for _ in self._turns():
            if not self._sealer.seal().has_more:
                return

    def _export(self) -> None:
        """Have exports carried out that people asked for; this waits for none of them.

        Not before the list was applied: they would have what was withdrawn.
        """
        if self._is_list_applied:
            self._exports.tend()

    def _ring(self) -> None:
        due = find_due_work(self._database, self._checkpoints)
        if due.renderings:
            self._bells.ring_render()
        for checkpoint in due.checkpoints:
            self._bells.ring_answer(checkpoint)
