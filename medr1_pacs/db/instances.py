"""Instances: rows for what was received, and the study, series and patient they belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.projects import add_to_projects, arrival_of
from medr1_pacs.db.quarantine import resolve_quarantined
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.studies import get_locked, lock_known, reopen
from medr1_pacs.db.tables import Instance, Patient, QuarantinedInstance, Series, Study
from medr1_pacs.db.withdrawals import find_withheld_projects
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.listed import HeldInstance
from medr1_pacs.records.received import IndexedInstance
from medr1_pacs.records.words import InstanceHold, StudyState


class Outcome(StrEnum):
    """What recording an instance came to."""

    NEW = "new"
    HELD = "held"  #: new, and not current until a person accepts it
    DUPLICATE = "duplicate"  #: identical bytes and syntax have a row under another name
    SAME = "same"  #: this very file has its row already


@dataclass(frozen=True, slots=True)
class Recorded:
    """An outcome, and the name under which the instance's bytes are kept."""

    outcome: Outcome
    stored_name: str


def record_instance(
    session: Session, item: IndexedInstance, rules: ProjectRules, now: datetime
) -> Recorded:
    """Make the rows of one instance; a second time changes nothing.

    An arrival adds the projects of its rules to its study, of bytes that are known too, unless it
    is held or was refused. One that is new raises the version of a study that was complete, and
    supersedes what is current under its UID; but another sender's instance of a project that this
    arrival does not belong to, it does not: it is held for a person.
    """
    study = _find_or_add_study(session, item, now)
    received_at = min(item.received_at, now)  # a clock that was ahead must not hold the study
    same = session.scalar(
        select(Instance).where(
            Instance.sop_instance_uid == item.sop_instance_uid,
            Instance.sha256 == item.sha256,
            Instance.transfer_syntax_uid == item.transfer_syntax_uid,
        )
    )
    if same is not None and same.stored_name == item.stored_name:
        return Recorded(Outcome.SAME, same.stored_name)
    current = _current(session, item.sop_instance_uid)
    if same is None or same is not current:
        if current is not None and _needs_a_person(current, item, rules):
            return _hold(session, same, item, study, now)
        if same is not None and same.hold is InstanceHold.REFUSED:
            return Recorded(Outcome.DUPLICATE, same.stored_name)
    add_to_projects(session, study, arrival_of(item), rules, now)
    if same is not None and same is current:
        if study.state is StudyState.RECEIVING:  # somebody is still sending it
            study.last_received_at = max(study.last_received_at, received_at)
        return Recorded(Outcome.DUPLICATE, same.stored_name)
    reopen(session, study, "an instance arrived after the study was complete")
    study.last_received_at = max(study.last_received_at, received_at)
    _supersede(session, current, study, now)
    resolve_quarantined(session, item.sop_instance_uid, now)
    if same is not None:
        _make_current(session, same, study, "instance.current_again")
        return Recorded(Outcome.DUPLICATE, same.stored_name)
    _add_instance(session, item, study, now)
    return Recorded(Outcome.NEW, item.stored_name)


def _needs_a_person(current: Instance, item: IndexedInstance, rules: ProjectRules) -> bool:
    """Whether an arrival may not supersede what is there by itself.

    A scanner first and the archive with corrected demographics after is the normal case: two
    senders, one project. How each arrived is compared, not what the study came to: any sender can
    add a project of its own to that.
    """
    if current.calling_ae_title == item.calling_ae_title:
        return False
    return rules.match(arrival_of(current)).keys().isdisjoint(rules.match(arrival_of(item)))


def _hold(
    session: Session, same: Instance | None, item: IndexedInstance, study: Study, now: datetime
) -> Recorded:
    if same is not None:
        if same.hold is None:  # it was superseded, and is sent by somebody else now
            same.hold = InstanceHold.HELD
            _note_held(session, same, item)
        return Recorded(Outcome.DUPLICATE, same.stored_name)
    instance = _add_instance(session, item, study, now, hold=InstanceHold.HELD)
    _note_held(session, instance, item)
    return Recorded(Outcome.HELD, item.stored_name)


def _note_held(session: Session, instance: Instance, item: IndexedInstance) -> None:
    add_event(
        session,
        "instance.held",
        "instance",
        instance.id,
        new={"calling_ae_title": item.calling_ae_title, "called_ae_title": item.called_ae_title},
        reason="another sender's instance of a project that is not its own would be superseded",
    )


def _add_instance(
    session: Session,
    item: IndexedInstance,
    study: Study,
    now: datetime,
    *,
    hold: InstanceHold | None = None,
) -> Instance:
    instance = Instance(
        series_id=_series(session, study, item).id,
        sop_instance_uid=item.sop_instance_uid,
        sop_class_uid=item.sop_class_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        number_of_frames=item.number_of_frames,
        attributes=dict(item.attributes),
        stored_name=item.stored_name,
        association_token=item.association_token,
        calling_ae_title=item.calling_ae_title,
        called_ae_title=item.called_ae_title,
        study_version=study.version,
        received_at=item.received_at,
        indexed_at=now,
        superseded_at=now if hold else None,
        hold=hold,
    )
    session.add(instance)
    session.flush()
    add_event(
        session,
        "instance.stored",
        "instance",
        instance.id,
        new={"sha256": item.sha256, "study_version": study.version},
    )
    return instance


def accept_held(
    session: Session, sop_instance_uid: str, rules: ProjectRules, now: datetime, *, actor: str
) -> bool:
    """Let the newest held instance of a UID be the current one; False when none is held."""
    held = _lock_held(session, sop_instance_uid)
    if held is None:
        return False
    study = held.series.study
    study.last_received_at = now  # more of it may be accepted
    reopen(session, study, "an instance that was held was accepted")
    rules = rules.without(find_withheld_projects(session, study))
    add_to_projects(session, study, arrival_of(held), rules, now)
    _supersede(session, _current(session, sop_instance_uid), study, now)
    _make_current(session, held, study, "instance.accepted", actor=actor)
    return True


def refuse_held(session: Session, sop_instance_uid: str, *, actor: str) -> bool:
    """Let the newest held instance of a UID supersede nothing; its file stays. False: none is."""
    held = _lock_held(session, sop_instance_uid)
    if held is None:
        return False
    held.hold = InstanceHold.REFUSED
    add_event(session, "instance.refused", "instance", held.id, actor=actor)
    return True


def _lock_held(session: Session, sop_instance_uid: str) -> Instance | None:
    """Return the newest held instance of a UID, with its study locked as by who indexes.

    Two people decide one after the other.
    """
    newest = (
        select(Instance)
        .where(Instance.sop_instance_uid == sop_instance_uid, Instance.hold == InstanceHold.HELD)
        .order_by(Instance.received_at.desc(), Instance.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    if (found := session.scalar(newest)) is None:
        return None
    study = found.series.study
    lock_known(session, [study.study_instance_uid])
    session.refresh(study)
    return session.scalar(newest.with_for_update())


def record_repair(session: Session, stored_name: str) -> None:
    """Note that a stored file was missing or changed and is whole again."""
    instance = session.scalars(select(Instance).where(Instance.stored_name == stored_name)).one()
    add_event(
        session,
        "instance.repaired",
        "instance",
        instance.id,
        reason="its file was missing or changed; the same data set was sent again",
    )


def hashes_of_rows(session: Session, stored_names: Collection[str]) -> dict[str, str]:
    """Return stored name -> sha256 for the files that have a row, as instance or in quarantine."""
    return {
        row.stored_name: row.sha256
        for table in (Instance, QuarantinedInstance)
        for row in session.execute(
            select(table.stored_name, table.sha256).where(table.stored_name.in_(stored_names))
        )
    }


@dataclass(slots=True)
class InstanceStanding:
    """What is recorded under one SOP Instance UID."""

    is_current: bool = False
    hold: InstanceHold | None = None
    files: dict[str, str] = field(default_factory=dict)
    """Stored name -> sha256 of its data set, of those with a row as an instance."""
    quarantined: list[str] = field(default_factory=list)
    """Stored names of what is in quarantine, and neither resolved nor dropped."""
    is_dropped: bool = False
    """A person had a file of it deleted that could not be used."""


def list_standings(session: Session) -> dict[str, InstanceStanding]:
    """Return SOP Instance UID -> what is recorded under it."""
    standings: dict[str, InstanceStanding] = {}
    # A resolved one is a usable instance by now, which stands among these.
    for unusable in session.execute(
        select(
            QuarantinedInstance.sop_instance_uid,
            QuarantinedInstance.stored_name,
            QuarantinedInstance.dropped_at,
        ).where(
            QuarantinedInstance.resolved_at.is_(None) | QuarantinedInstance.dropped_at.is_not(None)
        )
    ):
        standing = standings.setdefault(unusable.sop_instance_uid, InstanceStanding())
        if unusable.dropped_at is None:
            standing.quarantined.append(unusable.stored_name)
        else:
            standing.is_dropped = True
    rows = session.execute(
        select(
            Instance.sop_instance_uid,
            Instance.stored_name,
            Instance.sha256,
            Instance.superseded_at,
            Instance.hold,
        )
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(Study.state != StudyState.WITHDRAWN)
        .order_by(Instance.id)
    )
    for row in rows:
        standing = standings.setdefault(row.sop_instance_uid, InstanceStanding())
        standing.files[row.stored_name] = row.sha256
        standing.is_current |= row.superseded_at is None
        standing.hold = row.hold or standing.hold
    return standings


def list_held(session: Session, *, limit: int | None = None) -> list[HeldInstance]:
    """Return the instances that wait for a person, the first first."""
    rows = session.execute(
        select(Instance, Study.study_instance_uid)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(Instance.hold == InstanceHold.HELD)
        .order_by(Instance.id)
        .limit(limit)
    )
    return [
        HeldInstance(
            sop_instance_uid=row.Instance.sop_instance_uid,
            study_instance_uid=row.study_instance_uid,
            calling_ae_title=row.Instance.calling_ae_title,
            called_ae_title=row.Instance.called_ae_title,
            received_at=row.Instance.received_at,
        )
        for row in rows
    ]


def note_scanners(session: Session, scanners: Mapping[tuple[str, str], str]) -> None:
    """Note (study, series) -> scanner for series of earlier schemas, which knew none."""
    for (study_instance_uid, series_instance_uid), scanner_key in scanners.items():
        study = select(Study.id).where(Study.study_instance_uid == study_instance_uid)
        session.execute(
            update(Series)
            .where(
                Series.series_instance_uid == series_instance_uid,
                Series.study_id.in_(study),
                Series.scanner_key.is_(None),
            )
            .values(scanner_key=scanner_key)
        )


def iterate_stored_names(session: Session) -> Iterator[str]:
    """Yield the stored name of every instance that was not withdrawn; streaming."""
    names = (
        select(Instance.stored_name)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(Study.state != StudyState.WITHDRAWN)
        .order_by(Instance.id)
    )
    yield from session.scalars(names.execution_options(yield_per=1000))


def _current(session: Session, sop_instance_uid: str) -> Instance | None:
    return session.scalar(
        select(Instance).where(
            Instance.sop_instance_uid == sop_instance_uid, Instance.superseded_at.is_(None)
        )
    )


def _find_or_add_study(session: Session, item: IndexedInstance, now: datetime) -> Study:
    find = select(Study).where(Study.study_instance_uid == item.study_instance_uid)
    # Locked: a person may retry it at this moment, and both would decide on its state.
    if (study := session.scalar(find.with_for_update(key_share=True))) is not None:
        return study
    key = {"patient_key": item.identity.patient_key}
    patient, _ = find_or_add(session, Patient, key, sex=item.sex, created_at=now)
    study = Study(
        study_instance_uid=item.study_instance_uid,
        patient_id=patient.id,
        state=StudyState.RECEIVING,
        version=1,
        age_years=item.age_years,
        study_date=item.study_date,
        created_at=now,
        last_received_at=item.received_at,
    )
    session.add(study)
    session.flush()
    add_event(session, "study.created", "study", study.id, new={"state": study.state})
    return study


def _series(session: Session, study: Study, item: IndexedInstance) -> Series:
    attributes = item.attributes
    series, _ = find_or_add(
        session,
        Series,
        {"study_id": study.id, "series_instance_uid": item.series_instance_uid},
        modality=_text(attributes.get("Modality"), 16),
        manufacturer=_text(attributes.get("Manufacturer"), 64),
        manufacturer_model_name=_text(attributes.get("ManufacturerModelName"), 64),
        kvp=_number(attributes.get("KVP")),
        slice_thickness_mm=_number(attributes.get("SliceThickness")),
        scanner_key=item.scanner_key,
    )
    return series


def _supersede(session: Session, current: Instance | None, study: Study, now: datetime) -> None:
    """Let the current instance of a UID step back; another study that loses it is reopened."""
    if current is None:
        return
    current.superseded_at = now
    if current.series.study_id != study.id:
        other = get_locked(session, current.series.study_id)
        reopen(session, other, "an instance of it was sent again as part of another study")
        other.last_received_at = now  # more of it may follow
    session.flush()


def _make_current(
    session: Session, instance: Instance, study: Study, action: str, **event: Any
) -> None:
    """Let an instance that was superseded or held be the current one of its UID."""
    instance.superseded_at, instance.hold = None, None
    instance.study_version = study.version
    add_event(
        session,
        action,
        "instance",
        instance.id,
        new={"sha256": instance.sha256, "study_version": study.version},
        **event,
    )
    session.flush()


def _text(value: Any, length: int) -> str | None:
    return str(value)[:length] if value not in (None, "") else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
