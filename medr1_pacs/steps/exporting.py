"""export: a folder that somebody who trusts nobody can check.

    head of the log -> rows as of it -> files -> manifest -> signature

The same head, filters and versions give the same bytes, but for what was withdrawn since.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from medr1_pacs.audit.canonical import canonical_json
from medr1_pacs.audit.events import Event
from medr1_pacs.audit.export_form import (
    COUNTED,
    EVENTS,
    FORMAT,
    GUIDE,
    LEAVES,
    MANIFEST,
    SIGNED,
    VERIFIER,
    WITHDRAWN,
    checked_by,
    count_event,
    finish_counts,
    follow_role,
)
from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import TreeHead, VerifierKey, parse_note
from medr1_pacs.audit.reading_events import ReadingEvents
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.as_of import IdSet
from medr1_pacs.db.exporting import ExportReader, open_export
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ExportRefused
from medr1_pacs.exports.cells import Cells, Table
from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.exports.event_lines import event_line
from medr1_pacs.exports.json_lines import json_line
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.dictionary import DictionaryEntry, describe_fields
from medr1_pacs.records.exported import LINES, TABLES
from medr1_pacs.records.words import JsonObject, TableFormat
from medr1_pacs.steps.exporting_lists import MedR1Lists
from medr1_pacs.steps.exporting_results import write_results
from medr1_pacs.storage.export_folder import ExportFolder
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.verifier.standalone import assemble_verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is exported, and what of it is shown."""

    project: str
    filters: AnswerFilters
    formats: tuple[TableFormat, ...] = (TableFormat.CSV,)
    shows_times: bool = False
    """Show when things happened, which gives the days of studies away."""
    shows_reasons: bool = False
    """Show the reasons that people and programs gave, and what readers wrote, which may name a file
    or a person."""
    has_pictures: bool = True
    """Lay the pictures beside the lists of Med-R1."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds."""

    rows: Mapping[str, int]
    size: int
    """Of the head that it is as of."""
    pictures_lost: int
    """Pictures that could not be copied; the lists name them all the same."""


def write_export(
    database: Database,
    pictures: PictureStore,
    folder: Path,
    request: ExportRequest,
    head: str,
    key: SigningKey,
    *,
    progress: Callable[[str, int], None] = lambda table, rows: None,
) -> Exported:
    """Write an export into a folder that is empty, or not there yet.

    Parameters
    ----------
    head
        The signed head of the log that it is as of.
    progress
        Called now and then with a table and how many of its rows are written.

    Raises
    ------
    ExportRefused
        Nothing can be exported so.
    """
    folder.mkdir(exist_ok=True)
    out = ExportFolder(folder, request.formats, progress)
    tree = TreeHead.parse(parse_note(head).text)
    with open_export(database, request.project, request.filters, tree.size) as reader:
        export = _Export(out, request, reader, pictures)
        export.write_rows()
        export.write_log(tree, key.verifier)
        export.write_reading()
    export.write_words()
    export.write_manifest(head, tree, key)
    return Exported(out.rows, tree.size, export.pictures_lost)


def check_formats(formats: Collection[TableFormat]) -> None:
    """Raise `ExportRefused` unless the verifier that travels along can read a format, and all can
    be written."""
    if not set(formats) & {TableFormat.CSV, TableFormat.JSONL}:
        raise ExportRefused(
            "an export in Parquet alone could be checked by nobody without other programs: name "
            "csv or jsonl besides"
        )
    if TableFormat.PARQUET in formats and find_spec("pyarrow") is None:
        raise ExportRefused("Parquet needs pyarrow: `pip install 'medr1-pacs[parquet]'`")


class _Export:
    """What stands in which file of an export, and what of it the later ones need."""

    def __init__(
        self,
        folder: ExportFolder,
        request: ExportRequest,
        reader: ExportReader,
        pictures: PictureStore,
    ) -> None:
        self._folder = folder
        self._request = request
        self._reader = reader
        self._pictures = pictures
        self._questions: set[int] = set()
        self._checkpoints: set[int] = set()
        self._exported = IdSet()
        self._counts = dict.fromkeys(COUNTED, 0)
        self._roles: dict[int, tuple[list[str], list[str]]] = {}
        self._closed: set[int] = set()
        self._reading = ReadingEvents()
        self._statements: list[str] = []
        self._dates = ""
        self._wide_columns: list[str] = []
        self.pictures_lost = 0

    # -- tables ------------------------------------------------------------------------------------

    def write_rows(self) -> None:
        """Write what the database has: answers first, which say what they were asked with."""
        reader = self._reader
        with MedR1Lists(
            self._folder, self._pictures, has_pictures=self._request.has_pictures
        ) as lists:
            columns = _columns_of("answers")
            answers = self._note_answers(Table(columns), reader.answers(), lists)
            self._folder.write_table("answers", Table(columns), answers)
        self.pictures_lost = lists.lost
        self._write_wide()
        self._write("left_out", reader.left_out(self._exported))
        self._write("selections", self._note_questions(reader.selections()))
        self._write("references", self._note_questions(reader.references()))
        self._write("reading_cases", self._note_questions(reader.cases()))
        self._write("reviews", reader.reviews(hidden=self._hidden_of_reviews()))
        self._write("questions", reader.questions(self._questions))
        self._write("checkpoints", reader.checkpoints(self._checkpoints))
        lines = map(json_line, self._note_withdrawn(reader.withdrawn()))
        self._folder.write_lines(WITHDRAWN, lines)

    def _hidden_of_reviews(self) -> list[str]:
        times, texts = ("opened_at", "locked_at"), ("cannot_assess", "comment", "reason")
        request = self._request
        return [*(() if request.shows_times else times), *(() if request.shows_reasons else texts)]

    def _note_answers(
        self, table: Table, rows: Iterable[Cells], lists: MedR1Lists
    ) -> Iterator[Cells]:
        answer, question, checkpoint = (
            table.names.index(name) for name in ("answer_id", "question_row", "checkpoint_row")
        )
        questions: set[str | None] = set()
        checkpoints: set[str | None] = set()
        add = lists.adder(table)
        for row in rows:
            self._exported.add(int(row[answer] or 0))
            questions.add(row[question])
            checkpoints.add(row[checkpoint])
            add(row)
            yield row
        self._questions |= {int(each) for each in questions if each}
        self._checkpoints |= {int(each) for each in checkpoints if each}

    def _note_questions(self, rows: Iterable[JsonObject]) -> Iterator[JsonObject]:
        for row in rows:
            self._questions.add(row["question_row"])
            yield row

    def _note_withdrawn(self, rows: Iterable[JsonObject]) -> Iterator[JsonObject]:
        for row in rows:
            self._counts["withdrawn"] += row["kind"] == "answer"
            yield row

    def _write(self, table: str, rows: Iterable[JsonObject]) -> None:
        columns = Table(_columns_of(table))
        self._folder.write_table(table, columns, map(columns.cells, rows))

    def _write_wide(self) -> None:
        """Write a row a picture, with a column a question: first which there are."""
        ids: set[str] = set()
        for _, chosen in self._reader.wide(self._exported):
            ids |= chosen.keys()
        columns = dict.fromkeys((*_WIDE, *sorted(ids)), "str | None")
        columns["frame_number"] = "int"
        self._wide_columns = sorted(ids)
        rows = (
            head | {name: chosen.get(name) for name in self._wide_columns}
            for head, chosen in self._reader.wide(self._exported)
        )
        wide = Table(columns)
        self._folder.write_table("answers_wide", wide, map(wide.cells, rows))

    # -- the log -----------------------------------------------------------------------------------

    def write_log(self, head: TreeHead, key: VerifierKey) -> None:
        """Write the events of the project, and the hashes of all."""
        events = self._reader.events(
            questions=self._questions,
            checkpoints=self._checkpoints,
            accounts=self._reader.members(),
        )
        self._folder.write_lines(EVENTS, self._note_events(events))
        self._statements = self._reader.key_statements(key)
        self._dates = self._reader.date_policy()
        edge = Frontier()
        self._folder.write_blocks(LEAVES, self._grow(edge))
        if (edge.size, edge.root()) != (head.size, head.root):
            raise ExportRefused(
                "the audit log is not what its head says: see `medr1-pacs audit verify --database`"
            )

    def _grow(self, edge: Frontier) -> Iterator[bytes]:
        for leaf in self._reader.leaves():
            edge.add(leaf)
            yield leaf

    def _note_events(self, events: Iterable[tuple[int, Event]]) -> Iterator[str]:
        for seq, event in events:
            told = event.told
            count_event(self._counts, event.action, told)
            with suppress(
                KeyError, TypeError, AttributeError
            ):  # the verifier says what has no form
                self._reading.follow(event.action, event.object_id, event.account_id, told, seq)
            follow_role(
                self._roles, self._closed, event.action, event.object_id, told,
                self._request.project,
            )  # fmt: skip
            yield event_line(
                seq,
                event,
                shows_times=self._request.shows_times,
                shows_reasons=self._request.shows_reasons,
            )

    def write_reading(self) -> None:
        """Write of reading protocols what follows from the events."""
        reader, events = self._reader, self._reading
        shows_times = self._request.shows_times
        self._write("reading_protocols", reader.protocols(events, shows_times=shows_times))
        self._write("reading_people", reader.people())
        self._write("assignments", reader.assignments(events))
        write_results(self._folder, reader.judged(), self._hidden_of_reviews())

    # -- what explains it --------------------------------------------------------------------------

    def write_words(self) -> None:
        """Write counts, accounts, the dictionary, the guide and the verifier."""
        counts = self._counts
        rows = self._folder.rows
        counts["exported"], counts["left_out"] = rows["answers"], rows["left_out"]
        finish_counts(counts)
        self._write(
            "accounts",
            (
                {
                    "account_id": account_id,
                    "roles": sorted(roles),
                    "had_roles": sorted(had),
                    "is_closed": account_id in self._closed,
                }
                for account_id, (roles, had) in sorted(self._roles.items())
            ),
        )
        self._write(
            "counts",
            (
                {"name": name, "number": counts[name], "meaning": meaning}
                for name, meaning in COUNTED.items()
            ),
        )
        self._write_dictionary()
        self._folder.write_text(VERIFIER, assemble_verifier())
        guide = files("medr1_pacs.verifier").joinpath(GUIDE).read_text("utf-8")
        self._folder.write_text(GUIDE, guide)

    def _write_dictionary(self) -> None:
        entries = [
            (table, entry)
            for table, record in {**TABLES, **LINES}.items()
            for entry in describe_fields(record)
        ]
        entries += [("answers_wide", entry) for entry in _describe_wide(self._wide_columns)]
        rows = (
            {
                "table": table,
                "name": entry.name,
                "type": entry.type,
                "meaning": entry.meaning,
                "checked": checked_by(table, entry.name),
            }
            for table, entry in entries
        )
        columns = ["table", "name", "type", "meaning", "checked"]
        self._folder.write_text("dictionary.csv", "".join(csv_lines(columns, rows)))

    def write_manifest(self, head: str, tree: TreeHead, key: SigningKey) -> None:
        """Say what the export is, and sign it."""
        request = self._request
        body: JsonObject = {
            "format": FORMAT,
            "note": "Research use only, never for clinical decisions.",
            "project": request.project,
            "filters": request.filters.to_query(),
            "shows": {
                "times": request.shows_times,
                "reasons": request.shows_reasons,
                "dates": self._dates,
            },
            "versions": {
                "medr1-pacs": version("medr1-pacs"),
                "python": ".".join(map(str, sys.version_info[:2])),
                **(
                    {"pyarrow": version("pyarrow")}
                    if TableFormat.PARQUET in request.formats
                    else {}
                ),
            },
            "log": {
                "origin": tree.origin,
                "size": tree.size,
                "root": tree.root.hex(),
                "head": head,
                "key_statements": self._statements,
            },
            "counts": self._counts,
            "files": dict(sorted(self._folder.files.items())),
            "key": str(key.verifier),
        }
        signature = key.sign_bytes(SIGNED + canonical_json(body))
        manifest = body | {"signature": base64.b64encode(signature).decode()}
        text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
        self._folder.put(MANIFEST, text.encode())


_WIDE = {
    "patient_pseudonym": "The patient, in this project.",
    "study_instance_uid": "Pseudonymous.",
    "series_instance_uid": "Pseudonymous.",
    "sop_instance_uid": "Pseudonymous.",
    "frame_number": "From 1, as in DICOM.",
    "checkpoint": "The one that answered.",
    "kind": "Why it was asked: `protocol`, or a control.",
}


def _describe_wide(questions: Sequence[str]) -> Iterator[DictionaryEntry]:
    for name, meaning in _WIDE.items():
        yield DictionaryEntry(name, "int" if name == "frame_number" else "str", meaning)
    for name in questions:
        meaning = (
            f"The option that answers the question {name}; empty: not parsed, or not asked. Of run "
            "1, of several wordings the latest answer."
        )
        yield DictionaryEntry(name, "str | None", meaning)


def _columns_of(table: str) -> dict[str, str]:
    return {entry.name: entry.type for entry in describe_fields(TABLES[table])}
