"""The tour behind `make demo`: start the service on a folder, send it studies by a real
association, wait, print what it answered, stop it again.

Interrupted, it stops what it started. Run again, it finds its studies answered and prints them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from medr1_pacs.db.accounts import add_account, find_credentials, give_role
from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.overview import count_prompts, list_studies
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import LINK_HOURS, make_link
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import Medr1Error, TransientError
from medr1_pacs.peers import echo, send_instances
from medr1_pacs.processes import module_command, module_environment
from medr1_pacs.projects import DEFAULT_PROJECT, ProjectRules
from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.listed import StudyListing
from medr1_pacs.records.words import CheckpointName, Modality, Role, StudyState

QUIET_S = 3
_ACCOUNT = "demo"
_WEB_PORT = 8080
"""Where the service serves its pages once it is opened again."""
SEED = 2026
REAL_FILES = (
    "CT_small.dcm",
    "693_J2KI.dcm",
    "MR_small.dcm",
    "examples_overlay.dcm",
    "examples_ybr_color.dcm",
    "examples_palette.dcm",
)
"""CT, MR and US objects that travel inside pydicom: real scanners, real syntaxes."""
_START_S, _ANSWER_S, _STOP_S = 60.0, 1200.0, 60.0
_SETTLED = {StudyState.ANSWERED, StudyState.NOTHING_TO_ASK, StudyState.FAILED}


def run_tour(data_dir: Path) -> int:
    """Run the demo; returns the exit status."""
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    studies = [make_study(modality, SEED) for modality in Modality]
    studies += [[dataset] for dataset in read_real_files()]
    dicom_port, web_port = free_port(), free_port()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # stopped by whomever, we stop what we started
    try:
        with service(data_dir, dicom_port, web_port):
            _send(console, studies, dicom_port)
            database = Database(f"sqlite:///{data_dir / 'medr1.sqlite'}")
            expected = {str(study[0].StudyInstanceUID) for study in studies}
            _wait_for_answers(console, database, expected)
            with database.read() as session:
                answers = list(iterate_answers(session))
                rows = list_studies(session)
            link = _make_link(database)
            database.dispose()
    except KeyboardInterrupt:
        console.print("Stopped. Run it again to go on where it was.")
        return 130
    except Medr1Error as error:
        console.print(f"The demo did not finish: {error}\nIts log: {data_dir / 'demo.log'}")
        return 1
    _print(answers, rows, data_dir)
    _print_ways_on(answers, data_dir, link)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def read_real_files() -> list[Dataset]:
    """Return the real objects inside pydicom; nothing is downloaded."""
    paths = [get_testdata_file(name, download=False) for name in REAL_FILES]
    return [pydicom.dcmread(path) for path in paths if path]


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(data_dir: Path, dicom_port: int, web_port: int) -> Iterator[None]:
    """Run `medr1-pacs up` on a folder, its log beside its data; stop it at the end."""
    # Only what the demo sets: a site's own settings must not lead it to the site's database.
    environ = {
        key: value for key, value in module_environment().items() if not key.startswith("MEDR1_")
    }
    environ |= {
        "MEDR1_DATA_DIR": str(data_dir),
        "MEDR1_DICOM_PORT": str(dicom_port),
        "MEDR1_WEB_PORT": str(web_port),
        "MEDR1_STUDY_QUIET_S": str(QUIET_S),
    }
    with (data_dir / "demo.log").open("ab") as log:
        process = subprocess.Popen(
            module_command("medr1_pacs", "up"),
            env=environ,
            cwd=data_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupt reaches us first, and we stop it cleanly
        )
        try:
            _wait_for_listener(process, dicom_port, data_dir / "demo.log")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            raise TransientError(f"the service did not start: {last}")
        if echo("127.0.0.1", port, called_ae_title="MEDR1", calling_ae_title="DEMO"):
            return
        time.sleep(0.3)
    raise TransientError(f"the listener did not answer within {_START_S:.0f} s")


@contextmanager
def _bar(console: Console, text: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        yield progress, progress.add_task(text, total=total)


def _send(console: Console, studies: list[list[Dataset]], port: int) -> None:
    instances = [dataset for study in studies for dataset in study]
    with _bar(console, "Sending instances (C-STORE)", len(instances)) as (progress, task):
        statuses = send_instances(
            instances, "127.0.0.1", port, called_ae_title="MEDR1", calling_ae_title="DEMO"
        )
        for status in statuses:
            if status != 0x0000:
                raise TransientError(f"the listener answered status 0x{status:04X}")
            progress.advance(task)


def _wait_for_answers(console: Console, database: Database, expected: set[str]) -> None:
    deadline = time.monotonic() + _ANSWER_S
    with _bar(console, "Answering prompts", None) as (progress, task):
        while time.monotonic() < deadline:
            with database.read() as session:
                total, answered = count_prompts(session)
                states = {study.study_instance_uid: study.state for study in list_studies(session)}
            progress.update(task, total=total or None, completed=answered)
            if expected <= {uid for uid, state in states.items() if state in _SETTLED}:
                return
            time.sleep(0.5)
    raise TransientError(f"not every study was answered within {_ANSWER_S:.0f} s")


def _make_link(database: Database) -> str:
    """Make the account that looks at the demo, once, and a link that lets it in."""
    now = datetime.now(UTC)
    with database.write() as session:
        found = find_credentials(session, _ACCOUNT)
        if found is None:
            account_id = add_account(
                session, _ACCOUNT, actor=OPERATOR, now=now, is_administrator=True
            )
            give_role(
                session,
                _ACCOUNT,
                Role.RESEARCHER,
                DEFAULT_PROJECT,
                rules=ProjectRules(),
                actor=OPERATOR,
                now=now,
            )
        else:
            account_id = found.account_id
        return make_link(session, account_id, actor=OPERATOR, now=now)


def _worth_looking_at(answers: list[StoredAnswer]) -> StoredAnswer:
    """Return a right answer about a drawing, if there is one."""
    right = (row for row in answers if row.is_correct and _is_phantom(row))
    return next(right, answers[0])


def _is_phantom(answer: StoredAnswer) -> bool:
    # Ours; the real files have roots of their makers.
    return answer.study_instance_uid.startswith("2.25.")


def _print(answers: list[StoredAnswer], studies: list[StudyListing], data_dir: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    taught = [row for row in answers if row.requested_checkpoint == CheckpointName.DEMO]
    table = Table(title="What the demo checkpoint answered (research use only)")
    for column in ("Modality", "Source", "Question", "Answer", "Truth", ""):
        table.add_column(column, overflow="fold")
    for row in taught:
        mark = {True: "[green]right[/]", False: "[red]wrong[/]", None: "truth unknown"}
        table.add_row(
            row.modality,
            "phantom" if _is_phantom(row) else "real file",
            row.question_id,
            row.choice_text or row.parse_status,
            row.truth or "",
            mark[row.is_correct],
        )
    console.print(table)
    drawn = [row.is_correct for row in taught if _is_phantom(row)]
    real = [row.is_correct for row in taught if not _is_phantom(row)]
    others = len(answers) - len(taught)
    modalities = {row.modality for row in taught}
    console.print(
        f"{len(studies)} studies of {len(modalities)} modalities. Right: {drawn.count(True)} of "
        f"{len(drawn)} on phantoms, {real.count(True)} of {len(real)} on real files: the demo "
        "checkpoint was trained on drawings alone.\n"
        f"{others} clinical questions were asked too; the demo checkpoint was not taught them and "
        "says so in its reasoning. Real answers need the Med-R1 weights.\n"
    )
    for study in studies:
        if study.state is not StudyState.ANSWERED:
            uid = study.study_instance_uid
            console.print(f"{uid} ({study.modality}): {study.state}: {study.reason}")


def _print_ways_on(answers: list[StoredAnswer], data_dir: Path, link: str) -> None:
    folder, port = os.path.relpath(data_dir), _WEB_PORT
    query = "" if not any(answer.is_demo for answer in answers) else "?demo=yes"
    page = f"/projects/{DEFAULT_PROJECT}/answers"
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(
        f"Open the service again:  MEDR1_DATA_DIR={folder} .venv/bin/medr1-pacs up\n"
        f"Send your own studies:   dcmsend 127.0.0.1 11112 -aec MEDR1 +sd +r FOLDER\n"
        f"                         or MEDR1_DATA_DIR={folder} .venv/bin/medr1-pacs ingest FOLDER\n"
        f"Everything of an answer: MEDR1_DATA_DIR={folder} .venv/bin/medr1-pacs answers "
        "--format jsonl\n\n"
        f"The pages, once it is up: http://127.0.0.1:{port}\n"
        f"Sign in, once, within {LINK_HOURS} hours:\n"
        f"  http://127.0.0.1:{port}/sign-in/link/{link}?next={quote(page + query)}\n"
        "Worth looking at:\n"
        f"  http://127.0.0.1:{port}{page}/{_worth_looking_at(answers).answer_id}",
        soft_wrap=True,
    )
