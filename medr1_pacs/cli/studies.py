"""Studies: where each one is, and a person's word that one is complete."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_table
from medr1_pacs.cli.wiring import open_research, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.overview import list_studies
from medr1_pacs.db.reading import record_listing
from medr1_pacs.errors import StudyNotReceiving
from medr1_pacs.records.reading import How, Reading
from medr1_pacs.steps.completing import complete_study

studies_app = typer.Typer(help="List the studies: where each one is, and why.")


@studies_app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """List the studies: where each one is, and why."""
    if context.invoked_subcommand is not None:
        return
    research = open_research(read_settings())
    record_listing(research, Reading.STUDIES_LISTED, How.COMMAND, actor=OPERATOR)
    with research.read() as session:
        rows = [study.to_json() for study in list_studies(session)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    columns = ("study_instance_uid", "modality", "state", "version", "instances", "answers")
    print_table("Studies", (*columns, "reason"), rows)


@studies_app.command("complete")
def complete(
    study_instance_uids: Annotated[list[str], typer.Argument(help="Study Instance UIDs")],
) -> None:
    """Call studies that are receiving complete now, before their quiet time is over.

    An instance that still comes starts the next version.
    """
    research = open_research(read_settings())
    failed = 0
    for uid in study_instance_uids:
        try:
            set_aside = complete_study(research, uid, actor=OPERATOR)
        except StudyNotReceiving as error:
            failed += 1
            print_error(str(error))
            continue
        without = f" without {len(set_aside)} files that are set aside" if set_aside else ""
        print(f"{uid} is complete{without}")
        for name in set_aside:
            print_error(f"set aside: {name}")
    raise typer.Exit(1 if failed else 0)
