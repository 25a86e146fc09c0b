"""A reference standard that was brought: the files, and what they state.

file -> statements, each a version of what its source says of a target
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.facets import lock_patients, lock_studies, refresh_many
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.reference_keys import find_targets, find_used
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.standards import derive_for_import, find_options
from medr1_pacs.db.tables import Patient, Project, ReferenceImport, ReferenceStatement
from medr1_pacs.db.vault import IdentifiedStudy
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.records.references import (
    Fault,
    ImportListing,
    ReferenceLine,
    ReferenceReport,
    Target,
)
from medr1_pacs.records.words import Certainty, TruthSource, TruthUnit
from medr1_pacs.references import ParsedReferences, find_repeats, first_version, match_option


def get_project_id(session: Session, project: str) -> int:
    """Return the id of a project's row.

    Raises
    ------
    ReferenceRefused
        Nothing ever came for a project of this name.
    """
    found = session.scalar(select(Project.id).where(Project.name == project))
    if found is None:
        raise ReferenceRefused(f"no study ever came for a project {project!r}: check its name")
    return found


def list_imports(session: Session, project: str) -> list[ImportListing]:
    """Return the files of truths that were brought to a project, the latest first."""
    rows = session.scalars(
        select(ReferenceImport)
        .join(Project, ReferenceImport.project_id == Project.id)
        .where(Project.name == project)
        .order_by(ReferenceImport.id.desc())
    )
    names = [each.name for each in fields(ImportListing) if each.name != "import_id"]
    return [
        ImportListing(import_id=row.id, **{name: getattr(row, name) for name in names})
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest that a source says of a target and a question."""

    statement_id: int
    version: int
    truth: str | None
    certainty: Certainty | None
    project_id: int

    def says(self, line: ReferenceLine, target: Target, project_id: int) -> bool:
        """Whether a line says nothing beyond it."""
        # Of a patient it is held against the studies that its own project uses.
        is_here = target.unit is not TruthUnit.PATIENT or self.project_id == project_id
        # An option that a later wording spells otherwise is the same option.
        is_same = self.truth is not None and match_option(self.truth, [line.truth]) is not None
        return is_here and is_same and self.certainty == line.certainty


@dataclass(frozen=True, slots=True)
class NewStatement:
    """What is to be written of a line."""

    line: ReferenceLine
    target: Target
    version: int


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file says, and what of it is to be written."""

    report: ReferenceReport
    statements: tuple[NewStatement, ...]
    unchanged: frozenset[int]
    """Statements that the file says again, by id."""
    study_ids: frozenset[int]
    """What all of these are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImport:
    """A file whose statements are to be written, and by whom."""

    project_id: int
    source: TruthSource
    lines: int
    statements: Sequence[NewStatement]
    unchanged: Collection[int]
    """Statements that are said again, by id."""
    study_ids: Collection[int]
    """What they are about; all of them are locked."""
    stated_by: str
    """Where a line does not say."""
    imported_by: str
    imported_at: datetime


def add_import(session: Session, new: NewImport) -> None:
    """Write statements, what they mean of each picture, and the narrow rows of its answers.

    A file that says nothing new is no import, but a study may have come since it was one.
    """
    import_id = _add_statements(session, new) if new.statements else None
    refresh_many(session, derive_for_import(session, import_id, new.unchanged, new.study_ids))


def _add_statements(session: Session, new: NewImport) -> int:
    row = ReferenceImport(
        project_id=new.project_id,
        source=new.source,
        lines=new.lines,
        statements=len(new.statements),
        imported_by=new.imported_by,
        imported_at=new.imported_at,
    )
    session.add(row)
    session.flush()
    ids = session.scalars(
        insert(ReferenceStatement).returning(ReferenceStatement.id),
        [_statement_values(row.id, new, each) for each in new.statements],
    )
    tell_records(
        session, "reference.stated", "reference_statement", ids.all(), actor=new.imported_by
    )
    add_event(
        session,
        "reference.imported",
        "reference_import",
        row.id,
        actor=new.imported_by,
        new={
            "source": new.source,
            "lines": new.lines,
            "statements": len(new.statements),
        },
    )
    return row.id


def examine(
    session: Session,
    project_id: int,
    source: TruthSource,
    parsed: ParsedReferences,
    options: Mapping[str, Sequence[str]],
    identified: Collection[IdentifiedStudy],
    *,
    lock: bool,
) -> Examined:
    """Look up what the lines of a file are about, and what they say beyond what is known.

    Parameters
    ----------
    options
        Question id -> options, of the questions that a plan would ask today.
    identified
        What the vault knows of the lines' accession numbers and patient ids.
    lock
        Keep the studies as they are until the transaction ends, to write of them.
    """
    faults = dict(parsed.faults)
    lines = _with_options(session, parsed.lines, options, faults)
    targets = find_targets(session, project_id, {line.key for line in lines}, identified)
    found = {target for target in targets.values() if isinstance(target, Target)}
    used = (_lock_used if lock else find_used)(session, project_id, found)
    said: list[tuple[ReferenceLine, Target]] = []
    for line in lines:
        target = targets[line.key]
        if isinstance(target, Fault):
            faults[line.number] = target
        elif target not in used:
            faults[line.number] = Fault.UNMATCHED
        else:
            said.append((line, target))
    faults |= find_repeats(said)
    said = [(line, target) for line, target in said if line.number not in faults]
    newest = _find_newest(session, source, {target for _, target in said})
    statements = []
    unchanged: set[int] = set()
    new = 0
    for line, target in said:
        known = newest.get((target, line.question_id))
        if known is None:
            new += 1
            first = first_version(source, target.unit)
            statements.append(NewStatement(line, target, first))
        elif known.says(line, target, project_id):
            unchanged.add(known.statement_id)
        else:
            statements.append(NewStatement(line, target, known.version + 1))
    report = ReferenceReport(
        lines=len(parsed.lines) + len(parsed.faults),
        new=new,
        changed=len(statements) - new,
        unchanged=len(said) - len(statements),
        faults=_by_fault(faults),
    )
    about = {study for _, target in said for study in used[target]}
    return Examined(report, tuple(statements), frozenset(unchanged), frozenset(about))


def _lock_used(
    session: Session, project_id: int, targets: Collection[Target]
) -> dict[Target, set[int]]:
    """Return what `find_used` does, of patients and studies that are locked."""
    patients = {target.patient_id for target in targets if target.patient_id is not None}
    for chunk in iterate_chunks(patients):
        lock_patients(session, select(Patient.id).where(Patient.id.in_(chunk)))
    locked: set[int] = set()
    while True:  # without what was withdrawn meanwhile, and with what came
        used = find_used(session, project_id, targets)
        ids = {study for studies in used.values() for study in studies}
        if ids <= locked:
            return used
        for chunk in iterate_chunks(ids - locked):
            lock_studies(session, chunk)
        locked |= ids


def _with_options(
    session: Session,
    lines: Sequence[ReferenceLine],
    options: Mapping[str, Sequence[str]],
    faults: dict[int, Fault],
) -> list[ReferenceLine]:
    """Return the lines whose truth is an option, as the option is spelled."""
    asked = find_options(session, {line.question_id for line in lines})
    known = {
        question_id: (*options.get(question_id, ()), *asked.get(question_id, ()))
        for question_id in {*options, *asked}
    }
    matched = []
    for line in lines:
        if line.question_id not in known:
            faults[line.number] = Fault.UNKNOWN_QUESTION
        elif option := match_option(line.truth, known[line.question_id]):
            matched.append(replace(line, truth=option))
        else:
            faults[line.number] = Fault.NOT_AN_OPTION
    return matched


def _by_fault(faults: Mapping[int, Fault]) -> dict[Fault, tuple[int, ...]]:
    return {
        fault: numbers
        for fault in Fault
        if (numbers := tuple(sorted(n for n, each in faults.items() if each is fault)))
    }


def _find_newest(
    session: Session, source: TruthSource, targets: Collection[Target]
) -> dict[tuple[Target, str], _Known]:
    """Return (target, question id) -> the newest that the source says of it so far."""
    newest: dict[tuple[Target, str], _Known] = {}
    for column, ids in (
        (ReferenceStatement.study_id, {target.study_id for target in targets}),
        (ReferenceStatement.patient_id, {target.patient_id for target in targets}),
    ):
        for chunk in iterate_chunks(each for each in ids if each is not None):
            rows = session.execute(
                select(
                    ReferenceStatement.unit,
                    ReferenceStatement.patient_id,
                    ReferenceStatement.study_id,
                    ReferenceStatement.instance_id,
                    ReferenceStatement.side,
                    ReferenceStatement.question_id,
                    ReferenceStatement.id,
                    ReferenceStatement.version,
                    ReferenceStatement.truth,
                    ReferenceStatement.certainty,
                    ReferenceImport.project_id,
                )
                .join(ReferenceImport, ReferenceStatement.import_id == ReferenceImport.id)
                .where(ReferenceImport.source == source, column.in_(chunk))
                .order_by(ReferenceStatement.version)
            )
            for unit, patient_id, study_id, instance_id, side, question_id, *known in rows:
                target = Target(unit, patient_id, study_id, instance_id, side)
                newest[target, question_id] = _Known(*known)
    return newest


def _statement_values(import_id: int, new: NewImport, each: NewStatement) -> dict[str, Any]:
    target, line = each.target, each.line
    return {
        "import_id": import_id,
        "unit": target.unit,
        "patient_id": target.patient_id,
        "study_id": target.study_id,
        "instance_id": target.instance_id,
        "side": target.side,
        "question_id": line.question_id,
        "truth": line.truth,
        "certainty": line.certainty,
        "stated_by": line.stated_by or new.stated_by,
        "stated_at": line.stated_at or new.imported_at,
        "version": each.version,
        "record_salt": new_salt(),
    }
