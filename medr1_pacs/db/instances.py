"""Instances: rows for what was received, and the study, series and patient they belong to."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.projects import add_to_projects
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.studies import reopen
from medr1_pacs.db.tables import Instance, Patient, QuarantinedInstance, Series, Study
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.received import IndexedInstance, RejectedInstance
from medr1_pacs.records.words import StudyState


class Recorded(StrEnum):
    """What recording an instance came to."""

    NEW = "new"
    DUPLICATE = "duplicate"  #: identical bytes and syntax have a row under another name
    SAME = "same"  #: this very file has its row already


def record_instance(
    session: Session, item: IndexedInstance, rules: ProjectRules, now: datetime
) -> Recorded:
    """Make the rows of one instance; a second time changes nothing.

    An instance that is new adds the projects of its rules to its study, and raises the version of
    a study that was complete. One whose very bytes have a current row is a duplicate: it does
    neither.
    """
    same = session.scalar(
        select(Instance).where(
            Instance.sop_instance_uid == item.sop_instance_uid,
            Instance.sha256 == item.sha256,
            Instance.transfer_syntax_uid == item.transfer_syntax_uid,
        )
    )
    if same is not None and same.stored_name == item.stored_name:
        return Recorded.SAME
    if same is not None and same.superseded_at is None:
        return Recorded.DUPLICATE
    study = _study(session, item, rules, now)
    series = _series(session, study, item)
    reopen(session, study, "an instance arrived after the study was complete")
    study.last_received_at = max(study.last_received_at, item.received_at)
    _supersede(session, item.sop_instance_uid, study, now)
    if same is not None:
        _make_current_again(session, same, study)
        return Recorded.DUPLICATE
    _add_instance(session, item, study, series, now)
    return Recorded.NEW


def _add_instance(
    session: Session, item: IndexedInstance, study: Study, series: Series, now: datetime
) -> None:
    instance = Instance(
        series_id=series.id,
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


def record_rejected(session: Session, item: RejectedInstance, now: datetime) -> None:
    """Make the row of an instance in quarantine; a second time changes nothing."""
    values = asdict(item)
    key = {"stored_name": values.pop("stored_name")}
    row, is_new = find_or_add(session, QuarantinedInstance, key, **values, quarantined_at=now)
    if is_new:
        add_event(
            session, "instance.quarantined", "quarantined_instance", row.id, reason=item.reason
        )


def has_row(session: Session, stored_name: str) -> bool:
    """Whether a stored file has its row, as an instance or in quarantine."""
    return any(
        session.scalar(select(table.id).where(table.stored_name == stored_name)) is not None
        for table in (Instance, QuarantinedInstance)
    )


def _study(session: Session, item: IndexedInstance, rules: ProjectRules, now: datetime) -> Study:
    study = session.scalar(select(Study).where(Study.study_instance_uid == item.study_instance_uid))
    if study is None:
        study = _add_study(session, item, now)
    # Every new instance may bring a project: two senders of one study may serve two projects.
    add_to_projects(session, study, item, rules, now)
    return study


def _add_study(session: Session, item: IndexedInstance, now: datetime) -> Study:
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
    )
    return series


def _supersede(session: Session, sop_instance_uid: str, study: Study, now: datetime) -> None:
    """Let the current instance of a UID step back; another study that loses it is reopened."""
    current = session.scalars(
        select(Instance).where(
            Instance.sop_instance_uid == sop_instance_uid, Instance.superseded_at.is_(None)
        )
    )
    for instance in current:
        instance.superseded_at = now
        if (other := instance.series.study).id != study.id:
            reopen(session, other, "an instance of it was sent again as part of another study")
    session.flush()


def _make_current_again(session: Session, instance: Instance, study: Study) -> None:
    """A superseded instance was sent once more: it is the newest again."""
    instance.superseded_at = None
    instance.study_version = study.version
    add_event(
        session,
        "instance.current_again",
        "instance",
        instance.id,
        new={"sha256": instance.sha256, "study_version": study.version},
    )


def _text(value: Any, length: int) -> str | None:
    return str(value)[:length] if value not in (None, "") else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
