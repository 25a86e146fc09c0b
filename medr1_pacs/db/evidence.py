"""What prompts and answers stand on: one picture under several rows, and rows that change places.

An answer keeps the rendering it was made from. What still waits can move to another rendering, and
what would be asked a second time about an equal picture is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.facets import find_truth, refresh_facets
from medr1_pacs.db.naming import unname_study
from medr1_pacs.db.past import keep_past
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Prompt,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.records.words import GenerationState, JsonObject

_IDENTITY = ("kind", "question_id", "checkpoint", "prompt_sha256", "decoding_sha256")
_OF_SELECTION = (
    "study_version_id", "question_id", "series_id", "rendering_id", "reason", "skipped",
)  # fmt: skip
_HAS_RUN = (GenerationState.GENERATED, GenerationState.ANSWERED)


def find_equal(
    session: Session, rendering: Rendering, recipe: str, pixels_sha256: str
) -> Rendering | None:
    """Return another rendering of the same frame with this recipe and these pixels."""
    return session.scalar(
        select(Rendering).where(
            Rendering.instance_id == rendering.instance_id,
            Rendering.frame_number == rendering.frame_number,
            Rendering.recipe == recipe,
            Rendering.pixels_sha256 == pixels_sha256,
            Rendering.id != rendering.id,
        )
    )


def move_waiting_prompts(session: Session, from_id: int, to_id: int) -> int:
    """Put the prompts of a rendering that have no run yet to another; returns how many."""
    waiting = _lock_prompts_that_wait(session, from_id)
    for prompt in waiting:
        if _same_prompt(session, to_id, prompt) is not None:
            _withdraw(session, prompt)
        else:
            prompt.rendering_id = to_id
            session.flush()
            _take_from_claimants(session, prompt)
        _select_instead(session, prompt.question_id, from_id, to_id)
    if waiting:
        _tell_research(session, session.get_one(Rendering, to_id))
    return len(waiting)


def keep_answers(session: Session, rendering: Rendering) -> int:
    """Do not ask again what was answered about an equal picture of the same SOP instance.

    An archive sends a scanner's instance once more with corrected demographics: other bytes, equal
    pixels. Where question and truth are equal too, the answer that is there stays the current one.
    Returns how many prompts were withdrawn.
    """
    kept = 0
    for equal in _equal_pictures_of_other_instances(session, rendering):
        waits_too = {prompt.id for prompt in _lock_prompts_that_wait(session, equal.id)}
        for prompt in _lock_prompts_that_wait(session, rendering.id):
            twin = _same_prompt(session, equal.id, prompt)
            if twin is None:
                continue
            if _truth(session, rendering, prompt) != _truth(session, equal, prompt):
                continue
            if twin.id in waits_too:
                kept += _withdraw_one_of(session, prompt, twin)
            elif _has_run(session, twin):
                _withdraw(session, prompt)
                _select_instead(session, prompt.question_id, rendering.id, equal.id)
                add_event(
                    session,
                    "prompt.kept",
                    "prompt",
                    twin.id,
                    reason="an instance that was sent again gives an equal picture",
                )
                kept += 1
    if kept:
        _tell_research(session, rendering)
    return kept


def _tell_research(session: Session, rendering: Rendering) -> None:
    """Let research know what its study stands on now."""
    study_id = rendering.instance.series.study_id
    unname_study(session, study_id)
    refresh_facets(session, study_id)


def _withdraw_one_of(session: Session, prompt: Prompt, twin: Prompt) -> int:
    """Of two equal prompts that wait, ask the one that the study's latest version stands on."""
    is_selected = [
        bool(_latest_selections(session, each.question_id, each.rendering_id))
        for each in (prompt, twin)
    ]
    if is_selected[0] is is_selected[1]:
        return 0
    _withdraw(session, twin if is_selected[0] else prompt)
    return 1


def _equal_pictures_of_other_instances(session: Session, rendering: Rendering) -> list[Rendering]:
    if rendering.pixels_sha256 is None:
        return []
    found = session.scalars(
        select(Rendering)
        .join(Instance, Rendering.instance_id == Instance.id)
        .where(
            Instance.sop_instance_uid == rendering.instance.sop_instance_uid,
            Instance.id != rendering.instance_id,
            Instance.series_id.in_(_series_of_study(rendering)),
            Rendering.frame_number == rendering.frame_number,
            or_(
                Rendering.pixels_sha256 == rendering.pixels_sha256,
                # Of the first schema, which knew the file alone.
                and_(
                    Rendering.pixels_sha256.is_(None),
                    Rendering.png_sha256 == rendering.png_sha256,
                ),
            ),
        )
        .order_by(Rendering.id)
    )
    # One question may look through two windows that happen to give one picture.
    preset = rendering.window_request["preset_name"]
    return [row for row in found if row.window_request["preset_name"] == preset]


def _series_of_study(rendering: Rendering) -> Select[int]:
    return select(Series.id).where(Series.study_id == rendering.instance.series.study_id)


def _lock_prompts_that_wait(session: Session, rendering_id: int) -> list[Prompt]:
    """Return the prompts of a rendering of which no run has left evidence.

    Their runs are locked: a worker that is answering one records before, or not at all.
    """
    runs = session.scalars(
        select(Generation)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Prompt.rendering_id == rendering_id)
        .order_by(Generation.id)
        .with_for_update(of=Generation)
        .execution_options(populate_existing=True)
    ).all()
    ids = {run.prompt_id for run in runs}
    ids -= {run.prompt_id for run in runs if run.state is not GenerationState.WAITING}
    return list(session.scalars(select(Prompt).where(Prompt.id.in_(ids)).order_by(Prompt.id)))


def _take_from_claimants(session: Session, prompt: Prompt) -> None:
    """Let a worker that is answering over another picture record nothing."""
    session.execute(
        update(Generation)
        .where(Generation.prompt_id == prompt.id)
        .values(claimed_by=None, claim_token=None, claimed_until=None)
    )


def _same_prompt(session: Session, rendering_id: int, prompt: Prompt) -> Prompt | None:
    same = [getattr(Prompt, name) == getattr(prompt, name) for name in _IDENTITY]
    return session.scalar(select(Prompt).where(Prompt.rendering_id == rendering_id, *same))


def _has_run(session: Session, prompt: Prompt) -> bool:
    run = exists().where(Generation.prompt_id == prompt.id, Generation.state.in_(_HAS_RUN))
    return bool(session.scalar(select(run)))


def _truth(session: Session, rendering: Rendering, prompt: Prompt) -> str | None:
    truth: str | None = session.scalar(find_truth(rendering.instance_id, prompt.question_id))
    return truth


def _withdraw(session: Session, prompt: Prompt) -> None:
    study_id = session.scalar(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .join(Rendering, Rendering.instance_id == Instance.id)
        .where(Rendering.id == prompt.rendering_id)
    )
    add_event(session, "prompt.withdrawn", "prompt", prompt.id, new={"study": study_id})
    session.execute(delete(Generation).where(Generation.prompt_id == prompt.id))
    session.execute(delete(Prompt).where(Prompt.id == prompt.id))


def _latest_selections(
    session: Session, question_id: int, rendering_id: int
) -> Sequence[Selection]:
    """Return where the latest version of a study stands on a rendering under a question."""
    return session.scalars(
        select(Selection)
        .join(StudyVersion, Selection.study_version_id == StudyVersion.id)
        .join(Study, StudyVersion.study_id == Study.id)
        .where(
            StudyVersion.version == Study.version,
            Selection.question_id == question_id,
            Selection.rendering_id == rendering_id,
        )
    ).all()


def _select_instead(session: Session, question_id: int, from_id: int, to_id: int) -> None:
    """Let the latest version of the study stand on another rendering under a question.

    Where answers about the first remain, both stand: each is what was asked.
    """
    latest = _latest_selections(session, question_id, from_id)
    remains = exists().where(Prompt.rendering_id == from_id, Prompt.question_id == question_id)
    is_needed = session.scalar(select(remains))
    was: dict[int, JsonObject] = {}
    for row in latest:
        values = {
            "study_version_id": row.study_version_id,
            "question_id": question_id,
            "series_id": row.series_id,
            "rendering_id": to_id,
        }
        has_one = session.scalar(select(Selection.id).filter_by(**values)) is not None
        if not is_needed and has_one:
            was[row.id] = {name: getattr(row, name) for name in _OF_SELECTION}
            session.delete(row)
        elif not is_needed:
            was[row.id] = {"rendering_id": from_id}
            row.rendering_id = to_id
        elif not has_one:
            added = Selection(**values, reason=row.reason, skipped=row.skipped)
            session.add(added)
            session.flush()
            was[added.id] = {"is_absent": True}
        session.flush()
    if was:
        study_id = session.get_one(StudyVersion, latest[0].study_version_id).study_id
        keep_past(session, "study.selected_otherwise", study_id, "selection", was)
