"""Answers as they leave the database, with everything that made them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.facets import latest_study_version, newest_truth
from medr1_pacs.db.tables import (
    Answer,
    Checkpoint,
    Generation,
    Instance,
    Prompt,
    Question,
    Rendering,
    Series,
    Study,
)
from medr1_pacs.errors import AnswerNotFound
from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import StudyState


def iterate_answers(
    session: Session,
    *,
    study_instance_uid: str | None = None,
    answer_id: int | None = None,
    newest_first: bool = False,
) -> Iterator[StoredAnswer]:
    """Yield answers in the order they were given, or the latest first; streaming."""
    statement = _wide()
    if study_instance_uid is not None:
        statement = statement.where(Study.study_instance_uid == study_instance_uid)
    if answer_id is not None:
        statement = statement.where(Answer.id == answer_id)
    order = Answer.id.desc() if newest_first else Answer.id
    rows = session.execute(statement.order_by(order).execution_options(yield_per=500))
    for row in rows:
        yield _stored(row)


def get_answer(session: Session, answer_id: int) -> StoredAnswer:
    """Return one answer.

    Raises
    ------
    AnswerNotFound
        There is none with this id.
    """
    for answer in iterate_answers(session, answer_id=answer_id):
        return answer
    raise AnswerNotFound(
        f"there is no answer {answer_id}; `medr1-pacs answers` lists those there are"
    )


def _wide() -> Any:
    return (
        select(
            Answer, Generation, Prompt, Question, Rendering, Instance, Series, Study, Checkpoint,
            latest_study_version().label("study_version"), newest_truth().label("truth"),
        )
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Question, Prompt.question_id == Question.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .join(Checkpoint, Generation.checkpoint_id == Checkpoint.id)
        .where(Study.state != StudyState.WITHDRAWN)
    )  # fmt: skip


def _stored(row: Any) -> StoredAnswer:
    answer, generation, prompt = row.Answer, row.Generation, row.Prompt
    checkpoint, rendering, question = row.Checkpoint, row.Rendering, row.Question
    return StoredAnswer(
        answer_id=answer.id,
        kind=prompt.kind,
        run=generation.run,
        is_demo=checkpoint.is_demo,
        is_current=row.study_version == row.Study.version,
        study_version=row.study_version,
        study_instance_uid=row.Study.study_instance_uid,
        series_instance_uid=row.Series.series_instance_uid,
        sop_instance_uid=row.Instance.sop_instance_uid,
        frame_number=rendering.frame_number,
        modality=row.Series.route_modality,
        coverage=prompt.coverage,
        window_center=rendering.window_center,
        window_width=rendering.window_width,
        window_source=rendering.window_source,
        png_sha256=generation.png_sha256,
        pixels_sha256=rendering.pixels_sha256,
        question_id=question.question_id,
        question_version=question.version,
        question_sha256=question.question_sha256,
        task=question.task,
        options=tuple(prompt.options),
        option_order=tuple(prompt.option_order),
        prompt_text=prompt.prompt_text,
        chat_text=generation.chat_text,
        requested_checkpoint=prompt.requested_checkpoint,
        checkpoint=checkpoint.name,
        checkpoint_revision=checkpoint.revision,
        checkpoint_sha256=checkpoint.sha256,
        engine=generation.engine,
        versions=generation.versions,
        dtype=generation.dtype,
        attention=generation.attention,
        decoding=Decoding.from_json(prompt.decoding),
        raw_output=generation.raw_output,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        reasoning=answer.reasoning,
        choice=answer.choice,
        choice_text=answer.choice_text,
        parse_status=answer.parse_status,
        truth=row.truth,
        is_correct=None if row.truth is None else answer.choice_text == row.truth,
        seconds=generation.seconds,
        answered_at=answer.answered_at,
    )
