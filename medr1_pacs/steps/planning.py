"""route -> select -> prompts: read one complete study, decide what is asked, write the plan."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from medr1_pacs.asking import Questionnaire, build_plan
from medr1_pacs.db.generations import has_waiting_prompts
from medr1_pacs.db.plans import find_due_plan, record_plan, withdraw_prompts
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import fail_study
from medr1_pacs.errors import RowExists, TransientError
from medr1_pacs.records.planned import StudyFacts, StudyPlan

logger = logging.getLogger(__name__)

_STUDIES_AT_ONCE = 50


def plan_study(database: Database, questionnaire: Questionnaire) -> bool:
    """Plan the oldest complete study without a plan; False when there is none."""
    with database.read() as session:
        study = find_due_plan(session)
    if study is None:
        return False
    try:
        plan = build_plan(study, questionnaire)
    except Exception as error:  # noqa: BLE001 - one study must not hold up the others
        _fail(database, study, f"it cannot be planned: {error!r}")
        return True
    try:
        _record(database, study, plan)
    except RowExists as error:  # twice is no other process
        _fail(database, study, f"its plan cannot be recorded: {error}")
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 - nor one whose plan cannot be recorded
        _fail(database, study, f"its plan cannot be recorded: {type(error).__name__}")
    return True


def _record(database: Database, study: StudyFacts, plan: StudyPlan) -> None:
    for is_last in (False, True):
        try:
            with database.write() as session:
                record_plan(session, study, plan, datetime.now(UTC))
            return
        except RowExists:
            if is_last:
                raise


def _fail(database: Database, study: StudyFacts, reason: str) -> None:
    logger.exception("a study cannot be planned", extra={"study_id": study.study_id})
    with database.write() as session:
        fail_study(session, study.study_id, study.version, reason)


def withdraw_waiting_prompts(database: Database, checkpoint: str) -> int:
    """Withdraw the prompts that wait for a checkpoint which stands in no longer.

    Their studies are planned again, as a new version; what was answered stays. Returns how many
    studies that were: some at a time, so call it until none is left.
    """
    with database.read() as session:
        if not has_waiting_prompts(session, checkpoint):
            return 0
    with database.write() as session:
        return withdraw_prompts(session, checkpoint, studies_max=_STUDIES_AT_ONCE)
