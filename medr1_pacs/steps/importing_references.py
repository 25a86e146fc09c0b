"""A file of truths -> what its lines say of the project's studies -> all of it at once, or nothing.

The vault is asked what the keys lead to; of the keys themselves nothing is kept, and faults are
told by the numbers of lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from medr1_pacs.db.references import NewImport, add_import, examine, get_project_id
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.vault import IdentifiedStudy, find_identified
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.records.references import ReferenceReport
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.references import STATED_BY_MAX, ParsedReferences, parse_references

Options = Mapping[str, Sequence[str]]
"""Question id -> options, of the question bank; what was ever asked is known beside it."""


class LinesFaulty(ReferenceRefused):
    """Lines of the file have faults, and it was not said to leave them out."""

    def __init__(self, report: ReferenceReport) -> None:
        counts = ", ".join(f"{len(lines):,} {fault}" for fault, lines in report.faults.items())
        super().__init__(
            f"nothing was imported: {report.faulty:,} of {report.lines:,} lines have faults "
            f"({counts}); correct them, or import the others by leaving out faulty lines"
        )
        self.report = report


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtFile:
    """A file of truths, and what holds for those of its lines that do not say otherwise."""

    data: bytes
    project: str
    source: TruthSource = TruthSource.IMPORT
    certainty: Certainty | None = None
    stated_by: str = ""
    """Empty: who imports it."""

    def __repr__(self) -> str:  # a traceback or a log line must not name a patient
        return f"BroughtFile(project={self.project!r}, source={self.source!r})"


def check_references(
    research: Database, vault: Database, file: BroughtFile, options: Options
) -> ReferenceReport:
    """Say what an import of a file would do; writes nothing.

    Raises
    ------
    ReferenceRefused
        The file cannot be read at all.
    """
    parsed, identified = _read(vault, file)
    with research.read() as session:
        project_id = get_project_id(session, file.project)
        examined = examine(
            session, project_id, file.source, parsed, options, identified, lock=False
        )
    return examined.report


def import_references(
    research: Database,
    vault: Database,
    file: BroughtFile,
    options: Options,
    *,
    actor: str,
    leave_out_faulty: bool = False,
) -> ReferenceReport:
    """Write what a file states, with all that follows from it, in one transaction.

    Raises
    ------
    ReferenceRefused
        The file cannot be read at all.
    LinesFaulty
        A line has a fault, and faulty ones are not to be left out: nothing is written.
    """
    parsed, identified = _read(vault, file)
    with research.write() as session:
        project_id = get_project_id(session, file.project)
        examined = examine(session, project_id, file.source, parsed, options, identified, lock=True)
        if examined.report.faults and not leave_out_faulty:
            raise LinesFaulty(examined.report)
        new = NewImport(
            project_id=project_id,
            source=file.source,
            lines=examined.report.lines,
            statements=examined.statements,
            unchanged=examined.unchanged,
            study_ids=examined.study_ids,
            stated_by=file.stated_by or actor[:STATED_BY_MAX],
            imported_by=actor,
            imported_at=datetime.now(UTC),
        )
        add_import(session, new)
    return examined.report


def _read(vault: Database, file: BroughtFile) -> tuple[ParsedReferences, list[IdentifiedStudy]]:
    if len(file.stated_by) > STATED_BY_MAX or not (file.stated_by or "-").isprintable():
        raise ReferenceRefused(
            f"who states it is named in 1 to {STATED_BY_MAX} printable characters"
        )
    parsed = parse_references(file.data)
    lines = tuple(
        replace(line, certainty=line.certainty or file.certainty) for line in parsed.lines
    )
    identified = find_identified(
        vault,
        accession_numbers={line.key.accession_number for line in lines} - {""},
        patient_ids={line.key.patient_id for line in lines} - {""},
    )
    return replace(parsed, lines=lines), identified
