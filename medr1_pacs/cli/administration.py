"""Databases, checkpoints, questions, and looking after the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medr1_pacs.checkpoints import REPOSITORY, SUBFOLDERS, pull_checkpoint, verify_files
from medr1_pacs.cli.printing import print_error, print_table
from medr1_pacs.cli.wiring import (
    load_checkpoints,
    load_key,
    load_questions,
    open_checked,
    open_owned,
    open_pictures,
    open_research,
    open_store,
    prepare_folders,
    read_settings,
    upgrade_databases,
)
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.research_views import grant_research, revoke_research
from medr1_pacs.db.schema import Branch
from medr1_pacs.questions.lint import lint

db_app = typer.Typer(help="The databases.", no_args_is_help=True)
checkpoints_app = typer.Typer(help="The weights that answer.", no_args_is_help=True)
questions_app = typer.Typer(help="The question bank.", no_args_is_help=True)


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring both databases to this program's schema."""
    settings = read_settings()
    prepare_folders(settings)
    upgrade_databases(settings)
    print("both databases have this program's schema")


@db_app.command("reconcile")
def db_reconcile() -> None:
    """Compare files and rows both ways, as after something was restored.

    Reads every file once. Exit 1 when a stored file is missing, changed or cannot be read.
    """
    from medr1_pacs.parsing import HeaderReader
    from medr1_pacs.steps.reconciling import reconcile

    settings = read_settings()
    research = open_research(settings)
    vault = open_checked(settings.vault_url, Branch.VAULT)
    with HeaderReader() as headers:
        report = reconcile(
            open_store(settings),
            open_pictures(settings),
            research,
            vault,
            load_key(settings, research),
            headers,
        )
    print(f"{report.returned} instances without a row go back to the backlog")
    print(f"the identities of {report.identities} instances are in the vault")
    print(f"{report.pictures_lost} pictures were lost and are drawn again")
    print(f"the answers of {report.studies_found_anew} studies are found by what they are again")
    for sentence in report.damaged:
        print_error(f"{sentence}: send the instance again")
    for sentence in report.unreadable:
        print_error(sentence)
    raise typer.Exit(1 if report.damaged or report.unreadable else 0)


@db_app.command("grant-research")
def db_grant_research(
    role: Annotated[str, typer.Argument(help="A PostgreSQL role that can read no table")],
    project: Annotated[str, typer.Option(help="The project whose answers it may read")],
    revoke: Annotated[bool, typer.Option("--revoke", help="Take it back")] = False,
) -> None:
    """Let a PostgreSQL role read a project's view `research_answers`, and no table."""
    research = open_owned(read_settings())
    with research.write() as session:
        if revoke:
            revoke_research(session, role, project, actor=OPERATOR)
            print(f"{role} reads nothing of {project} any more")
        else:
            view = grant_research(session, role, project, actor=OPERATOR)
            print(f"{role} may SELECT from {view}")


@checkpoints_app.command("list")
def checkpoints_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the published checkpoints and which this site has."""
    registry = load_checkpoints(read_settings())
    rows: list[dict[str, Any]] = [
        {
            "name": name.value,
            "repository": REPOSITORY,
            "subfolder": subfolder,
            "configured": name in registry.configured,
            "revision": registry.configured[name].revision if name in registry.configured else None,
        }
        for name, subfolder in SUBFOLDERS.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print_table("Checkpoints", tuple(rows[0]), rows)
    if registry.is_demo:
        print_error("None is configured: the demo checkpoint stands in for all of them.")


@checkpoints_app.command("pull")
def checkpoints_pull(
    name: str,
    revision: Annotated[str, typer.Option(help="Commit of the hub repository, 40 hex digits")],
) -> None:
    """Download one checkpoint at a pinned revision: the only command that leaves this machine."""
    settings = read_settings()
    print(pull_checkpoint(name, revision, settings.weights_path))


@checkpoints_app.command("verify")
def checkpoints_verify() -> None:
    """Compare the files of every configured checkpoint with their manifest."""
    registry = load_checkpoints(read_settings())
    for name in sorted(registry.names):
        print(f"{name} {verify_files(registry.get(name))}")


@questions_app.command("list")
def questions_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the questions that can be asked."""
    bank = load_questions(read_settings())
    rows: list[dict[str, Any]] = [
        {
            "id": question.id,
            "version": question.version,
            "modality": question.modality,
            "task": question.task,
            "role": question.role,
            "stem": question.stem,
        }
        for question in bank.questions
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print_table("Questions", tuple(rows[0]), rows)


@questions_app.command("lint")
def questions_lint() -> None:
    """Check the question files: errors end with exit 1, advice does not."""
    settings = read_settings()
    findings = lint(load_questions(settings))
    for finding in findings:
        print(finding)
    print_error(f"{len(findings)} remarks")


def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say what is configured, reachable and missing, each with its remedy."""
    from medr1_pacs.doctor import examine
    from workers import checks

    findings = examine(
        check_broker=lambda settings: checks.check_broker(settings.broker_url, settings.data_dir),
        check_packages=lambda settings: checks.check_packages(),
    )
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.severity:<5}{finding.subject}: {finding.message}")
    raise typer.Exit(0 if all(finding.is_ok for finding in findings) else 1)


def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder for the demo's data")] = Path("demo-data"),
) -> None:
    """Receive eight synthetic studies and real files, ask, and print the answers."""
    from medr1_pacs.demo.tour import run_tour

    raise typer.Exit(run_tour(data_dir))
