"""Plans: the selections, renderings, prompts and generations of a study version."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.studies import set_state
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.records import (
    GenerationState,
    PlannedPrompt,
    PlannedQuestion,
    PromptKind,
    QuestionIdentity,
    RenderingState,
    Route,
    StudyFacts,
    StudyPlan,
    StudyState,
)


def record_plan(session: Session, study: StudyFacts, plan: StudyPlan, now: datetime) -> None:
    """Write a plan; what an earlier version already asked is selected again, not asked again."""
    version = session.get_one(StudyVersion, study.study_version_id, with_for_update=True)
    row = session.get_one(Study, study.study_id, with_for_update=True)
    if version.planned_at is not None or row.version != study.version:
        return  # planned by somebody else, or reopened meanwhile
    for series_id, route in plan.routes.items():
        _record_route(session, series_id, route)
    for planned in plan.questions:
        _record_question(session, study, planned, now)
    version.planned_at = now
    asks = any(planned.prompts for planned in plan.questions)
    state = StudyState.ASKED if asks else StudyState.NOTHING_TO_ASK
    set_state(session, row, state, plan.reason)


def ask_again_without(session: Session, checkpoint: str) -> int:
    """Withdraw prompts that wait for a checkpoint which stands in no longer; plan their studies
    again, as a new version. What was answered stays. Returns how many studies that were."""
    waiting = session.execute(
        select(Generation.id, Prompt.id, Series.study_id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Generation.state == GenerationState.WAITING, Prompt.checkpoint == checkpoint)
    ).all()
    session.execute(delete(Generation).where(Generation.id.in_([row[0] for row in waiting])))
    session.execute(delete(Prompt).where(Prompt.id.in_([row[1] for row in waiting])))
    again = [session.get_one(Study, study_id) for study_id in sorted({row[2] for row in waiting})]
    for study in again:
        add_event(
            session,
            "study.prompts_withdrawn",
            "study",
            study.id,
            new={"checkpoint": checkpoint},
            reason=f"the checkpoint {checkpoint} stands in no longer",
        )
        if study.state is StudyState.ASKED:
            study.version += 1
            set_state(session, study, StudyState.RECEIVING, "asked again with other checkpoints")
    return len(again)


def _record_route(session: Session, series_id: int, route: Route) -> None:
    series = session.get_one(Series, series_id)
    series.route_modality = route.modality
    series.route_reason = route.reason
    series.anatomy, series.plane = route.anatomy, route.plane
    series.weighting, series.stain = route.weighting, route.stain


def _record_question(
    session: Session, study: StudyFacts, planned: PlannedQuestion, now: datetime
) -> None:
    question = _question_row(session, planned.question, now)
    chosen: set[int] = set()
    for prompt in planned.prompts:
        rendering = _rendering_row(session, prompt, now)
        if rendering.id not in chosen:
            chosen.add(rendering.id)
            session.add(
                Selection(
                    study_version_id=study.study_version_id,
                    question_id=question.id,
                    series_id=planned.series_id,
                    rendering_id=rendering.id,
                    reason=planned.reason,
                    skipped=dict(planned.skipped),
                )
            )
        _record_prompt(session, prompt, rendering, question, now)
        _record_truth(session, prompt, question, now)
    if not chosen:
        session.add(
            Selection(
                study_version_id=study.study_version_id,
                question_id=question.id,
                series_id=planned.series_id,
                reason=planned.reason,
                skipped=dict(planned.skipped) or None,
            )
        )


def _question_row(session: Session, question: QuestionIdentity, now: datetime) -> Question:
    row = session.scalar(
        select(Question).where(
            Question.question_id == question.question_id,
            Question.version == question.version,
            Question.question_sha256 == question.question_sha256,
        )
    )
    if row is None:
        row = Question(
            question_id=question.question_id,
            version=question.version,
            question_sha256=question.question_sha256,
            modality=question.modality,
            task=question.task,
            role=question.role,
            definition=question.definition,
            first_used_at=now,
        )
        session.add(row)
        session.flush()
        add_event(
            session,
            "question.registered",
            "question",
            row.id,
            new={"question_id": question.question_id, "sha256": question.question_sha256},
        )
    return row


def _rendering_row(session: Session, prompt: PlannedPrompt, now: datetime) -> Rendering:
    row = session.scalar(
        select(Rendering).where(
            Rendering.instance_id == prompt.instance_id,
            Rendering.frame_number == prompt.frame_number,
            Rendering.recipe == prompt.recipe,
        )
    )
    if row is None:
        row = Rendering(
            instance_id=prompt.instance_id,
            frame_number=prompt.frame_number,
            recipe=prompt.recipe,
            window_request=prompt.window_request,
            state=RenderingState.PLANNED,
            due_at=now,
            created_at=now,
        )
        session.add(row)
        session.flush()
    return row


def _record_prompt(
    session: Session,
    planned: PlannedPrompt,
    rendering: Rendering,
    question: Question,
    now: datetime,
) -> None:
    decoding_sha256 = _sha256_of(planned.decoding)
    known = session.scalar(
        select(Prompt.id).where(
            Prompt.kind == PromptKind.PROTOCOL,
            Prompt.rendering_id == rendering.id,
            Prompt.question_id == question.id,
            Prompt.checkpoint == planned.checkpoint,
            Prompt.prompt_sha256 == planned.prompt_sha256,
            Prompt.decoding_sha256 == decoding_sha256,
        )
    )
    if known is not None:
        return
    prompt = Prompt(
        kind=PromptKind.PROTOCOL,
        rendering_id=rendering.id,
        question_id=question.id,
        requested_checkpoint=planned.requested_checkpoint,
        checkpoint=planned.checkpoint,
        coverage=planned.coverage,
        options=list(planned.options),
        option_order=list(planned.option_order),
        prompt_text=planned.prompt_text,
        prompt_sha256=planned.prompt_sha256,
        decoding=planned.decoding,
        decoding_sha256=decoding_sha256,
        created_at=now,
    )
    session.add(prompt)
    session.flush()
    is_unusable = rendering.state is RenderingState.FAILED
    session.add(
        Generation(
            prompt_id=prompt.id,
            run=1,
            state=GenerationState.FAILED if is_unusable else GenerationState.WAITING,
            error=rendering.error if is_unusable else None,
            due_at=now,
            created_at=now,
        )
    )
    session.flush()
    add_event(session, "prompt.created", "prompt", prompt.id, new={"sha256": planned.prompt_sha256})


def _record_truth(
    session: Session, planned: PlannedPrompt, question: Question, now: datetime
) -> None:
    if planned.truth is None or planned.truth_source is None:
        return
    known = session.scalar(
        select(ReferenceStandard.id).where(
            ReferenceStandard.instance_id == planned.instance_id,
            ReferenceStandard.question_id == question.id,
            ReferenceStandard.source == planned.truth_source,
        )
    )
    if known is None:
        session.add(
            ReferenceStandard(
                instance_id=planned.instance_id,
                question_id=question.id,
                truth=planned.truth,
                source=planned.truth_source,
                stated_by=planned.truth_source,
                version=1,
                stated_at=now,
            )
        )
        session.flush()


def _sha256_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
