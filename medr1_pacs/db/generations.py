"""Generations: claimed by an answer worker, stored once, then parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medr1_pacs.db import claims
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.tables import Answer, Checkpoint, Generation, Prompt, Rendering
from medr1_pacs.records import (
    Claim,
    EngineIdentity,
    Generated,
    GenerationState,
    ParsedAnswer,
    PromptWork,
    RenderingState,
)


def claim_generations(
    session: Session, checkpoint: str, *, owner: str, limit: int
) -> tuple[Claim, list[PromptWork]] | None:
    """Claim prompts of one checkpoint whose pictures are drawn; None when there are none."""
    claim = claims.claim_rows(
        session, Generation, _waiting_for(checkpoint), owner=owner, limit=limit
    )
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
        PromptWork(
            generation_id=row.id,
            prompt_text=row.prompt_text,
            png_sha256=row.png_sha256,
            think=row.decoding["think"],
            max_new_tokens=row.decoding["max_new_tokens"],
        )
        for row in rows
    ]
    return claim, work


def record_generated(
    session: Session, claim: Claim, generated: Generated, identity: EngineIdentity
) -> bool:
    """Store the evidence of one run under a live claim; False when the claim was lost.

    The first result of a run stays; nothing here can overwrite it.
    """
    checkpoint_id = _checkpoint_id(session, identity)
    now = claims.database_now(session)
    result: Any = session.execute(
        update(Generation)
        .where(
            Generation.id == generated.generation_id,
            Generation.claim_token == claim.token,
            Generation.state == GenerationState.WAITING,
        )
        .values(
            state=GenerationState.GENERATED,
            checkpoint_id=checkpoint_id,
            engine=identity.engine,
            versions=identity.versions,
            dtype=identity.dtype,
            attention=identity.attention,
            chat_text=generated.chat_text,
            raw_output=generated.raw_output,
            finish_reason=generated.finish_reason,
            prompt_tokens=generated.prompt_tokens,
            completion_tokens=generated.completion_tokens,
            seconds=generated.seconds,
            generated_at=now,
            error=None,
            claimed_by=None,
            claim_token=None,
            claimed_until=None,
        )
    )
    if not result.rowcount:
        return False
    add_event(
        session,
        "generation.generated",
        "generation",
        generated.generation_id,
        old={"state": GenerationState.WAITING},
        new={"state": GenerationState.GENERATED, "checkpoint": identity.checkpoint},
    )
    return True


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


def list_unparsed(session: Session, limit: int) -> list[tuple[int, str, str, list[str]]]:
    """Return (generation id, raw output, finish reason, options) of what has no answer yet."""
    rows = session.execute(
        select(Generation.id, Generation.raw_output, Generation.finish_reason, Prompt.options)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Generation.state == GenerationState.GENERATED)
        .order_by(Generation.id)
        .limit(limit)
    )
    return [(row.id, row.raw_output or "", row.finish_reason or "", row.options) for row in rows]


def record_answer(
    session: Session, generation_id: int, parsed: ParsedAnswer, options: Sequence[str]
) -> None:
    """Store the parse of a generation; the first stays."""
    choice_text = options[ord(parsed.choice) - ord("A")] if parsed.choice else None
    answer_id = session.scalar(
        _insert(session)(Answer)
        .values(
            generation_id=generation_id,
            parse_status=parsed.status,
            reasoning=parsed.reasoning,
            choice=parsed.choice,
            choice_text=choice_text,
            answered_at=claims.database_now(session),
        )
        .on_conflict_do_nothing()
        .returning(Answer.id)
    )
    session.execute(
        update(Generation)
        .where(Generation.id == generation_id, Generation.state == GenerationState.GENERATED)
        .values(state=GenerationState.ANSWERED)
    )
    if answer_id is not None:
        add_event(
            session,
            "answer.parsed",
            "answer",
            answer_id,
            new={"parse_status": parsed.status, "choice": parsed.choice},
        )


def has_due_prompts(session: Session, checkpoint: str) -> bool:
    """Whether a worker could answer something with a checkpoint now."""
    now = claims.database_now(session)
    due = (
        select(Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .where(
            Generation.state == GenerationState.WAITING,
            Generation.claim_token.is_(None),
            Generation.due_at <= now,
            Prompt.checkpoint == checkpoint,
            Rendering.state == RenderingState.RENDERED,
        )
    )
    return bool(session.scalar(select(exists(due))))


def _waiting_for(checkpoint: str) -> list[ColumnElement[bool]]:
    drawn = (
        select(Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .where(Prompt.checkpoint == checkpoint, Rendering.state == RenderingState.RENDERED)
    )
    return [Generation.state == GenerationState.WAITING, Generation.prompt_id.in_(drawn)]


def _checkpoint_id(session: Session, identity: EngineIdentity) -> int:
    find = select(Checkpoint.id).where(
        Checkpoint.name == identity.checkpoint, Checkpoint.sha256 == identity.checkpoint_sha256
    )
    if (checkpoint_id := session.scalar(find)) is not None:
        return checkpoint_id
    # Two workers may use a checkpoint for the first time at the same moment.
    session.execute(
        _insert(session)(Checkpoint)
        .values(
            name=identity.checkpoint,
            revision=identity.checkpoint_revision,
            sha256=identity.checkpoint_sha256,
            is_demo=identity.is_demo,
            first_used_at=claims.database_now(session),
        )
        .on_conflict_do_nothing()
    )
    return session.scalars(find).one()


def _insert(session: Session) -> Any:
    """Return the dialect's INSERT, which knows ON CONFLICT."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert if is_sqlite else postgresql.insert
