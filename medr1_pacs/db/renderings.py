"""Renderings: claimed by the render worker, recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.claims import WorkQueue, database_now
from medr1_pacs.db.generations import fail_generations
from medr1_pacs.db.tables import Answer, Generation, Instance, Prompt, Rendering
from medr1_pacs.records.planned import WindowRequest
from medr1_pacs.records.words import GenerationState, RenderingState
from medr1_pacs.records.work import Claim, RenderedPicture, RenderingWork


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
        ).all()
        for generation in waiting:
            generation.error = f"the picture could not be drawn: {rendering.error}"
        fail_generations(session, [generation.id for generation in waiting])


RENDERINGS = WorkQueue(Rendering, RenderingState.PLANNED, fail_renderings)


def claim_renderings(
    session: Session, *, owner: str, limit: int
) -> tuple[Claim, list[RenderingWork]] | None:
    """Claim pictures to draw, with what is needed to draw them; None when there is nothing."""
    claim = RENDERINGS.claim(session, owner=owner, limit=limit)
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
        window_request=WindowRequest.from_json(rendering.window_request),
    )


def record_picture(
    session: Session, claim: Claim, rendering_id: int, picture: RenderedPicture
) -> bool:
    """Store what a rendering came to; False when the claim was lost meanwhile."""
    is_recorded = RENDERINGS.finish(
        session,
        claim,
        rendering_id,
        state=RenderingState.RENDERED,
        rendered_at=database_now(session),
        **asdict(picture),
    )
    if is_recorded:
        add_event(
            session,
            "rendering.rendered",
            "rendering",
            rendering_id,
            old={"state": RenderingState.PLANNED},
            new={"state": RenderingState.RENDERED, "png_sha256": picture.png_sha256},
        )
    return is_recorded


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
    return bool(session.scalar(select(exists().where(*RENDERINGS.due(database_now(session))))))


def draw_again(session: Session, png_sha256: str, reason: str) -> None:
    """Plan the renderings of a stored picture again that was lost or damaged on disk."""
    now = database_now(session)
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
