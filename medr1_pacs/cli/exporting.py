"""`export`: a folder that somebody who trusts nobody can check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.cli.auditing import read_kept_head
from medr1_pacs.cli.printing import print_error
from medr1_pacs.cli.query import Project, Where, parse_where
from medr1_pacs.cli.wiring import (
    load_key,
    make_sealer,
    open_exports,
    open_pictures,
    open_research,
    read_settings,
    start_process,
)
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.processes import ProcessName
from medr1_pacs.projects import DEFAULT_PROJECT
from medr1_pacs.records.words import TableFormat
from medr1_pacs.settings import Settings
from medr1_pacs.steps.carrying_out_exports import carry_out_export as carry_out
from medr1_pacs.steps.exporting import ExportRequest
from medr1_pacs.steps.making_exports import Exporter, make_export
from medr1_pacs.storage.durable import named_failures


def export(
    out: Annotated[Path, typer.Option(help="Folder to write: there is none yet, or it is empty")],
    where: Where = None,
    project: Project = DEFAULT_PROJECT,
    everything: Annotated[
        bool, typer.Option("--everything", help="Also earlier, control and demo answers")
    ] = False,
    as_of: Annotated[
        int | None,
        typer.Option(
            help="As of the signed head at or before this number of events; else as of now"
        ),
    ] = None,
    since_head: Annotated[
        Path | None,
        typer.Option(help="File with a head you kept: prove that the log goes on from it"),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="csv, jsonl, parquet, with commas between")
    ] = TableFormat.CSV.value,
    with_times: Annotated[
        bool,
        typer.Option("--with-times", help="Show when things happened: gives study dates away"),
    ] = False,
    with_reasons: Annotated[
        bool, typer.Option("--with-reasons", help="Show reasons: they may name somebody")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Lay pictures beside Med-R1's lists")
    ] = True,
) -> None:
    """Export a project: tables, its audit events, and what is needed to check them.

    `python3 -I DIR/verify.py --key FILE` checks it anywhere; GUIDE.md in it says how.
    """
    if everything and where:
        raise typer.BadParameter("--everything leaves nothing to filter")
    filters = EVERYTHING if everything else parse_where(where)
    request = ExportRequest(
        project=project,
        filters=filters,
        formats=_parse_formats(formats),
        shows_times=with_times,
        shows_reasons=with_reasons,
        has_pictures=pictures,
    )
    kept = read_kept_head(since_head) if since_head else None
    exporter = _make_exporter(read_settings())
    with named_failures(f"--out {out}", remedy="make room there, or name another folder"):
        exported = make_export(
            exporter,
            out,
            request,
            actor=OPERATOR,
            as_of=as_of,
            since_head=kept,
            progress=_Progress(),
        )
    print(f"{out}: {exported.rows['answers']} answers as of {exported.size} events")
    if exported.pictures_lost:
        print_error(f"{exported.pictures_lost} pictures are lost: the lists name them all the same")


def carry_out_export(
    export_id: Annotated[int, typer.Argument(help="The row that the sweep has taken")],
) -> None:
    """Write an export that somebody asked for on a page. The sweep calls this."""
    settings = start_process()
    exporter, exports = _make_exporter(settings), open_exports(settings)
    carry_out(exporter, exports, export_id, owner=str(ProcessName.own("export")))


def _make_exporter(settings: Settings) -> Exporter:
    research = open_research(settings)
    return Exporter(
        database=research,
        pictures=open_pictures(settings),
        sealer=make_sealer(settings, research),
        site_key=load_key(settings, research),
    )


def _parse_formats(text: str) -> tuple[TableFormat, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return tuple(dict.fromkeys(TableFormat(name) for name in names))
    except ValueError:
        raise typer.BadParameter(f"--format {text}: use {', '.join(TableFormat)}") from None


_PROGRESS_ROWS = 100_000


class _Progress:
    """Says on stderr how far it is, every so many rows."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, table: str, rows: int) -> None:
        if rows < self._said:  # another table
            self._said = 0
        if rows - self._said >= _PROGRESS_ROWS:
            self._said = rows
            print_error(f"{table}: {rows:,} rows")
