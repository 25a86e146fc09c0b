"""Answers as research sees them: `query`, `accuracy`, snapshots, and the data dictionary."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_lines, print_table
from medr1_pacs.cli.wiring import open_research, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.reading import record_accuracy, record_query, record_snapshot
from medr1_pacs.db.research import count_facets, count_found, iterate_found
from medr1_pacs.db.snapshots import iterate_rows, list_columns, list_snapshots
from medr1_pacs.errors import SettingInvalid
from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.exports.json_lines import json_lines
from medr1_pacs.exports.sqlite_file import write_sqlite
from medr1_pacs.filters import AnswerFilters, FilterInvalid, parse_filters
from medr1_pacs.projects import DEFAULT_PROJECT
from medr1_pacs.records.accuracy import FIGURES, UNIT, AccuracyRow, Grouping, say_share
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.reading import How
from medr1_pacs.records.research import FIELDS, ResearchAnswer
from medr1_pacs.records.words import JsonObject
from medr1_pacs.steps.citing import check_snapshot, make_snapshot
from medr1_pacs.steps.estimating import GroupingRefused, choose_grouping, estimate

snapshots_app = typer.Typer(help="Answers to cite, as they were.", no_args_is_help=True)

_TABLE = (
    "answer_id", "modality", "anatomy", "question_id", "choice", "choice_text", "truth",
    "is_correct", "checkpoint", "study_date",
)  # fmt: skip
_ACCURACY = (
    "accuracy", "interval", "method", "right", "answers", "patients", "few_patients", "unparsed",
    "unknown_truth",
)  # fmt: skip

Project = Annotated[str, typer.Option(help="The project whose pseudonyms and dates are shown")]
Where = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILTER=VALUE...",
        help="As modality=CT truth=wrong words='left lobe'; a filter twice: either value",
    ),
]


class QueryFormat(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    SQLITE = "sqlite"  #: a file; needs --out


class AccuracyFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"  #: one array


class SnapshotFormat(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def query(
    where: Where = None,
    project: Project = DEFAULT_PROJECT,
    output: Annotated[QueryFormat, typer.Option("--format")] = QueryFormat.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="File to write, with --format sqlite: there is none yet")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many")] = False,
    facets: Annotated[bool, typer.Option("--facets", help="How many of each value")] = False,
    dictionary: Annotated[
        bool, typer.Option("--dictionary", help="What each field is, and nothing else")
    ] = False,
) -> None:
    """Find answers as research sees them: pseudonyms, dates by the project's policy."""
    if dictionary:
        entries = [
            {"name": entry.name, "type": entry.type, "meaning": entry.meaning}
            for entry in describe_fields(ResearchAnswer)
        ]
        _print(output, "Data dictionary", ("name", "type", "meaning"), entries)
        return
    if (output is QueryFormat.SQLITE) is (out is None):
        raise typer.BadParameter("--format sqlite and --out FILE belong together")
    filters = parse_where(where)
    research = open_research(read_settings())
    record_query(research, project, filters, _how(output), actor=OPERATOR)
    if count or facets:
        with research.read() as session:
            if count:
                found = count_found(session, project, filters)
                print(f"{found.number}{'+' if found.is_at_least else ''}")
                return
            counts = count_facets(session, project, filters)
        rows = [
            {"facet": name, "value": value, "answers": number}
            for name, values in counts.values.items()
            for value, number in values
        ]
        _print(output, "Answers by facet", ("facet", "value", "answers"), rows)
        return
    answers = (answer.to_json() for answer in iterate_found(research, project, filters))
    if out is not None:
        _write_file(out, answers)
        return
    _print(output, "Answers (research use only)", _TABLE, answers, FIELDS)


def accuracy(
    where: Where = None,
    project: Project = DEFAULT_PROJECT,
    by: Annotated[
        list[Grouping] | None,
        typer.Option(help="Group by this; up to three. Without: by question and checkpoint"),
    ] = None,
    output: Annotated[AccuracyFormat, typer.Option("--format")] = AccuracyFormat.TABLE,
) -> None:
    """Say how often answers are right, of those with a known truth; intervals are by patient."""
    try:
        grouping = choose_grouping(by or ())
    except GroupingRefused as error:
        raise typer.BadParameter(str(error)) from error
    filters, research = parse_where(where), open_research(read_settings())
    record_accuracy(research, project, filters, grouping, _how(output), actor=OPERATOR)
    rows = estimate(research, project, filters, grouping)
    columns = tuple(each.value for each in grouping)
    if output is AccuracyFormat.JSON:
        print(json.dumps([row.to_json() for row in rows], indent=1))
    elif output is AccuracyFormat.CSV:
        print_lines(csv_lines((*columns, *FIGURES), (row.to_json() for row in rows)))
    else:
        title = f"Right answers, of those with a known truth; one is {UNIT} (research use only)"
        print_table(title, (*columns, *_ACCURACY), map(_as_text, rows))


def _as_text(row: AccuracyRow) -> JsonObject:
    return row.to_json() | {"accuracy": say_share(row.accuracy), "interval": row.interval}


@snapshots_app.command("make")
def make(
    name: Annotated[str, typer.Argument(help="What a paper calls it")],
    where: Where = None,
    project: Project = DEFAULT_PROJECT,
    description: Annotated[str, typer.Option()] = "",
) -> None:
    """Freeze what the filters find now."""
    research = open_research(read_settings())
    snapshot = make_snapshot(
        research, project, name, parse_where(where), description=description, actor=OPERATOR
    )
    print(f"{snapshot.sha256}  {snapshot.answers} answers")


@snapshots_app.command("list")
def list_all(
    project: Project = DEFAULT_PROJECT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """List the snapshots of a project."""
    research = open_research(read_settings())
    with research.read() as session:
        rows = [snapshot.to_json() for snapshot in list_snapshots(session, project)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print_table("Snapshots", ("name", "answers", "sha256", "made_at", "made_by"), rows)


@snapshots_app.command("show")
def show(
    name: str,
    project: Project = DEFAULT_PROJECT,
    output: Annotated[SnapshotFormat, typer.Option("--format")] = SnapshotFormat.JSONL,
) -> None:
    """Print the answers of a snapshot as they were."""
    research = open_research(read_settings())
    record_snapshot(research, project, name, _how(output), actor=OPERATOR)
    with research.read() as session:
        columns = list_columns(session, project, name)
    rows = iterate_rows(research, project, name)
    _print(
        QueryFormat(output.value),
        f"Snapshot {name} (research use only)",
        _TABLE,
        rows,
        columns,
    )


@snapshots_app.command("verify")
def verify(name: str, project: Project = DEFAULT_PROJECT) -> None:
    """Say whether the answers of a snapshot still have its hash; exit 1 when not.

    One of which answers were withdrawn since is compared answer by answer.
    """
    research = open_research(read_settings())
    record_snapshot(research, project, name, How.VERIFICATION, actor=OPERATOR)
    check = check_snapshot(research, project, name)
    if check.is_unchanged is False:
        print_error(f"{name}: {check.describe()}")
        raise typer.Exit(1)
    print(f"{name}: {check.describe()}")


def _how(output: StrEnum) -> How:
    """Return how a command shows what it reads: on the terminal, or as a file."""
    return How(output.value) if output.value in set(How) else How.COMMAND


def parse_where(where: Sequence[str] | None) -> AnswerFilters:
    """Read filters as they are typed."""
    query: dict[str, list[str]] = {}
    for each in where or ():
        name, separator, value = each.partition("=")
        if not separator:
            raise typer.BadParameter(f"{each!r}: write FILTER=VALUE")
        query.setdefault(name, []).append(value)
    try:
        return parse_filters(query)
    except FilterInvalid as error:
        raise typer.BadParameter(str(error)) from error


def _write_file(path: Path, answers: Iterable[JsonObject]) -> None:
    try:
        number = write_sqlite(path, describe_fields(ResearchAnswer), answers)
    except FileExistsError as error:
        raise typer.BadParameter(f"{path} exists: name a file that does not") from error
    except (OSError, sqlite3.OperationalError) as error:
        raise SettingInvalid(f"{path} cannot be written: {error}") from error
    print(f"{number} answers in {path}")


def _print(
    output: QueryFormat,
    title: str,
    table: Sequence[str],
    rows: Iterable[JsonObject],
    columns: Sequence[str] = (),
) -> None:
    """Print rows whole, or some of their columns as a table."""
    if output is QueryFormat.JSONL:
        print_lines(json_lines(rows))
    elif output is QueryFormat.CSV:
        print_lines(csv_lines(columns or table, rows))
    else:
        print_table(title, tuple(table), rows)
