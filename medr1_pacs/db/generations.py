"""Generations: claimed by an answer worker, stored once, then parsed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.claims import WorkQueue, database_now
from medr1_pacs.db.facets import add_facets, lock_studies
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.tables import Answer, Checkpoint, Generation, Instance, Prompt, Rendering, Series
from medr1_pacs.records.answers import ParsedAnswer, UnparsedGeneration
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import GenerationState
from medr1_pacs.records.work import Claim, EngineIdentity, ModelOutput, PromptWork


def fail_generations(session: Session, generation_ids: Sequence[int]) -> None:
    """Let generations rest as failed, with the error they carry, where a person sees them."""
    for row in session.scalars(select(Generation).where(Generation.id.in_(generation_ids))):
        row.state = GenerationState.FAILED
        add_event(
            session,
            "generation.failed",
            "generation",
            row.id,
            old={"state": GenerationState.WAITING},
            new={"state": GenerationState.FAILED},
            reason=row.error,
        )


GENERATIONS = WorkQueue(Generation, GenerationState.WAITING, fail_generations)


def claim_generations(
    session: Session, checkpoint: str, *, owner: str, limit: int
) -> tuple[Claim, list[PromptWork]] | None:
    """Claim prompts of one checkpoint whose pictures are drawn; None when there are none."""
    claim = GENERATIONS.claim(session, *_can_be_answered(checkpoint), owner=owner, limit=limit)
    if claim is None:
        return None
    rows = session.execute(
        select(Generation.id, Prompt.prompt_text, Prompt.decoding, Rendering.png_sha256)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .where(Generation.id.in_(claim.row_ids))
        .order_by(Generation.id)
    )
    work = [
        PromptWork(row.id, row.prompt_text, row.png_sha256, Decoding.from_json(row.decoding))
        for row in rows
    ]
    return claim, work


def record_generated(
    session: Session,
    claim: Claim,
    item: PromptWork,
    output: ModelOutput,
    identity: EngineIdentity,
) -> bool:
    """Store the evidence of one run under a live claim; False when the claim was lost.

    The first result of a run stays; nothing here can overwrite it.
    """
    is_recorded = GENERATIONS.finish(
        session,
        claim,
        item.generation_id,
        state=GenerationState.GENERATED,
        png_sha256=item.png_sha256,
        checkpoint_id=_checkpoint_id(session, identity),
        engine=identity.engine,
        versions=identity.versions,
        dtype=identity.dtype,
        attention=identity.attention,
        chat_text=output.chat_text,
        raw_output=output.raw_output,
        finish_reason=output.finish_reason,
        prompt_tokens=output.prompt_tokens,
        completion_tokens=output.completion_tokens,
        seconds=output.seconds,
        generated_at=database_now(session),
    )
    if is_recorded:
        add_event(
            session,
            "generation.generated",
            "generation",
            item.generation_id,
            old={"state": GenerationState.WAITING},
            new={"state": GenerationState.GENERATED, "checkpoint": identity.checkpoint},
        )
    return is_recorded


def list_unparsed(session: Session, limit: int) -> list[UnparsedGeneration]:
    """Return what has no answer yet, the first first."""
    rows = session.execute(
        select(
            Generation.id,
            Series.study_id,
            Generation.raw_output,
            Generation.finish_reason,
            Prompt.options,
        )
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Generation.state == GenerationState.GENERATED)
        .order_by(Generation.id)
        .limit(limit)
    )
    return [
        UnparsedGeneration(
            generation_id=row.id,
            study_id=row.study_id,
            raw_output=row.raw_output or "",
            finish_reason=row.finish_reason or "",
            options=tuple(row.options),
        )
        for row in rows
    ]


def record_answers(
    session: Session, parsed: Sequence[tuple[UnparsedGeneration, ParsedAnswer]]
) -> None:
    """Store the parses of generations; the first of each stays.

    Research finds them by what is written here, in one transaction with them.
    """
    lock_studies(session, {generation.study_id for generation, _ in parsed})
    # What was withdrawn since it was read is not brought back by its parse.
    ids = [generation.generation_id for generation, _ in parsed]
    due = set(
        session.scalars(
            select(Generation.id).where(
                Generation.id.in_(ids), Generation.state != GenerationState.WITHDRAWN
            )
        )
    )
    recorded = [
        _record_answer(session, generation.generation_id, answer, generation.options)
        for generation, answer in parsed
        if generation.generation_id in due
    ]
    answer_ids = [answer_id for answer_id in recorded if answer_id is not None]
    tell_records(session, "answer.parsed", "answer", answer_ids)
    add_facets(session, answer_ids)


def _record_answer(
    session: Session, generation_id: int, parsed: ParsedAnswer, options: Sequence[str]
) -> int | None:
    choice_text = options[ord(parsed.choice) - ord("A")] if parsed.choice else None
    answer_id: int | None = session.scalar(
        insert_into(session, Answer)
        .values(
            generation_id=generation_id,
            parse_status=parsed.status,
            reasoning=parsed.reasoning,
            choice=parsed.choice,
            choice_text=choice_text,
            answered_at=database_now(session),
            record_salt=new_salt(),
        )
        .on_conflict_do_nothing()
        .returning(Answer.id)
    )
    session.execute(
        update(Generation)
        .where(Generation.id == generation_id, Generation.state == GenerationState.GENERATED)
        .values(state=GenerationState.ANSWERED)
    )
    return answer_id


def has_due_prompts(session: Session, checkpoint: str) -> bool:
    """Whether a worker could answer something with a checkpoint now."""
    due = GENERATIONS.due(database_now(session))
    return bool(session.scalar(select(exists().where(*due, *_can_be_answered(checkpoint)))))


def has_waiting_prompts(session: Session, checkpoint: str) -> bool:
    """Whether anything waits for a checkpoint, claimed or not."""
    waiting = (Generation.state == GenerationState.WAITING, Generation.waits_for == checkpoint)
    return bool(session.scalar(select(exists().where(*waiting))))


def set_ready(session: Session, rendering_id: int, is_ready: bool) -> None:
    """Note that the picture of prompts that wait is drawn, or lost."""
    prompts = select(Prompt.id).where(Prompt.rendering_id == rendering_id)
    session.execute(
        update(Generation)
        .where(Generation.prompt_id.in_(prompts), Generation.state == GenerationState.WAITING)
        .values(is_ready=is_ready)
    )


def _can_be_answered(checkpoint: str) -> tuple[ColumnElement[bool], ...]:
    return (Generation.waits_for == checkpoint, Generation.is_ready.is_(True))


def _checkpoint_id(session: Session, identity: EngineIdentity) -> int:
    find = select(Checkpoint.id).where(
        Checkpoint.name == identity.checkpoint, Checkpoint.sha256 == identity.checkpoint_sha256
    )
    if (checkpoint_id := session.scalar(find)) is not None:
        return checkpoint_id
    # Two workers may use a checkpoint for the first time at the same moment.
    added = session.scalar(
        insert_into(session, Checkpoint)
        .values(
            name=identity.checkpoint,
            revision=identity.checkpoint_revision,
            sha256=identity.checkpoint_sha256,
            is_demo=identity.is_demo,
            first_used_at=database_now(session),
            record_salt=new_salt(),
        )
        .on_conflict_do_nothing()
        .returning(Checkpoint.id)
    )
    if added is not None:
        tell_records(session, "checkpoint.registered", "checkpoint", [added])
    return session.scalars(find).one()
