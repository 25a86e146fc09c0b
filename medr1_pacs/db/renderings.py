"""Renderings: claimed by the render worker, recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db import claims
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.tables import Answer, Generation, Instance, Prompt, Rendering
from medr1_pacs.records import (
    Claim,
    GenerationState,
    RenderedPicture,
    RenderingState,
    RenderingWork,
)

_WAITING = (Rendering.state == RenderingState.PLANNED,)


def claim_renderings(
    session: Session, *, owner: str, limit: int
) -> tuple[Claim, list[RenderingWork]] | None:
    """Claim pictures to draw, with what is needed to draw them; None when there is nothing."""
    claim = claims.claim_rows(session, Rendering, _WAITING, owner=owner, limit=limit)
    if claim is None:
        return None
    rows = session.execute(
        select(Rendering, Instance.stored_name)
        .join(Instance)
        .where(Rendering.id.in_(claim.row_ids))
        .order_by(Instance.id, Rendering.frame_number)
    )
    return claim, [_work(row.Rendering, row.stored_name) for row in rows]


def _work(rendering: Rendering, stored_name: str) -> RenderingWork:
    return RenderingWork(
        rendering_id=rendering.id,
        stored_name=stored_name,
        frame_number=rendering.frame_number,
        window_request=rendering.window_request,
    )


def record_picture(
    session: Session, claim: Claim, rendering_id: int, picture: RenderedPicture
) -> bool:
    """Store what a rendering came to; False when the claim was lost meanwhile."""
    now = claims.database_now(session)
    result: Any = session.execute(
        update(Rendering)
        .where(
            Rendering.id == rendering_id,
            Rendering.claim_token == claim.token,
            Rendering.state == RenderingState.PLANNED,
        )
        .values(
            state=RenderingState.RENDERED,
            png_sha256=picture.png_sha256,
            window_center=picture.window_center,
            window_width=picture.window_width,
            window_source=picture.window_source,
            seconds=picture.seconds,
            rendered_at=now,
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
        "rendering.rendered",
        "rendering",
        rendering_id,
        old={"state": RenderingState.PLANNED},
        new={"state": RenderingState.RENDERED, "png_sha256": picture.png_sha256},
    )
    return True


def record_unusable(session: Session, claim: Claim, rendering_id: int, error: str) -> None:
    """Give a rendering up at once: drawing it again would fail in the same way."""
    row = session.get(Rendering, rendering_id, with_for_update=True)
    if row is None or row.claim_token != claim.token:
        return
    row.error = error
    row.attempts += 1
    row.claimed_by = row.claim_token = row.claimed_until = None
    session.flush()
    fail_renderings(session, [rendering_id])


def fail_renderings(session: Session, rendering_ids: Sequence[int]) -> None:
    """Let renderings rest as failed, and with them the prompts that wait for their pictures."""
    for rendering in session.scalars(select(Rendering).where(Rendering.id.in_(rendering_ids))):
        rendering.state = RenderingState.FAILED
        add_event(
            session,
            "rendering.failed",
            "rendering",
            rendering.id,
            old={"state": RenderingState.PLANNED},
            new={"state": RenderingState.FAILED},
            reason=rendering.error,
        )
        waiting = session.scalars(
            select(Generation)
            .join(Prompt, Generation.prompt_id == Prompt.id)
            .where(Prompt.rendering_id == rendering.id, Generation.state == GenerationState.WAITING)
        )
        for generation in waiting:
            generation.state = GenerationState.FAILED
            generation.error = f"the picture could not be drawn: {rendering.error}"
            add_event(
                session,
                "generation.failed",
                "generation",
                generation.id,
                old={"state": GenerationState.WAITING},
                new={"state": GenerationState.FAILED},
                reason=generation.error,
            )


def get_rendering_of_answer(session: Session, answer_id: int) -> RenderingWork:
    """Return what is needed to draw the picture of a stored answer again."""
    row = session.execute(
        select(Rendering, Instance.stored_name)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Prompt, Prompt.rendering_id == Rendering.id)
        .join(Generation, Generation.prompt_id == Prompt.id)
        .join(Answer, Answer.generation_id == Generation.id)
        .where(Answer.id == answer_id)
    ).one()
    return _work(row.Rendering, row.stored_name)


def has_due_renderings(session: Session) -> bool:
    """Whether a worker could draw something now."""
    now = claims.database_now(session)
    due = select(Rendering.id).where(
        *_WAITING, Rendering.claim_token.is_(None), Rendering.due_at <= now
    )
    return bool(session.scalar(select(exists(due))))


def draw_again(session: Session, png_sha256: str, reason: str) -> None:
    """Plan the renderings of a stored picture again that was lost or damaged on disk."""
    now = claims.database_now(session)
    for rendering in session.scalars(select(Rendering).where(Rendering.png_sha256 == png_sha256)):
        rendering.state, rendering.png_sha256, rendering.due_at = RenderingState.PLANNED, None, now
        add_event(
            session,
            "rendering.lost",
            "rendering",
            rendering.id,
            old={"state": RenderingState.RENDERED, "png_sha256": png_sha256},
            new={"state": RenderingState.PLANNED},
            reason=reason,
        )
