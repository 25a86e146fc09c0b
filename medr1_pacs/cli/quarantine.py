"""Quarantine: what cannot be used, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_rows
from medr1_pacs.cli.wiring import open_research, open_store, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.quarantine import list_quarantined
from medr1_pacs.errors import Medr1Error
from medr1_pacs.steps import quarantine

quarantine_app = typer.Typer(help="Received files that cannot be used.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Stored name, as `quarantine list` says it")]


@quarantine_app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False) -> None:
    """List what cannot be used and was not sent again in a usable form, and why."""
    with open_research(read_settings()).read() as session:
        rows = [asdict(row) for row in list_quarantined(session)]
    print_rows(rows, "Quarantine", as_json=as_json)


@quarantine_app.command("show")
def show(
    name: _Name,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
) -> None:
    """Say all that is known of one file, whatever became of it."""
    settings = read_settings()
    shown = quarantine.describe(open_store(settings), open_research(settings), name)
    values = asdict(shown)
    values = values.pop("record") | values
    events = values.pop("events")
    if as_json:
        print(json.dumps(values | {"events": events}, indent=1, default=str))
        return
    for key, value in values.items():
        print(f"{key.replace('_', ' ')}: {'' if value is None else value}")
    for event in events:
        print(
            f"{event['occurred_at']:%Y-%m-%d %H:%M} {event['actor']}: {event['action']} "
            f"{event['reason']}".rstrip()
        )


@quarantine_app.command("retry")
def retry(
    names: Annotated[list[str] | None, typer.Argument(help="Stored names")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that is in quarantine")] = False,
    where_reason: Annotated[
        str, typer.Option(help="With --all: only those whose reason or detail holds this text")
    ] = "",
) -> None:
    """Have files read anew, as by a newer version; what is still unusable comes back."""
    if every is bool(names) or (where_reason and not every):
        raise typer.BadParameter("name files, or --all, which --where-reason narrows down")
    settings = read_settings()
    store, research = open_store(settings), open_research(settings)
    if every:
        with research.read() as session:
            found = list_quarantined(session, reason=where_reason)
        names = [row.stored_name for row in found]
    failed = 0
    for name in names or []:
        try:
            quarantine.retry(store, research, name, actor=OPERATOR)
        except Medr1Error as error:
            failed += 1
            print_error(str(error))
    print(f"{len(names or []) - failed} files are read anew by the sweep")
    raise typer.Exit(1 if failed else 0)


@quarantine_app.command("drop")
def drop(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why its bytes may go; kept with its row")],
) -> None:
    """Delete a file's bytes for good; its row stays and says why."""
    if not reason.strip():
        raise typer.BadParameter("say why its bytes may go", param_hint="--reason")
    settings = read_settings()
    quarantine.drop(
        open_store(settings), open_research(settings), name, actor=OPERATOR, reason=reason.strip()
    )
    print(f"{name} is deleted; its row stays")
