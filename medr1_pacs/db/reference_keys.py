"""What the lines of a reference standard are about: a key is looked up, and kept nowhere.

key -> vault -> study of the project -> target
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import Instance, Patient, ProjectInstance, ProjectStudy, Series, Study
from medr1_pacs.db.vault import IdentifiedStudy
from medr1_pacs.records.references import Fault, ReferenceKey, Target
from medr1_pacs.records.words import StudyState, TruthUnit


@dataclass(frozen=True, slots=True)
class _UsedStudy:
    """A study that the project uses."""

    id: int
    patient_id: int
    patient_key: str
    study_instance_uid: str
    study_date: str | None
    pseudonymous_uid: str | None
    patient_pseudonym: str | None


@dataclass(frozen=True, slots=True)
class _Picture:
    """What came under a SOP Instance UID in one study."""

    instance_id: int
    study_id: int
    is_current: bool


@dataclass(slots=True)
class _Leads:
    """Value of a key -> what it leads to, of the studies that the project uses."""

    studies: dict[tuple[str, str], set[_UsedStudy]] = field(default_factory=dict)
    """(column, value) -> studies; of patients all of theirs that the identity leads to."""
    pictures: dict[tuple[str, str], set[_Picture]] = field(default_factory=dict)
    """(column, value) -> pictures."""

    def add(self, column: str, value: str, study: _UsedStudy) -> None:
        self.studies.setdefault((column, value), set()).add(study)

    def of(self, column: str, value: str) -> set[_UsedStudy]:
        return self.studies.get((column, value), set())


def find_targets(
    session: Session,
    project_id: int,
    keys: Collection[ReferenceKey],
    identified: Iterable[IdentifiedStudy],
) -> dict[ReferenceKey, Target | Fault]:
    """Return what keys are about, or why nothing: unmatched, ambiguous or contradicting itself.

    Parameters
    ----------
    identified
        What the vault knows of the accession numbers and patient ids among the keys.
    """
    leads = _find_leads(session, project_id, keys, list(identified))
    return {key: _target(key, leads) for key in keys}


def find_used(
    session: Session, project_id: int, targets: Collection[Target]
) -> dict[Target, set[int]]:
    """Return target -> the studies of the project that it is about; without any, it is not there.

    After these studies are locked it says which of them were withdrawn meanwhile.
    """
    of_patients: dict[int, set[int]] = {}
    patients = {target.patient_id for target in targets if target.patient_id is not None}
    for study in _used_studies(session, project_id, Study.patient_id, patients):
        of_patients.setdefault(study.patient_id, set()).add(study.id)
    named = {target.study_id for target in targets if target.study_id is not None}
    used = {study.id for study in _used_studies(session, project_id, Study.id, named)}
    found: dict[Target, set[int]] = {}
    for target in targets:
        if target.patient_id is not None:
            found[target] = of_patients.get(target.patient_id, set())
        elif target.study_id in used:
            found[target] = {target.study_id}
    return {target: studies for target, studies in found.items() if studies}


def _find_leads(
    session: Session,
    project_id: int,
    keys: Collection[ReferenceKey],
    identified: Sequence[IdentifiedStudy],
) -> _Leads:
    leads = _Leads()
    uids = {key.study_instance_uid for key in keys if key.study_instance_uid}
    by_uid: dict[str, _UsedStudy] = {}
    columns: tuple[tuple[str, Any, Collection[str]], ...] = (
        (
            "study_instance_uid",
            Study.study_instance_uid,
            uids | {each.study_instance_uid for each in identified},
        ),
        *(
            (name, column, {getattr(key, name) for key in keys} - {""})
            for name, column in (
                ("study_pseudonym", ProjectStudy.pseudonymous_uid),
                ("patient_pseudonym", ProjectStudy.patient_pseudonym),
            )
        ),
    )
    of_study = {"study_pseudonym": "pseudonymous_uid"}
    for name, column, wanted in columns:
        for study in _used_studies(session, project_id, column, wanted):
            leads.add(name, getattr(study, of_study.get(name, name)), study)
            by_uid[study.study_instance_uid] = study
    for each in identified:
        if found := by_uid.get(each.study_instance_uid):
            leads.add("accession_number", each.accession_number, found)
            if each.patient_key != found.patient_key:
                continue  # an instance of it came under another's ID: it is not their study
            leads.add("patient_id", each.patient_id, found)
            leads.add("issuer", f"{each.issuer_of_patient_id}\x00{each.patient_id}", found)
    _find_pictures(session, project_id, keys, leads)
    return leads


def _used_studies(
    session: Session, project_id: int, column: Any, wanted: Collection[Any]
) -> Iterator[_UsedStudy]:
    for chunk in iterate_chunks(wanted):
        rows = session.execute(
            select(
                Study.id,
                Study.patient_id,
                Patient.patient_key,
                Study.study_instance_uid,
                Study.study_date,
                ProjectStudy.pseudonymous_uid,
                ProjectStudy.patient_pseudonym,
            )
            .join(Patient, Study.patient_id == Patient.id)
            .join(ProjectStudy, ProjectStudy.study_id == Study.id)
            .where(*_is_used(project_id), column.in_(chunk))
        )
        yield from (_UsedStudy(*row) for row in rows)


def _is_used(project_id: int) -> tuple[Any, ...]:
    return (
        ProjectStudy.project_id == project_id,
        ProjectStudy.withdrawn_at.is_(None),
        Study.state != StudyState.WITHDRAWN,
    )


def _find_pictures(
    session: Session, project_id: int, keys: Collection[ReferenceKey], leads: _Leads
) -> None:
    names: dict[str, set[tuple[str, str]]] = {}
    for key in keys:
        if uid := key.sop_instance_uid:
            names.setdefault(uid, set()).add(("sop_instance_uid", uid))
    for chunk in iterate_chunks({key.picture_pseudonym for key in keys} - {""}):
        rows = session.execute(
            select(ProjectInstance.pseudonymous_uid, Instance.sop_instance_uid)
            .join(Instance, ProjectInstance.instance_id == Instance.id)
            .where(
                ProjectInstance.project_id == project_id,
                ProjectInstance.pseudonymous_uid.in_(chunk),
            )
        )
        for pseudonym, uid in rows:
            names.setdefault(uid, set()).add(("picture_pseudonym", pseudonym))
    # The first of all of them: one of them may be held tomorrow, and the target has to stay.
    first_of_each: list[Any] = [
        Instance.sop_instance_uid,
        func.min(Instance.id),
        Series.study_id,
        func.max(case((Instance.superseded_at.is_(None), 1), else_=0)),
    ]
    is_usable = func.max(case((Instance.hold.is_(None), 1), else_=0)) == 1
    for chunk in iterate_chunks(names):
        rows = session.execute(
            select(*first_of_each)
            .join(Series, Instance.series_id == Series.id)
            .join(Study, Series.study_id == Study.id)
            .join(ProjectStudy, ProjectStudy.study_id == Study.id)
            .where(*_is_used(project_id), Instance.sop_instance_uid.in_(chunk))
            .group_by(Instance.sop_instance_uid, Series.study_id)
            .having(is_usable)
        )
        found: list[Any] = list(rows)
        studies = _used_studies(session, project_id, Study.id, {each[2] for each in found})
        by_id = {study.id: study for study in studies}
        for uid, instance_id, study_id, is_current in found:
            if study_id not in by_id:
                continue  # withdrawn between the two statements
            picture = _Picture(instance_id, study_id, bool(is_current))
            for name in names[uid]:
                leads.pictures.setdefault(name, set()).add(picture)
                leads.add(*name, by_id[study_id])


def _target(key: ReferenceKey, leads: _Leads) -> Target | Fault:
    of_studies = [
        leads.of(name, value)
        for name in ("accession_number", "study_instance_uid", "study_pseudonym")
        if (value := getattr(key, name))
    ]
    if key.study_date:
        of_studies.append(_of_day(key, leads))
    of_pictures = [
        leads.pictures.get((name, value), set())
        for name in ("sop_instance_uid", "picture_pseudonym")
        if (value := getattr(key, name))
    ]
    of_patients = [
        {study.patient_id for study in studies} for studies in _studies_of_patient(key, leads)
    ]
    if not all([*of_studies, *of_pictures, *of_patients]):
        return Fault.UNMATCHED
    patients = set.intersection(*of_patients) if of_patients else None
    if key.unit is TruthUnit.PATIENT:
        assert patients is not None, "its key names one"
        return _only(Target(TruthUnit.PATIENT, patient_id=each) for each in patients)
    if of_pictures:
        of_studies += [
            leads.of(name, value)
            for name in ("sop_instance_uid", "picture_pseudonym")
            if (value := getattr(key, name))
        ]
    found = {
        study
        for study in set.intersection(*of_studies)
        if patients is None or study.patient_id in patients
    }
    if key.study_date and len({study.patient_id for study in found}) == 1:
        found = {study for study in found if study.study_date == key.study_date}
    studies = {study.id for study in found}
    if of_pictures:
        pictures = {each for each in set.intersection(*of_pictures) if each.study_id in studies}
        # An archive may have moved it to another study: then it is where it is now.
        current = {each for each in pictures if each.is_current}
        return _only(
            Target(TruthUnit.PICTURE, study_id=each.study_id, instance_id=each.instance_id)
            for each in current or pictures
        )
    unit = TruthUnit.SIDE if key.side else TruthUnit.STUDY
    return _only(Target(unit, study_id=each, side=key.side or None) for each in studies)


def _studies_of_patient(key: ReferenceKey, leads: _Leads) -> Iterator[set[_UsedStudy]]:
    if key.patient_id and key.issuer_of_patient_id:
        yield leads.of("issuer", f"{key.issuer_of_patient_id}\x00{key.patient_id}")
    elif key.patient_id:
        yield leads.of("patient_id", key.patient_id)
    if key.patient_pseudonym:
        yield leads.of("patient_pseudonym", key.patient_pseudonym)


def _of_day(key: ReferenceKey, leads: _Leads) -> set[_UsedStudy]:
    [studies, *_] = _studies_of_patient(key, leads)
    if len({study.patient_id for study in studies}) > 1:
        # One id under two issuers: that only one of the two was here that day tells nothing.
        return studies
    return {study for study in studies if study.study_date == key.study_date}


def _only(targets: Iterable[Target]) -> Target | Fault:
    found = set(targets)
    if len(found) == 1:
        return found.pop()
    return Fault.AMBIGUOUS if found else Fault.SEVERAL_KEYS_DISAGREE
