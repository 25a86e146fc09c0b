"""What statements mean of pictures: the standard of each instance and wording that is asked about.

    statement of a target -> instances within it -> wordings that offer the truth

Whatever is asked later is held against the statements that there are, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import exists, insert, or_, select, union, update
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.audit import new_salt
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.rows import CHUNK, iterate_chunks
from medr1_pacs.db.tables import (
    Instance,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Selection,
    Series,
    Study,
)
from medr1_pacs.records.words import Certainty, TruthSource, TruthUnit
from medr1_pacs.references import first_version, match_option, side_of

_SIDES = ("ImageLaterality", "Laterality", "FrameLaterality")
"""The attributes that `side_of` reads."""


@dataclass(frozen=True, slots=True)
class _Stated:
    """A statement, and of which SOP instance it is where it is of a picture."""

    id: int
    unit: TruthUnit
    patient_id: int | None
    study_id: int | None
    side: str | None
    question_id: str
    truth: str | None
    certainty: Certainty | None
    stated_by: str
    stated_at: datetime
    version: int
    source: TruthSource
    sop_instance_uid: str | None

    def is_about(self, picture: Any) -> bool:
        """Whether a picture of its study, or of its patient, is meant."""
        if self.unit is TruthUnit.PICTURE:
            return bool(picture.sop_instance_uid == self.sop_instance_uid)
        if self.unit is TruthUnit.SIDE:
            return side_of(dict(zip(_SIDES, picture[-len(_SIDES) :], strict=True))) == self.side
        return True


def derive_for_import(
    session: Session, import_id: int | None, known_ids: Collection[int], study_ids: Collection[int]
) -> set[int]:
    """Hold what is asked about studies against what an import states of them; they are locked.

    Parameters
    ----------
    known_ids
        Statements that the import says again: a study may have come since they were made.

    Returns
    -------
    set
        The studies that have pictures of which something is newly known.
    """
    stated = list(
        session.execute(_statements().where(ReferenceStatement.import_id == import_id))
        if import_id is not None
        else ()
    )
    for chunk in iterate_chunks(known_ids):
        stated += session.execute(_statements().where(ReferenceStatement.id.in_(chunk)))
    return _derive(session, [_Stated(*each) for each in stated], study_ids)


def derive_for_study(session: Session, study: Study) -> None:
    """Hold what is asked about a study against what was stated before; it is locked, and so is its
    patient unless nothing was asked yet."""
    uses = select(ProjectStudy.project_id).where(
        ProjectStudy.study_id == study.id, ProjectStudy.withdrawn_at.is_(None)
    )
    stated = session.execute(
        _statements().where(
            or_(
                ReferenceStatement.study_id == study.id,
                ReferenceStatement.patient_id == study.patient_id,
            ),
            ReferenceImport.project_id.in_(uses),
        )
    ).all()
    if stated:
        _derive(session, [_Stated(*each) for each in stated], [study.id])


def _statements() -> Any:
    names = [each.name for each in fields(_Stated)]
    own = [getattr(ReferenceStatement, name) for name in names[:-2]]
    return (
        select(*own, ReferenceImport.source, Instance.sop_instance_uid)
        .join(ReferenceImport, ReferenceStatement.import_id == ReferenceImport.id)
        .outerjoin(Instance, ReferenceStatement.instance_id == Instance.id)
        .order_by(ReferenceStatement.id)
    )


def find_options(session: Session, question_ids: Collection[str]) -> dict[str, list[str]]:
    """Return question id -> every option that a wording of it ever offered, the latest first."""
    options: dict[str, list[str]] = {}
    for wording in reversed(_wordings(session, question_ids)):
        options.setdefault(wording.question_id, []).extend(wording.options)
    return options


@dataclass(frozen=True, slots=True)
class _Wording:
    id: int
    question_id: str
    options: tuple[str, ...]


def _wordings(session: Session, question_ids: Collection[str]) -> list[_Wording]:
    return [
        _Wording(row_id, question_id, tuple(definition["options"]))
        for chunk in iterate_chunks(question_ids)
        for row_id, question_id, definition in session.execute(
            select(Question.id, Question.question_id, Question.definition)
            .where(Question.question_id.in_(chunk))
            .order_by(Question.id)
        )
    ]


def _derive(session: Session, stated: Sequence[_Stated], study_ids: Collection[int]) -> set[int]:
    """Write the standards that are not there yet; returns the studies that have pictures of them.

    Every statement holds for these studies, as far as it is about them.
    """
    wordings = {row.id: row for row in _wordings(session, {each.question_id for each in stated})}
    of_studies: dict[tuple[int | None, str], list[_Stated]] = {}
    of_patients: dict[tuple[int | None, str], list[_Stated]] = {}
    for each in stated:
        if each.unit is TruthUnit.PATIENT:
            of_patients.setdefault((each.patient_id, each.question_id), []).append(each)
        else:
            of_studies.setdefault((each.study_id, each.question_id), []).append(each)
    rows: list[dict[str, Any]] = []
    study_of: dict[int, int] = {}
    for picture in _asked_pictures(session, study_ids, wordings):
        wording = wordings[picture.question_id]
        for each in (
            *of_patients.get((picture.patient_id, wording.question_id), ()),
            *of_studies.get((picture.study_id, wording.question_id), ()),
        ):
            if each.is_about(picture) and (row := _standard(picture.id, wording, each)):
                rows.append(row)
                study_of[picture.id] = picture.study_id
    there = _find_standards(session, study_of)
    # What stands under the same key by another statement is an error, and says so.
    new = [row for row in rows if there.get(_key(row)) != row["statement_id"]]
    for first in range(0, len(new), CHUNK):
        rows_now = [row | {"record_salt": new_salt()} for row in new[first : first + CHUNK]]
        ids = session.scalars(insert(ReferenceStandard).returning(ReferenceStandard.id), rows_now)
        tell_records(session, "reference.derived", "reference_standard", ids.all())
    _supersede(session, study_of)
    return {study_of[row["instance_id"]] for row in new}


_KEY = ("instance_id", "question_id", "source", "unit", "version")


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _find_standards(
    session: Session, instance_ids: Collection[int]
) -> dict[tuple[Any, ...], int | None]:
    """Return key -> the statement of the standards that are there."""
    columns = [getattr(ReferenceStandard, name) for name in (*_KEY, "statement_id")]
    return {
        tuple(key): statement_id
        for chunk in iterate_chunks(instance_ids)
        for *key, statement_id in session.execute(
            select(*columns).where(ReferenceStandard.instance_id.in_(chunk))
        )
    }


def _supersede(session: Session, instance_ids: Collection[int]) -> None:
    """Note of which standards their source has a later version."""
    later = aliased(ReferenceStandard)
    same = [getattr(later, name) == getattr(ReferenceStandard, name) for name in _KEY[:-1]]
    is_superseded = exists().where(*same, later.version > ReferenceStandard.version)
    now = datetime.now(UTC)
    for chunk in iterate_chunks(instance_ids):
        superseded = session.scalars(
            update(ReferenceStandard)
            .where(
                ReferenceStandard.instance_id.in_(chunk),
                ReferenceStandard.superseded_at.is_(None),
                is_superseded,
            )
            .values(superseded_at=now)
            .returning(ReferenceStandard.id)
            .execution_options(synchronize_session=False)
        )
        tell_records(
            session, "reference.superseded", "reference_standard", sorted(superseded.all())
        )


def _asked_pictures(
    session: Session, study_ids: Collection[int], wordings: Mapping[int, _Wording]
) -> Iterator[Any]:
    """Yield each instance and wording that is asked about, or was."""
    columns = (
        Series.study_id,
        Study.patient_id,
        Instance.id,
        Instance.sop_instance_uid,
    )
    sides = [Instance.attributes[name].as_string().label(name) for name in _SIDES]
    for chunk in iterate_chunks(study_ids):
        for questions in iterate_chunks(wordings):
            asked = union(
                *(
                    select(Rendering.instance_id, table.question_id)
                    .join(table, table.rendering_id == Rendering.id)
                    .join(Instance, Rendering.instance_id == Instance.id)
                    .join(Series, Instance.series_id == Series.id)
                    .where(Series.study_id.in_(chunk), table.question_id.in_(questions))
                    for table in (Prompt, Selection)
                )
            ).subquery()
            yield from session.execute(
                select(*columns, asked.c.question_id, *sides)
                .join(Series, Instance.series_id == Series.id)
                .join(Study, Series.study_id == Study.id)
                .join(asked, asked.c.instance_id == Instance.id)
                .order_by(Instance.id, asked.c.question_id)
            )


def _standard(instance_id: int, wording: _Wording, each: _Stated) -> dict[str, Any] | None:
    truth = None if each.truth is None else match_option(each.truth, wording.options)
    if truth is None and each.version == first_version(each.source, each.unit):
        return None
    # A later version that this wording has no option for still says that the earlier one is wrong.
    return {
        "instance_id": instance_id,
        "question_id": wording.id,
        "truth": truth,
        "source": each.source,
        "unit": each.unit,
        "certainty": each.certainty,
        "stated_by": each.stated_by,
        "version": each.version,
        "stated_at": each.stated_at,
        "statement_id": each.id,
    }
