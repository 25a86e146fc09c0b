"""Data in and data out."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_lines, print_table
from medr1_pacs.cli.wiring import (
    load_checkpoints,
    open_decoder,
    open_pictures,
    open_research,
    open_store,
    read_settings,
    start_process,
)
from medr1_pacs.db.answers import get_answer, iterate_answers
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.reading import record_listing
from medr1_pacs.db.renderings import get_rendering_of_answer
from medr1_pacs.db.studies import list_failed, retry_failed
from medr1_pacs.errors import InstanceUnreadable, SettingInvalid, SourceUnreadable
from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.exports.json_lines import json_lines
from medr1_pacs.logs import configure_logs
from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.reading import How, Reading
from medr1_pacs.storage.instances import InstanceStore


class AnswerFormat(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders to search for files")],
) -> None:
    """Receive instances from files, by the same path as C-STORE."""
    from medr1_pacs.steps.receiving import ingest_file

    settings = start_process()
    store = open_store(settings)
    received, failed = 0, 0
    for path in paths:
        if not path.exists():
            raise SettingInvalid(f"{path} does not exist")
        is_folder = path.is_dir()
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if is_folder else [path]:
            try:
                _wait_for_room(store, settings.backlog_max // 2)
                ingest_file(store, file, called_ae_title=settings.ae_title)
                received += 1
            except (InstanceUnreadable, SourceUnreadable) as error:
                print_error(f"{file}: {error}")
                # A folder may hold a DICOMDIR or a text; a file that was named must be DICOM.
                failed += not is_folder
    print(f"{received} instances received")
    if failed or not received:
        raise typer.Exit(1)


def _wait_for_room(store: InstanceStore, backlog_max: int) -> None:
    """Wait while the backlog holds half of what it may: the other half is for senders."""
    if store.backlog() < backlog_max:
        return
    print_error("Half of the backlog is taken; waiting. Is `medr1-pacs up` running?")
    while store.backlog() >= backlog_max:
        time.sleep(1)


def answers(
    study: Annotated[str | None, typer.Option(help="Study Instance UID")] = None,
    output: Annotated[AnswerFormat, typer.Option("--format")] = AnswerFormat.TABLE,
) -> None:
    """List the answers with everything that made them."""
    research = open_research(read_settings())
    how = How.COMMAND if output is AnswerFormat.TABLE else How(output)
    record_listing(research, Reading.ANSWERS_LISTED, how, actor=OPERATOR)
    with research.read() as session:
        found = iterate_answers(session, study_instance_uid=study)
        rows = (answer.to_json() for answer in found)
        if output is AnswerFormat.JSONL:
            print_lines(json_lines(rows))
        elif output is AnswerFormat.CSV:
            print_lines(csv_lines([field.name for field in fields(StoredAnswer)], rows))
        else:
            columns = (
                "answer_id", "modality", "question_id", "choice", "choice_text", "truth",
                "is_correct", "parse_status", "checkpoint", "is_demo",
            )  # fmt: skip
            print_table("Answers (research use only)", columns, rows)


def retry(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every study that failed")] = False,
    where_reason: Annotated[
        str, typer.Option(help="With --all: only those whose reason holds this text")
    ] = "",
) -> None:
    """Give the failed work of a study its attempts back, or of all."""
    if every is (study is not None) or (where_reason and not every):
        raise typer.BadParameter("name one study, or --all, which --where-reason narrows down")
    research = open_research(read_settings())
    if study is None:
        with research.read() as session:
            failed = list_failed(session, reason=where_reason)
    else:
        failed = [study]
    retried = 0
    for uid in failed:
        with research.write() as session:
            retried += retry_failed(session, uid, actor=OPERATOR)
    if study is not None and not retried:
        print_error(f"{study} has not failed; `medr1-pacs studies` says where it is")
        raise typer.Exit(1)
    print(f"{study} is tried again" if study else f"{retried} studies are tried again")


def replay(
    answer_id: Annotated[int, typer.Argument(help="As `medr1-pacs answers` lists it")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Make an answer again from what was stored with it, and compare."""
    from workers.engines import open_engine
    from workers.replay import replay_answer

    configure_logs()
    settings = read_settings()
    research = open_research(settings)
    with research.read() as session:
        answer = get_answer(session, answer_id)
        rendering = get_rendering_of_answer(session, answer_id)
    engine = open_engine(load_checkpoints(settings).get(answer.checkpoint), batch_size=1)
    with open_decoder(settings) as decoder:
        outcome = replay_answer(
            answer, rendering, open_store(settings), open_pictures(settings), engine, decoder
        )
    if as_json:
        print(json.dumps(asdict(outcome)))
    else:
        print(f"answer {answer_id}: {'equal' if outcome.is_equal else 'DIFFERENT'}")
        for difference in outcome.differences:
            print(f"  {difference}")
    raise typer.Exit(0 if outcome.is_equal else 1)
