"""Reading protocols: check a file, start it, and end what was started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from medr1_pacs.cli.printing import print_error, print_rows
from medr1_pacs.cli.wiring import open_research, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.reading_progress import list_protocols
from medr1_pacs.errors import ProtocolRefused, SourceUnreadable
from medr1_pacs.projects import DEFAULT_PROJECT
from medr1_pacs.records.review_words import CaseKind
from medr1_pacs.reviews.protocol_rules import parse_protocol
from medr1_pacs.reviews.protocols import ReadingProtocol
from medr1_pacs.steps.reading_protocols import (
    CheckedProtocol,
    check_protocol,
    end_protocol,
    start_checked_protocol,
    unblind_person,
)

protocols_app = typer.Typer(
    help="Reading protocols: which cases are read by whom.", no_args_is_help=True
)

File = Annotated[
    Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="The protocol")
]
Name = Annotated[str, typer.Argument(help="Of the protocol")]
Version = Annotated[int, typer.Argument(help="Of the protocol", min=1)]
Project = Annotated[str, typer.Option(help="The project whose studies are read")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the log: name no patient in it")]


@protocols_app.command("check")
def check(
    file: File,
    project: Project = DEFAULT_PROJECT,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as one JSON object")] = False,
) -> None:
    """Say what a protocol comes to on the studies that there are now; exit 1 where it cannot be.

    All that is wrong with it is said, a line each. Nothing is written.
    """
    try:
        checked = check_protocol(open_research(read_settings()), project, _parse(file))
    except ProtocolRefused as error:
        _refuse(error)
    if as_json:
        print(json.dumps(checked.to_json(), indent=1))
    else:
        _print(checked)


@protocols_app.command("start")
def start(file: File, project: Project = DEFAULT_PROJECT) -> None:
    """Freeze a protocol and its cases, and let its readers read."""
    try:
        protocol = _parse(file)
        start_checked_protocol(open_research(read_settings()), project, protocol, actor=OPERATOR)
    except ProtocolRefused as error:
        _refuse(error)
    print(f"{protocol.name} {protocol.version} is started: {protocol.definition_sha256}")


@protocols_app.command("list")
def list_(
    project: Project = DEFAULT_PROJECT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """List the protocols of a project, the latest first."""
    with open_research(read_settings()).read() as session:
        rows = [
            {
                "name": each.name,
                "version": each.version,
                "title": each.title,
                "state": each.state.value,
                "cases": each.cases,
                "reads": each.reads,
                "done": each.done,
                "started_by": each.started_by,
                "started_at": each.started_at.isoformat(),
                "ended_at": each.ended_at.isoformat() if each.ended_at else None,
            }
            for each in list_protocols(session, project)
        ]
    print_rows(rows, f"Reading protocols of {project}", as_json=as_json)


@protocols_app.command("stop")
def stop(
    name: Name, version: Version, reason: Reason = "", project: Project = DEFAULT_PROJECT
) -> None:
    """End a protocol early: what is not read will not be, and nothing is hidden any more."""
    _check_reason(reason)
    research = open_research(read_settings())
    end_protocol(research, project, name, version, reason=reason, actor=OPERATOR)
    print(f"{name} {version} is stopped")


@protocols_app.command("unblind")
def unblind(
    name: Name,
    version: Version,
    account: Annotated[str, typer.Argument(help="Of the protocol's reader or adjudicator")],
    reason: Reason = "",
    project: Project = DEFAULT_PROJECT,
) -> None:
    """Let somebody see the answers before a protocol is over; they read no more of it."""
    _check_reason(reason)
    research = open_research(read_settings())
    unblind_person(research, project, name, version, account, reason=reason, actor=OPERATOR)
    print(f"nothing of {name} {version} is hidden from {account} any more")


def _parse(path: Path) -> ReadingProtocol:
    try:
        return parse_protocol(path.read_text("utf-8"))
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProtocolRefused(f"{path} is no UTF-8: save it as such") from error


def _refuse(error: ProtocolRefused) -> NoReturn:
    for line in str(error).splitlines():
        print_error(line)
    raise typer.Exit(1) from error


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise typer.BadParameter("--reason: say why")


def _print(checked: CheckedProtocol) -> None:
    protocol, plan = checked.protocol, checked.plan
    counts = ", ".join(
        f"{plan.count(kind)} {name}"
        for kind, name in (
            (CaseKind.CASE, "cases"),
            (CaseKind.CONTROL, "controls"),
            (CaseKind.PRACTICE, "for practice"),
        )
    )
    print(f"{protocol.name} {protocol.version}: {counts}; {len(plan.reads)} reads")
    for load in checked.loads:
        print(f"{load.reader}: {load.reads:g} reads, {load.hours:g} h")
    for why, number in plan.left_out.items():
        print(f"left out: {number}, {why}")
    for warning in checked.warnings:
        print(f"warning: {warning}")
