"""Instances: what waits for a person, and where each one is."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_rows
from medr1_pacs.cli.wiring import open_research, open_store, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.instances import accept_held, list_held, refuse_held
from medr1_pacs.projects import load_project_rules
from medr1_pacs.steps.accounting import LOST, account_for

instances_app = typer.Typer(help="Received instances.", no_args_is_help=True)


@instances_app.command("held")
def held(as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False) -> None:
    """List instances that would supersede another sender's, and wait for accept or refuse."""
    with open_research(read_settings()).read() as session:
        rows = [asdict(row) for row in list_held(session)]
    print_rows(rows, "Held instances", as_json=as_json)


@instances_app.command("accept")
def accept(sop_instance_uid: Annotated[str, typer.Argument(help="SOP Instance UID")]) -> None:
    """Let a held instance be the current one: its study is asked again where it differs."""
    settings = read_settings()
    rules = load_project_rules(settings.projects)
    with open_research(settings).write() as session:
        now = datetime.now(UTC)
        is_done = accept_held(session, sop_instance_uid, rules, now, actor=OPERATOR)
    _say(is_done, sop_instance_uid, "is the current instance")


@instances_app.command("refuse")
def refuse(sop_instance_uid: Annotated[str, typer.Argument(help="SOP Instance UID")]) -> None:
    """Let a held instance supersede nothing; its file is kept."""
    with open_research(read_settings()).write() as session:
        is_done = refuse_held(session, sop_instance_uid, actor=OPERATOR)
    _say(is_done, sop_instance_uid, "is refused; its file is kept")


@instances_app.command("account")
def account(
    uids: Annotated[
        Path | None, typer.Argument(help="File with a SOP Instance UID a line, `-` for stdin")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: UID -> place")] = False,
) -> None:
    """Say where each instance is, of a list or of all, and read its file.

    Exit 1 when one is nowhere, or its file is missing or changed.
    """
    settings = read_settings()
    wanted = None
    if uids is not None:
        text = sys.stdin.read() if str(uids) == "-" else uids.read_text("utf-8")
        wanted = list(dict.fromkeys(text.split()))
    places = account_for(open_store(settings), open_research(settings), wanted)
    if as_json:
        print(json.dumps(places, indent=1))
    else:
        for place, count in sorted(Counter(places.values()).items()):
            print(f"{count} {place}")
    lost = [uid for uid, place in places.items() if place in LOST]
    for uid in lost if not as_json else ():
        print_error(f"{uid}: {places[uid]}; send it again")
    raise typer.Exit(1 if lost else 0)


def _say(is_done: bool, sop_instance_uid: str, sentence: str) -> None:
    if not is_done:
        print_error(f"no instance {sop_instance_uid} is held; see `medr1-pacs instances held`")
        raise typer.Exit(1)
    print(f"{sop_instance_uid} {sentence}")
