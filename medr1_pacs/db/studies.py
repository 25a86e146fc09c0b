"""The life of a study: the one owner of its state and its version."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import SERVICE, add_event
from medr1_pacs.db.claims import database_now
from medr1_pacs.db.facets import lock_patients, refresh_facets
from medr1_pacs.db.rows import AS_PARENT
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Prompt,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
    Worker,
)
from medr1_pacs.errors import InstanceDamaged
from medr1_pacs.processes import SILENT_S
from medr1_pacs.records.words import GenerationState, RenderingState, StudyState


def list_receiving(session: Session) -> dict[int, datetime]:
    """Return study id -> when its latest instance arrived, for studies that are receiving."""
    rows = session.execute(
        select(Study.id, Study.last_received_at).where(Study.state == StudyState.RECEIVING)
    )
    return {row.id: row.last_received_at for row in rows}


def get_locked(session: Session, study_id: int) -> Study:
    """Return a study that nobody else changes until the transaction ends.

    Whoever decides on a state reads it under this lock: without, two who look at once both decide.
    """
    return session.get_one(Study, study_id, with_for_update=AS_PARENT, populate_existing=True)


def lock_known(session: Session, study_instance_uids: Collection[str]) -> None:
    """Lock the studies that there are, and their patients, in the order in which others do."""
    are_known = Study.study_instance_uid.in_(study_instance_uids)
    lock_patients(session, select(Study.patient_id).where(are_known))
    locked = select(Study.id).where(are_known).order_by(Study.id)
    session.execute(locked.with_for_update(key_share=True))


def mark_complete(
    session: Session, study_id: int, now: datetime, *, missing: str = "", actor: str = SERVICE
) -> StudyState:
    """Call a study complete and write its version; `missing` says what was set aside of it.

    Returns the state it was in: one that is not receiving is left alone.
    """
    study = get_locked(session, study_id)
    if study.state is not StudyState.RECEIVING:
        return study.state
    instances = session.scalar(
        select(func.count(Instance.id))
        .join(Series)
        .where(Series.study_id == study_id, Instance.superseded_at.is_(None))
    )
    session.add(
        StudyVersion(
            study_id=study_id,
            version=study.version,
            instances=instances,
            completed_at=now,
            missing=missing,
        )
    )
    set_state(session, study, StudyState.COMPLETE, "", actor=actor)
    return StudyState.RECEIVING


def find_study(session: Session, study_instance_uid: str) -> int | None:
    """Return the id of a study."""
    return session.scalar(select(Study.id).where(Study.study_instance_uid == study_instance_uid))


def set_state(
    session: Session, study: Study, state: StudyState, reason: str, *, actor: str = SERVICE
) -> None:
    """Move a study to a state, with its audit event; the same state twice is one event."""
    if study.state is state and study.state_reason == reason:
        return
    if study.state is not state:
        add_event(
            session,
            "study.state_changed",
            "study",
            study.id,
            actor=actor,
            old={"state": study.state},
            new={"state": state, "version": study.version},
            reason=reason or None,
        )
    study.state, study.state_reason = state, reason


def reopen(session: Session, study: Study, reason: str) -> None:
    """Start the next version of a study; one that is receiving already has it."""
    if study.state is StudyState.RECEIVING:
        return
    old = {"state": study.state, "version": study.version}
    study.version += 1
    study.state, study.state_reason = StudyState.RECEIVING, reason
    add_event(
        session,
        "study.reopened",
        "study",
        study.id,
        old=old,
        new={"state": study.state, "version": study.version},
        reason=reason,
    )
    refresh_facets(session, study.id)


def fail_study(session: Session, study_id: int, version: int, reason: str) -> None:
    """Let a study that is complete rest as failed, where a person sees it and can retry it.

    One that was reopened meanwhile is left alone.
    """
    study = get_locked(session, study_id)
    if study.state is StudyState.COMPLETE and study.version == version:
        set_state(session, study, StudyState.FAILED, reason)


def find_settled(
    session: Session, configured_checkpoints: Collection[str]
) -> dict[int, tuple[StudyState, str]]:
    """Find the asked studies whose last answer came in, or that wait for something else than said.

    Returns
    -------
    dict
        Study id -> the state and reason it is to have; only those that change.
    """
    asked = session.scalars(select(Study).where(_is_asked())).all()
    pending = _count_pending(session) if asked else {}
    names = {name for counts in pending.values() for name in counts}
    obstacles = dict.fromkeys(names - set(configured_checkpoints), "is not configured")
    obstacles |= dict.fromkeys(_unloadable(session, names), "no worker can load: see `doctor`")
    changes: dict[int, tuple[StudyState, str]] = {}
    for study in asked:
        if study.id not in pending:
            failures = _failure_reasons(session, study)
            state = StudyState.FAILED if failures else StudyState.ANSWERED
            changes[study.id] = (state, "; ".join(failures))
            continue
        reason = "; ".join(
            f"{count} prompts wait for the checkpoint {name}, which {obstacles[name]}"
            for name, count in sorted(pending[study.id].items())
            if name in obstacles
        )
        if reason != study.state_reason or study.state is not StudyState.ASKED:
            changes[study.id] = (StudyState.ASKED, reason)
    return changes


def record_settled(session: Session, changes: Mapping[int, tuple[StudyState, str]]) -> None:
    """Write what `find_settled` found, unless a study was reopened since."""
    for study_id, (state, reason) in sorted(changes.items()):  # as others lock them
        study = get_locked(session, study_id)
        if study.state in (StudyState.ASKED, StudyState.COMPLETE):
            set_state(session, study, state, reason)


def _unloadable(session: Session, names: Collection[str]) -> set[str]:
    """Return the checkpoints that every living worker that should says it cannot load."""
    since = database_now(session) - timedelta(seconds=SILENT_S)
    living = session.scalars(select(Worker).where(Worker.heartbeat_at > since)).all()
    found = set()
    for name in names:
        asked = [row for row in living if any(q.rpartition(".")[2] == name for q in row.queues)]
        sentence = f"checkpoint {name} cannot be loaded"
        if asked and all(sentence in (row.trouble or "") for row in asked):
            found.add(name)
    return found


def _is_asked() -> ColumnElement[bool]:
    """Say which studies have a plan: those that say so, and any that were left complete with one.

    The latter would be planned never again, and settled never.
    """
    planned = exists().where(
        StudyVersion.study_id == Study.id,
        StudyVersion.version == Study.version,
        StudyVersion.planned_at.is_not(None),
    )
    return or_(Study.state == StudyState.ASKED, and_(Study.state == StudyState.COMPLETE, planned))


def _count_pending(session: Session) -> dict[int, dict[str, int]]:
    """Return, for studies that are asked, study id -> checkpoint -> prompts without an answer."""
    rows = session.execute(
        select(Study.id, Prompt.checkpoint, func.count(Generation.id))
        .join(
            StudyVersion,
            and_(StudyVersion.study_id == Study.id, StudyVersion.version == Study.version),
        )
        .join(Selection, Selection.study_version_id == StudyVersion.id)
        .join(
            Prompt,
            and_(
                Prompt.rendering_id == Selection.rendering_id,
                Prompt.question_id == Selection.question_id,
            ),
        )
        .join(Generation, Generation.prompt_id == Prompt.id)
        .where(
            Study.state.in_((StudyState.ASKED, StudyState.COMPLETE)),
            Generation.state.in_((GenerationState.WAITING, GenerationState.GENERATED)),
        )
        .group_by(Study.id, Prompt.checkpoint)
    )
    pending: dict[int, dict[str, int]] = {}
    for study_id, checkpoint, count in rows:
        pending.setdefault(study_id, {})[checkpoint] = count
    return pending


def _selected_in_latest_version(study: Study) -> ColumnElement[bool]:
    return exists(
        select(Selection.id)
        .join(StudyVersion, Selection.study_version_id == StudyVersion.id)
        .where(
            StudyVersion.study_id == study.id,
            StudyVersion.version == study.version,
            Selection.rendering_id == Prompt.rendering_id,
            Selection.question_id == Prompt.question_id,
        )
    )


def _failure_reasons(session: Session, study: Study) -> list[str]:
    rows = session.execute(
        select(Generation.error, func.count(Generation.id))
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Generation.state == GenerationState.FAILED, _selected_in_latest_version(study))
        .group_by(Generation.error)
        .order_by(Generation.error)
    )
    return [f"{count} prompts: {error}" for error, count in rows]


def list_failed(session: Session, *, reason: str = "") -> list[str]:
    """Return the Study Instance UIDs of failed studies whose reason holds a text."""
    failed = select(Study.study_instance_uid).where(
        Study.state == StudyState.FAILED, Study.state_reason.contains(reason, autoescape=True)
    )
    return list(session.scalars(failed.order_by(Study.id)))


def retry_failed(session: Session, study_instance_uid: str, actor: str) -> bool:
    """Give the failed work of a study its attempts back; False when it has not failed."""
    study = session.scalar(
        select(Study)
        .where(Study.study_instance_uid == study_instance_uid)
        .with_for_update(key_share=True)
    )
    if study is None or study.state is not StudyState.FAILED:
        return False
    failed = session.scalars(
        select(Generation)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Generation.state == GenerationState.FAILED, _selected_in_latest_version(study))
    ).all()
    now = database_now(session)
    for generation in failed:
        _try_again(session, generation, now)
    add_event(
        session, "study.retried", "study", study.id, actor=actor, new={"prompts": len(failed)}
    )
    # Without a plan it is the plan that failed.
    is_planned = _is_planned(session, study)
    set_state(session, study, StudyState.ASKED if is_planned else StudyState.COMPLETE, "")
    return True


def retry_damaged(session: Session, stored_name: str) -> None:
    """Try again what failed over a damaged instance that is whole by now, however its study is."""
    failed = session.scalars(
        select(Rendering)
        .join(Instance, Rendering.instance_id == Instance.id)
        .where(
            Instance.stored_name == stored_name,
            Rendering.state == RenderingState.FAILED,
            Rendering.error.startswith(InstanceDamaged.SUBJECT, autoescape=True),
        )
    ).all()
    if not failed:
        return
    study = get_locked(session, failed[0].instance.series.study_id)
    now = database_now(session)
    for rendering in failed:
        _draw_again(session, rendering.id, now)
        prompts = select(Prompt.id).where(Prompt.rendering_id == rendering.id)
        for generation in session.scalars(
            select(Generation).where(
                Generation.prompt_id.in_(prompts), Generation.state == GenerationState.FAILED
            )
        ):
            _try_again(session, generation, now)
    # Where the plan of the latest version failed, that is for a person to retry.
    if study.state is StudyState.FAILED and _is_planned(session, study):
        add_event(session, "study.retried", "study", study.id, new={"renderings": len(failed)})
        set_state(session, study, StudyState.ASKED, "")


def _is_planned(session: Session, study: Study) -> bool:
    planned_at = session.scalar(
        select(StudyVersion.planned_at).where(
            StudyVersion.study_id == study.id, StudyVersion.version == study.version
        )
    )
    return planned_at is not None


def _try_again(session: Session, generation: Generation, now: datetime) -> None:
    generation.state = GenerationState.WAITING
    _give_attempts_back(generation, now)
    rendering = _draw_again(session, generation.prompt.rendering_id, now)
    generation.is_ready = rendering.state is RenderingState.RENDERED


def _draw_again(session: Session, rendering_id: int, now: datetime) -> Rendering:
    """Plan a rendering again unless its picture is there; returns it locked.

    A lost one comes out as it does today, and its prompts go to its successor.
    """
    rendering = session.get_one(
        Rendering, rendering_id, with_for_update=True, populate_existing=True
    )
    if rendering.state in (RenderingState.FAILED, RenderingState.LOST):
        rendering.state = RenderingState.PLANNED
        _give_attempts_back(rendering, now)
    return rendering


def _give_attempts_back(work: Generation | Rendering, now: datetime) -> None:
    work.attempts = work.losses = 0
    work.error, work.is_suspect, work.due_at = None, False, now
