"""Truths to hold answers against: import a file of them, and what was imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_rows
from medr1_pacs.cli.wiring import load_questions, open_checked, open_research, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.references import list_imports
from medr1_pacs.db.schema import Branch
from medr1_pacs.errors import ReferenceRefused, SourceUnreadable
from medr1_pacs.projects import DEFAULT_PROJECT
from medr1_pacs.records.references import ReferenceReport
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.references import FILE_MAX_BYTES
from medr1_pacs.steps.importing_references import (
    BroughtFile,
    LinesFaulty,
    check_references,
    import_references,
)

reference_app = typer.Typer(
    help="A reference standard: truths to hold answers against.", no_args_is_help=True
)

_NUMBERS_SHOWN = 20

Project = Annotated[str, typer.Option(help="The project whose studies the truths are about")]


@reference_app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", exists=True, dir_okay=False, help="CSV in UTF-8 with a header line"
        ),
    ],
    project: Project = DEFAULT_PROJECT,
    source: Annotated[TruthSource, typer.Option(help="Where they come from")] = TruthSource.IMPORT,
    stated_by: Annotated[
        str, typer.Option(help="Who states it, where a line does not say; else who imports")
    ] = "",
    certainty: Annotated[
        Certainty | None, typer.Option(help="How certain it is, where a line does not say")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be, no more")] = False,
    leave_out_faulty: Annotated[
        bool, typer.Option("--leave-out-faulty", help="Import the lines that have no fault")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object")] = False,
) -> None:
    """Import truths, all at once or none; exit 1 when lines have faults and are not left out.

    Of who is named in the file nothing is kept: faults are told by the numbers of their lines.
    """
    settings = read_settings()
    research = open_research(settings)
    vault = open_checked(settings.vault_url, Branch.VAULT)
    options = load_questions(settings).options
    brought = BroughtFile(
        data=_read(file),
        project=project,
        source=source,
        certainty=certainty,
        stated_by=stated_by.strip(),
    )
    if dry_run:
        report = check_references(research, vault, brought, options)
        _print(report, as_json=as_json)
        raise typer.Exit(1 if report.faults and not leave_out_faulty else 0)
    try:
        report = import_references(
            research, vault, brought, options, actor=OPERATOR, leave_out_faulty=leave_out_faulty
        )
    except LinesFaulty as error:
        _print(error.report, as_json=as_json)
        raise
    _print(report, as_json=as_json)


@reference_app.command("list")
def list_(
    project: Project = DEFAULT_PROJECT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """List the files of truths that were imported into a project, the latest first."""
    research = open_research(read_settings())
    with research.read() as session:
        rows = [listing.to_json() for listing in list_imports(session, project)]
    print_rows(rows, f"Truths brought to {project}", as_json=as_json)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise ReferenceRefused(
                f"{path} has more than {FILE_MAX_BYTES >> 20} MiB: divide it into several"
            )
        return path.read_bytes()
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}") from error


def _print(report: ReferenceReport, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
        return
    print(
        f"{report.lines} lines: {report.new} new, {report.changed} changed, "
        f"{report.unchanged} unchanged, {report.faulty} faulty"
    )
    for fault, numbers in report.faults.items():
        shown = ", ".join(str(number) for number in numbers[:_NUMBERS_SHOWN])
        more = ", ..." if len(numbers) > _NUMBERS_SHOWN else ""
        print(f"{fault}: {len(numbers)}, lines {shown}{more}")
