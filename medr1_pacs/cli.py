"""`medr1-pacs ...`: wiring only. Data goes to stdout, logs and progress to stderr."""

from __future__ import annotations

import csv
import fcntl
import json
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medr1_pacs.db.answers import get_answer, iterate_answers
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.renderings import get_rendering_of_answer
from medr1_pacs.db.schema import Branch, check_schema, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import list_studies, retry_failed
from medr1_pacs.db.workers import list_workers
from medr1_pacs.decoding import DecoderPool
from medr1_pacs.errors import (
    InstanceUnreadable,
    Medr1Error,
    QuestionInvalid,
    SettingInvalid,
    TransientError,
)
from medr1_pacs.logs import configure_logs
from medr1_pacs.projects import load_project_rules
from medr1_pacs.pseudonyms import load_site_key
from medr1_pacs.questions.bank import PACKAGED_BANK, QuestionBank, load_bank
from medr1_pacs.questions.lint import lint
from medr1_pacs.records import AssociationRecord
from medr1_pacs.routing import load_synonyms
from medr1_pacs.settings import Settings, is_loopback, load_settings
from medr1_pacs.storage import InstanceStore

app = typer.Typer(
    name="medr1-pacs",
    help="Ask Med-R1 questions about the studies a PACS sends. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db_app = typer.Typer(help="The databases.", no_args_is_help=True)
checkpoints_app = typer.Typer(help="The weights that answer.", no_args_is_help=True)
questions_app = typer.Typer(help="The question bank.", no_args_is_help=True)
app.add_typer(db_app, name="db")
app.add_typer(checkpoints_app, name="checkpoints")
app.add_typer(questions_app, name="questions")

stderr = Console(stderr=True)
HEARTBEAT_LIMIT_S = 60.0
"""A worker without a heartbeat for so long is hung."""


class WorkerKind(StrEnum):
    RENDER = "render"
    ANSWER = "answer"


class AnswerFormat(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def main() -> None:
    """Run a command; an error of ours is one sentence and exit 1, a wrong setting exit 2."""
    try:
        app()
    except (SettingInvalid, QuestionInvalid) as error:
        stderr.print(f"medr1-pacs: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except Medr1Error as error:
        stderr.print(f"medr1-pacs: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


# -- processes ---------------------------------------------------------------------------------


@app.command()
def up() -> None:
    """Run everything: listener, sweep, both workers and the web pages."""
    from medr1_pacs.supervisor import Supervisor

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    _check_dicom_host(settings)
    _check_packages()
    _bank(settings)
    _registry(settings)
    lock = _lock_data_dir(settings)
    research, vault = _databases(settings)
    upgrade_schema(research, Branch.RESEARCH)
    upgrade_schema(vault, Branch.VAULT)
    stderr.print(
        f"{settings.ae_title} on {settings.dicom_host}:{settings.dicom_port}, pages on "
        f"http://{settings.web_host}:{settings.web_port}/, data in {settings.data_dir}. "
        "Research use only.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if is_loopback(settings.dicom_host):
        stderr.print(
            "Only this machine can send. To receive from a PACS set MEDR1_DICOM_HOST=0.0.0.0 and "
            "MEDR1_ALLOWED_PEERS=AE_TITLE@ADDRESS.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    commands = {
        "listen": ["listen"],
        "sweep": ["sweep"],
        "worker render": ["worker", "render"],
        "worker answer": ["worker", "answer"],
        "web": ["web"],
    }
    supervisor = Supervisor(commands, lambda pids: _find_hung(research, pids))
    with lock:
        raise typer.Exit(supervisor.run())


def _find_hung(database: Database, pids: Iterable[int]) -> list[int]:
    from medr1_pacs.workers.bench import is_named

    try:
        with database.read() as session:
            workers = list_workers(session)
    except TransientError:
        return []
    limit = datetime.now(UTC) - timedelta(seconds=HEARTBEAT_LIMIT_S)
    stale = [row["name"] for row in workers if row["heartbeat_at"] < limit]
    return [pid for pid in pids if any(is_named(name, pid) for name in stale)]


@app.command()
def listen() -> None:
    """Receive instances by C-STORE."""
    from medr1_pacs.listener.associations import AssociationLog
    from medr1_pacs.listener.policy import parse_allowed_peers
    from medr1_pacs.listener.server import Listener

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    _check_dicom_host(settings)
    research = Database(settings.database_url)  # unchecked: it may be away

    def write_rows(associations: Iterable[AssociationRecord]) -> None:
        with research.write() as session:
            record_associations(session, associations, datetime.now(UTC))

    listener = Listener(
        _store(settings),
        AssociationLog(write_rows),
        ae_title=settings.ae_title,
        host=settings.dicom_host,
        port=settings.dicom_port,
        peers=parse_allowed_peers(settings.allowed_peers),
        max_associations=settings.max_associations,
        association_idle_s=settings.association_idle_s,
    )
    with listener:
        _wait_for_signal()


@app.command()
def sweep() -> None:
    """Run the clock: index, complete, plan, ring."""
    from medr1_pacs.steps.planning import AskingPolicy
    from medr1_pacs.workers.app import make_app
    from medr1_pacs.workers.run import run_sweep
    from medr1_pacs.workers.sweep import SweepRules

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    research = _research(settings)
    vault = _checked(settings.vault_url, Branch.VAULT)
    registry = _registry(settings)
    rules = SweepRules(
        asking=AskingPolicy(
            bank=_bank(settings),
            synonyms=load_synonyms(*([settings.routing] if settings.routing else [])),
            resolve_checkpoint=registry.resolve,
            is_demo=registry.is_demo,
            think=settings.think,
        ),
        projects=load_project_rules(settings.projects),
        registry=registry,
        site_key=load_site_key(settings.site_key_path),
        study_quiet_s=settings.study_quiet_s,
    )
    celery = make_app(settings.broker_url, settings.data_dir)
    run_sweep(celery, research, vault, _store(settings), rules)


@app.command()
def worker(
    kind: Annotated[WorkerKind, typer.Argument(help="render: draw pictures; answer: run a model")],
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Answer only for this checkpoint; repeat for more.")
    ] = None,
) -> None:
    """Run one worker."""
    from medr1_pacs.workers.app import make_app
    from medr1_pacs.workers.run import run_answer_worker, run_render_worker

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    research = _research(settings)
    store, celery = _store(settings), make_app(settings.broker_url, settings.data_dir)
    if kind is WorkerKind.RENDER:
        with _decoder(settings) as decoder:
            run_render_worker(celery, research, store, decoder)
        return
    _check_packages()
    registry = _registry(settings)
    names = checkpoint or sorted(registry.names)
    for name in names:
        registry.get(name)
    run_answer_worker(
        celery, research, store, registry, checkpoints=names, batch_size=settings.batch_size
    )


@app.command()
def web() -> None:
    """Serve the pages."""
    from medr1_pacs.web.app import make_app
    from medr1_pacs.web.server import serve

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    research = _research(settings)
    serve(make_app(research, _store(settings)), settings.web_host, settings.web_port)


# -- data in -----------------------------------------------------------------------------------


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders to search for files")],
) -> None:
    """Receive instances from files, by the same path as C-STORE."""
    from medr1_pacs.steps.receiving import ingest_file

    configure_logs()
    settings = load_settings()
    _prepare(settings)
    store = _store(settings)
    received, failed = 0, 0
    for path in paths:
        if not path.exists():
            raise SettingInvalid(f"{path} does not exist")
        is_folder = path.is_dir()
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if is_folder else [path]:
            try:
                _wait_for_room(store, settings.backlog_max)
                ingest_file(store, file, called_ae_title=settings.ae_title)
                received += 1
            except (InstanceUnreadable, OSError) as error:
                stderr.print(f"{file}: {error}", markup=False, highlight=False, soft_wrap=True)
                # A folder may hold a DICOMDIR or a text; a file that was named must be DICOM.
                failed += not is_folder
    print(f"{received} instances received")
    if failed or not received:
        raise typer.Exit(1)


def _wait_for_room(store: InstanceStore, backlog_max: int) -> None:
    if store.backlog() < backlog_max:
        return
    stderr.print("The backlog is full; waiting for the sweep. Is `medr1-pacs up` running?")
    while store.backlog() >= backlog_max:
        time.sleep(1)


# -- data out ----------------------------------------------------------------------------------


@app.command()
def studies(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """List the studies: where each one is, and why."""
    research = _research(load_settings())
    with research.read() as session:
        rows = list_studies(session)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    columns = ("study_instance_uid", "modality", "state", "version", "instances", "answers")
    _print_table("Studies", (*columns, "reason"), rows)


@app.command()
def answers(
    study: Annotated[str | None, typer.Option(help="Study Instance UID")] = None,
    output: Annotated[AnswerFormat, typer.Option("--format")] = AnswerFormat.TABLE,
) -> None:
    """List the answers with everything that made them."""
    research = _research(load_settings())
    with research.read() as session:
        rows = iterate_answers(session, study_instance_uid=study)
        if output is AnswerFormat.JSONL:
            for row in rows:
                print(json.dumps(row))
        elif output is AnswerFormat.CSV:
            _print_csv(rows)
        else:
            columns = (
                "answer_id", "modality", "question_id", "choice", "choice_text", "truth",
                "is_correct", "parse_status", "checkpoint", "is_demo",
            )  # fmt: skip
            _print_table("Answers (research use only)", columns, rows)


@app.command()
def retry(
    study: Annotated[str, typer.Argument(help="Study Instance UID")],
) -> None:
    """Give the failed work of a study its attempts back."""
    research = _research(load_settings())
    with research.write() as session:
        is_retried = retry_failed(session, study, actor="operator")
    if not is_retried:
        stderr.print(f"{study} has not failed; `medr1-pacs studies` says where it is")
        raise typer.Exit(1)
    print(f"{study} is tried again")


@app.command()
def replay(
    answer_id: Annotated[int, typer.Argument(help="As `medr1-pacs answers` lists it")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Make an answer again from what was stored with it, and compare."""
    from medr1_pacs.workers.replay import replay_answer

    configure_logs()
    settings = load_settings()
    research = _research(settings)
    with research.read() as session:
        answer = get_answer(session, answer_id)
        rendering = get_rendering_of_answer(session, answer_id)
    with _decoder(settings) as decoder:
        outcome = replay_answer(answer, rendering, _store(settings), _registry(settings), decoder)
    if as_json:
        print(json.dumps(outcome))
    else:
        verdict = "equal" if outcome["is_equal"] else "DIFFERENT"
        print(f"answer {answer_id}: {verdict}")
        for difference in outcome["differences"]:
            print(f"  {difference}")
    raise typer.Exit(0 if outcome["is_equal"] else 1)


# -- administration ----------------------------------------------------------------------------


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring both databases to this program's schema."""
    settings = load_settings()
    _prepare(settings)
    research, vault = _databases(settings)
    upgrade_schema(research, Branch.RESEARCH)
    upgrade_schema(vault, Branch.VAULT)
    print("both databases have this program's schema")


@db_app.command("reconcile")
def db_reconcile() -> None:
    """Rebuild rows from the stored files, as after a database or the vault was restored."""
    from medr1_pacs.steps.indexing import reconcile, restore_identities

    settings = load_settings()
    research, store = _research(settings), _store(settings)
    vault = _checked(settings.vault_url, Branch.VAULT)
    count = reconcile(store, research)
    print(f"{count} instances without a row go back to the backlog")
    read = restore_identities(store, vault, load_site_key(settings.site_key_path))
    print(f"the identities of {read} instances are in the vault")


@checkpoints_app.command("list")
def checkpoints_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the published checkpoints and which this site has."""
    from medr1_pacs.workers.checkpoints import list_publications

    registry = _registry(load_settings())
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "repository": publication.repository,
            "subfolder": publication.subfolder,
            "configured": name in registry.configured,
            "revision": registry.configured[name].revision if name in registry.configured else None,
        }
        for name, publication in list_publications().items()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    _print_table("Checkpoints", tuple(rows[0]), rows)
    if registry.is_demo:
        stderr.print("None is configured: the demo checkpoint stands in for all of them.")


@checkpoints_app.command("pull")
def checkpoints_pull(
    name: str,
    revision: Annotated[str, typer.Option(help="Commit of the hub repository, 40 hex digits")],
) -> None:
    """Download one checkpoint at a pinned revision: the only command that leaves this machine."""
    from medr1_pacs.workers.checkpoints import pull_checkpoint

    settings = load_settings()
    print(pull_checkpoint(name, revision, settings.weights_path))


@checkpoints_app.command("verify")
def checkpoints_verify() -> None:
    """Compare the files of every configured checkpoint with their manifest."""
    from medr1_pacs.workers.checkpoints import verify_files

    registry = _registry(load_settings())
    for name in sorted(registry.names):
        print(f"{name} {verify_files(registry.get(name))}")


@questions_app.command("list")
def questions_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the questions that can be asked."""
    bank = _bank(load_settings())
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
        _print_table("Questions", tuple(rows[0]), rows)


@questions_app.command("lint")
def questions_lint() -> None:
    """Check the question files: errors end with exit 1, advice does not."""
    settings = load_settings()
    findings = lint(_bank(settings))
    for finding in findings:
        print(finding)
    stderr.print(f"{len(findings)} remarks")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say what is configured, reachable and missing, each with its remedy."""
    from medr1_pacs.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.is_ok else 'BAD'}  {finding.subject}: {finding.message}")
    raise typer.Exit(0 if all(finding.is_ok for finding in findings) else 1)


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder for the demo's data")] = Path("demo-data"),
) -> None:
    """Receive eight synthetic studies and real files, ask, and print the answers."""
    from medr1_pacs.demo.tour import run_tour

    raise typer.Exit(run_tour(data_dir))


# -- wiring ------------------------------------------------------------------------------------


def _prepare(settings: Settings) -> None:
    """Make the data folder, or say why it cannot be."""
    for name, folder in (
        ("MEDR1_DATA_DIR", settings.data_dir),
        ("MEDR1_STORAGE_DIR", settings.storage_path),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise SettingInvalid(
                f"{name}: {folder.absolute()} cannot be written ({error.strerror}); give the user "
                "that runs medr1-pacs write permission, or name another folder"
            ) from error


def _lock_data_dir(settings: Settings) -> IO[str]:
    """Hold the data folder: two services over one SQLite file and one broker folder would both
    do everything."""
    lock = (settings.data_dir / "up.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingInvalid(
            f"another `medr1-pacs up` runs on {settings.data_dir.absolute()}; stop it, or set "
            "MEDR1_DATA_DIR to another folder"
        ) from error
    return lock


def _check_packages() -> None:
    """Say what an answer worker lacks, before it takes work that it cannot do."""
    from medr1_pacs.workers.checkpoints import find_missing_packages

    if missing := find_missing_packages():
        raise SettingInvalid(
            f"{', '.join(missing)} not installed: an answer worker needs "
            "`pip install 'medr1-pacs[worker]'`; a host without one runs `medr1-pacs listen`, "
            "`sweep`, `worker render` and `web` by themselves"
        )


def _check_dicom_host(settings: Settings) -> None:
    if not is_loopback(settings.dicom_host) and not settings.allowed_peers:
        raise SettingInvalid(
            f"MEDR1_DICOM_HOST={settings.dicom_host} can be reached from other machines, so "
            "MEDR1_ALLOWED_PEERS must say who may send, as in "
            "MEDR1_ALLOWED_PEERS=PACS1@10.1.2.3 (AE title @ address or network)"
        )


def _databases(settings: Settings) -> tuple[Database, Database]:
    return Database(settings.database_url), Database(settings.vault_url)


def _research(settings: Settings) -> Database:
    return _checked(settings.database_url, Branch.RESEARCH)


def _checked(url: str, branch: Branch) -> Database:
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite") and not path.exists():
        raise SettingInvalid(
            f"there is no database {path}: run `medr1-pacs up`, or `medr1-pacs db upgrade`"
        )
    database = Database(url)
    check_schema(database, branch)
    return database


def _store(settings: Settings) -> InstanceStore:
    return InstanceStore(
        settings.storage_path,
        reserve_bytes=settings.storage_reserve_mb << 20,
        backlog_max=settings.backlog_max,
    )


def _decoder(settings: Settings) -> DecoderPool:
    return DecoderPool(
        memory_bytes=settings.decode_memory_mb << 20, timeout_s=settings.decode_timeout_s
    )


def _bank(settings: Settings) -> QuestionBank:
    folders = [PACKAGED_BANK, *([settings.questions_dir] if settings.questions_dir else [])]
    return load_bank(*folders)


def _registry(settings: Settings) -> Any:
    from medr1_pacs.workers.checkpoints import load_registry

    return load_registry(settings.checkpoints, settings.weights_path)


def _wait_for_signal() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def _print_table(title: str, columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    writer: csv.DictWriter[str] | None = None
    with suppress(BrokenPipeError):
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(sys.stdout, list(row))
                writer.writeheader()
            writer.writerow(
                {
                    key: json.dumps(value) if isinstance(value, dict | list) else value
                    for key, value in row.items()
                }
            )
