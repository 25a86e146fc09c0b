"""Renderings: claimed by the render worker, recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.claims import WorkQueue, database_now
from medr1_pacs.db.evidence import find_equal, keep_answers, move_waiting_prompts
from medr1_pacs.db.facets import lock_study_of_rendering
from medr1_pacs.db.generations import fail_generations, set_ready
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
        select(Rendering, Instance)
        .join(Instance)
        .where(Rendering.id.in_(claim.row_ids))
        .order_by(Instance.id, Rendering.frame_number)
    )
    return claim, [_work(row.Rendering, row.Instance) for row in rows]


def _work(rendering: Rendering, instance: Instance) -> RenderingWork:
    return RenderingWork(
        rendering_id=rendering.id,
        stored_name=instance.stored_name,
        sha256=instance.sha256,
        frame_number=rendering.frame_number,
        window_request=WindowRequest.from_json(rendering.window_request),
        png_sha256=rendering.png_sha256,
    )


def record_picture(
    session: Session, claim: Claim, rendering_id: int, picture: RenderedPicture
) -> bool:
    """Store what a rendering came to; False when the claim was lost meanwhile.

    Evidence is never rewritten. A picture that was drawn before and comes out with equal pixels is
    the same picture, in another file perhaps; one that comes out otherwise is a rendering of its
    own, to which the prompts go that still wait.
    """
    lock_study_of_rendering(session, rendering_id)
    row = RENDERINGS.lock_claimed(session, claim, rendering_id)
    if row is None:
        return False
    if row.png_sha256 is None:
        drawn = _record_first(session, claim, row, picture)
    elif _is_same(row, picture):
        RENDERINGS.finish(
            session,
            claim,
            row.id,
            state=RenderingState.RENDERED,
            png_sha256=picture.png_sha256,
            pixels_sha256=picture.pixels_sha256,
        )
        drawn = row
    else:
        drawn = _record_successor(session, claim, row, picture)
    session.refresh(drawn)
    keep_answers(session, drawn)
    set_ready(session, drawn.id, True)
    return True


def _is_same(row: Rendering, picture: RenderedPicture) -> bool:
    if row.pixels_sha256 is None:  # of the first schema, which knew the file alone
        return row.png_sha256 == picture.png_sha256
    return row.pixels_sha256 == picture.pixels_sha256


def _record_first(
    session: Session, claim: Claim, row: Rendering, picture: RenderedPicture
) -> Rendering:
    """Record a picture that was never drawn, by the recipe of the renderer that drew it."""
    if twin := find_equal(session, row, picture.recipe, picture.pixels_sha256):
        # Planned under another renderer, it comes out as one that is there.
        RENDERINGS.finish(session, claim, row.id, state=RenderingState.LOST)
        return _succeed(session, row, twin, picture)
    RENDERINGS.finish(
        session,
        claim,
        row.id,
        state=RenderingState.RENDERED,
        rendered_at=database_now(session),
        **asdict(picture),
    )
    add_event(
        session,
        "rendering.rendered",
        "rendering",
        row.id,
        old={"state": RenderingState.PLANNED},
        new={"state": RenderingState.RENDERED, "png_sha256": picture.png_sha256},
    )
    return row


def _record_successor(
    session: Session, claim: Claim, row: Rendering, picture: RenderedPicture
) -> Rendering:
    """Let a lost picture rest as what it was, and record what is drawn today beside it."""
    RENDERINGS.finish(session, claim, row.id, state=RenderingState.LOST)
    successor = find_equal(session, row, picture.recipe, picture.pixels_sha256)
    if successor is None:
        now = database_now(session)
        successor = Rendering(
            instance_id=row.instance_id,
            frame_number=row.frame_number,
            window_request=row.window_request,
            state=RenderingState.RENDERED,
            due_at=now,
            created_at=now,
            rendered_at=now,
            **asdict(picture),
        )
        session.add(successor)
        session.flush()
    return _succeed(session, row, successor, picture)


def _succeed(
    session: Session, row: Rendering, successor: Rendering, picture: RenderedPicture
) -> Rendering:
    successor.state, successor.png_sha256 = RenderingState.RENDERED, picture.png_sha256
    session.flush()
    moved = move_waiting_prompts(session, row.id, successor.id)
    add_event(
        session,
        "rendering.succeeded",
        "rendering",
        row.id,
        old={"png_sha256": row.png_sha256},
        new={"rendering": successor.id, "png_sha256": picture.png_sha256, "prompts": moved},
        reason="its picture is drawn otherwise today",
    )
    return successor


def get_rendering_of_answer(session: Session, answer_id: int) -> RenderingWork:
    """Return what is needed to draw the picture of a stored answer again."""
    row = session.execute(
        select(Rendering, Instance)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Prompt, Prompt.rendering_id == Rendering.id)
        .join(Generation, Generation.prompt_id == Prompt.id)
        .join(Answer, Answer.generation_id == Generation.id)
        .where(Answer.id == answer_id)
    ).one()
    return _work(row.Rendering, row.Instance)


def find_equal_picture(session: Session, png_sha256: str) -> str | None:
    """Return the file that holds the picture today that an answer was made from; None: nothing."""
    return session.scalar(
        select(Rendering.png_sha256)
        .join(Prompt, Prompt.rendering_id == Rendering.id)
        .join(Generation, Generation.prompt_id == Prompt.id)
        .where(Generation.png_sha256 == png_sha256, Rendering.state == RenderingState.RENDERED)
        .limit(1)
    )


def has_due_renderings(session: Session) -> bool:
    """Whether a worker could draw something now."""
    return bool(session.scalar(select(exists().where(*RENDERINGS.due(database_now(session))))))


def heal_waiting(session: Session, generation_id: int | None = None) -> int:
    """Let prompts that wait agree with their renderings, of one generation or of all.

    A race or a crash that nobody foresaw must leave no prompt that waits for ever. Returns how many
    renderings that were.
    """
    is_drawn = Rendering.state == RenderingState.RENDERED
    rests = Rendering.state.in_((RenderingState.FAILED, RenderingState.LOST))
    wrong = (
        select(Rendering.id)
        .join(Prompt, Prompt.rendering_id == Rendering.id)
        .join(Generation, Generation.prompt_id == Prompt.id)
        .where(
            Generation.state == GenerationState.WAITING,
            or_(Generation.is_ready != is_drawn, rests),
        )
        .distinct()
    )
    if generation_id is not None:
        wrong = wrong.where(Generation.id == generation_id)
    ids = session.scalars(wrong.limit(1000)).all()
    for rendering_id in ids:
        row = session.get_one(Rendering, rendering_id, with_for_update=True, populate_existing=True)
        if row.state is RenderingState.LOST:  # drawn again, its prompts go to its successor
            row.state, row.due_at = RenderingState.PLANNED, database_now(session)
        set_ready(session, row.id, row.state is RenderingState.RENDERED)
        if row.state is RenderingState.FAILED:
            fail_renderings(session, [row.id])
    return len(ids)


def list_pictures(session: Session) -> list[tuple[str, bool]]:
    """Return (file, whether all its rows have the hash of its pixels) of every drawn picture."""
    rows = session.execute(
        select(Rendering.png_sha256, func.count() == func.count(Rendering.pixels_sha256))
        .where(Rendering.state == RenderingState.RENDERED)
        .group_by(Rendering.png_sha256)
    )
    return [(png_sha256, has_pixels) for png_sha256, has_pixels in rows if png_sha256]


def record_pixels(session: Session, png_sha256: str, pixels_sha256: str) -> None:
    """Note the pixels of a picture of the first schema, which knew its file alone."""
    session.execute(
        update(Rendering)
        .where(Rendering.png_sha256 == png_sha256, Rendering.pixels_sha256.is_(None))
        .values(pixels_sha256=pixels_sha256)
    )


def draw_again(session: Session, png_sha256: str, reason: str) -> None:
    """Plan the renderings of a stored picture again that was lost or damaged on disk.

    They keep both hashes: what answers were made from stays as it was recorded.
    """
    now = database_now(session)
    for rendering in session.scalars(
        select(Rendering).where(
            Rendering.png_sha256 == png_sha256, Rendering.state == RenderingState.RENDERED
        )
    ):
        rendering.state, rendering.due_at = RenderingState.PLANNED, now
        set_ready(session, rendering.id, False)
        add_event(
            session,
            "rendering.lost",
            "rendering",
            rendering.id,
            old={"state": RenderingState.RENDERED, "png_sha256": png_sha256},
            new={"state": RenderingState.PLANNED},
            reason=reason,
        )
