"""How fast research finds answers among many: `python tests/benchmarks/query.py`.

Fills a private PostgreSQL with a million answers (`--answers`), or with `--sqlite` a file with a
hundred thousand, and prints for twenty named filter sets the slowest of a page, the last page, the
count and the facets; then what the narrow row adds to the transaction of an answer.

    --url URL     an empty migrated database to fill and keep, or one that was filled before
    --plans       print the plans of the first page and of the facets
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
from factories import NOON, make_engine_identity, make_output
from servers import PostgresqlServer
from sqlalchemy import event, func, insert, select, text

from medr1_pacs.db import generations
from medr1_pacs.db.audit import new_salt
from medr1_pacs.db.facets import refresh_facets
from medr1_pacs.db.generations import claim_generations, record_generated
from medr1_pacs.db.research import count_facets, count_found, find_page
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Answer,
    Base,
    Checkpoint,
    Generation,
    Instance,
    Patient,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.planned import Decoding, WindowRequest
from medr1_pacs.records.words import CheckpointName, GenerationState, Modality
from medr1_pacs.steps.answering import parse_generations

PROJECTS = {"lung": 0.6, "heart": 0.3, "default": 0.1}
ANSWERS_A_STUDY = 10
SCANNERS_A_MODALITY = 6
ANATOMIES = ("chest", "abdomen", "head", "knee", "spine", "pelvis", "breast", "retina", "skin", "")
VOCABULARY = 3_000
REPEATS = 5
PAGE = 50
_QUEUE = "benchmark"
TEXTS = {"A": "one", "B": "two", "C": "three", "D": "four"}

FILTER_SETS: dict[str, AnswerFilters] = {
    "none": AnswerFilters(),
    "everything": AnswerFilters(versions="all", demo="yes", kind=()),
    "one modality": AnswerFilters(modality=("CT",)),
    "two modalities": AnswerFilters(modality=("CT", "MRI")),
    "modality and anatomy": AnswerFilters(modality=("X-Ray",), anatomy=("knee",)),
    "one question": AnswerFilters(question=("xr-technique",)),
    "one task": AnswerFilters(task=("Disease Diagnosis",)),
    "one checkpoint": AnswerFilters(checkpoint=("xray",)),
    "choice": AnswerFilters(choice=("C",)),
    "unparsed": AnswerFilters(parse_status=("no_answer", "not_an_option")),
    "truncated": AnswerFilters(parse_status=("truncated",)),
    "wrong": AnswerFilters(truth=("wrong",)),
    "known truth, one scanner": AnswerFilters(truth=("known",), scanner=(f"{3:032x}",)),
    "one scanner": AnswerFilters(scanner=(f"{17:032x}",)),
    "years": AnswerFilters(since="2023", until="2024"),
    "old women": AnswerFilters(sex=("F",), age_band=("80-89", "90+")),
    "nothing is found": AnswerFilters(modality=("CT",), checkpoint=("mri",)),
    "a frequent word": AnswerFilters(words="w1"),
    "two words": AnswerFilters(words="w40 w60"),
    "a rare word, wrong": AnswerFilters(words="w2500", truth=("wrong",)),
}


class Writer:
    """Writes many rows fast: COPY on PostgreSQL, one prepared statement on SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, table: type[Base], rows: Iterable[dict[str, Any]]) -> None:
        rows = iter(rows)
        batch = list(take(rows, 20_000))
        while batch:
            with self._database.connection() as connection:
                connection.execute(insert(table.__table__), batch)
            batch = list(take(rows, 20_000))


def take(rows: Iterator[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    for _, row in zip(range(number), rows, strict=False):
        yield row


def fill(
    database: Database,
    answers: int,
    *,
    projects: Mapping[str, float] = PROJECTS,
    chat_text: str = "<|im_start|>user",
    raw_output: str = "",
) -> None:
    """Write answers and all that they stand on, of a hospital with eight modalities."""
    studies = answers // ANSWERS_A_STUDY
    rng = random.Random(7)
    writer = Writer(database)
    modalities = list(Modality)
    bank = [q for q in load_bank(PACKAGED_BANK).questions if not q.id.startswith("demo")]
    by_modality = {
        modality: [number for number, q in enumerate(bank, 1) if q.modality == modality]
        for modality in modalities
    }
    names = list(CheckpointName)[: len(modalities)]
    writer.write(
        Project,
        (
            {"id": number, "name": name, "title": "", "approval_number": "", "purpose": "",
             "dates": "year", "created_at": NOON}
            for number, name in enumerate(projects, 1)
        ),
    )  # fmt: skip
    writer.write(
        Question,
        (
            {"id": number, "question_id": q.id, "version": 1, "question_sha256": f"{number:064x}",
             "modality": q.modality, "task": q.task, "role": q.role, "definition": {},
             "first_used_at": NOON, "record_salt": new_salt()}
            for number, q in enumerate(bank, 1)
        ),
    )  # fmt: skip
    writer.write(
        Checkpoint,
        (
            {"id": number, "name": name, "revision": "r", "sha256": f"{number:064x}",
             "is_demo": False, "first_used_at": NOON, "record_salt": new_salt()}
            for number, name in enumerate(names, 1)
        ),
    )  # fmt: skip
    patients = studies // 2 + 1
    writer.write(
        Patient,
        (
            {"id": n, "patient_key": f"{n:032x}", "sex": "MFO"[n % 2 if n % 200 else 2],
             "created_at": NOON}
            for n in range(1, patients + 1)
        ),
    )  # fmt: skip
    kinds = [
        rng.choices(modalities, weights=(30, 20, 30, 10, 2, 3, 3, 2))[0] for _ in range(studies)
    ]
    writer.write(
        Study,
        (
            {"id": n, "study_instance_uid": f"1.2.{n}", "patient_id": n // 2 + 1,
             "state": "answered", "state_reason": "", "version": 1 + (n % 10 == 0),
             "age_years": rng.choices(range(101), weights=[1 + a for a in range(101)])[0],
             "study_date": f"{2019 + n * 7 // studies}0101", "created_at": NOON,
             "last_received_at": NOON}
            for n in range(1, studies + 1)
        ),
    )  # fmt: skip
    shares, weights = range(1, 1 + len(projects)), list(projects.values())
    writer.write(
        ProjectStudy,
        (
            {"project_id": rng.choices(shares, weights)[0], "study_id": n, "rule": "",
             "added_at": NOON, "is_named": True, "pseudonymous_uid": f"2.25.{n}",
             "patient_pseudonym": f"{n // 2 + 1:032x}", "date_shift_days": 1,
             "shown_study_date": f"{2019 + n * 7 // studies}"}
            for n in range(1, studies + 1)
        ),
    )  # fmt: skip
    writer.write(
        StudyVersion,
        (
            {"id": n, "study_id": n, "version": 1, "instances": 1, "completed_at": NOON,
             "planned_at": NOON, "missing": ""}
            for n in range(1, studies + 1)
        ),
    )  # fmt: skip

    def series() -> Iterator[dict[str, Any]]:
        for n, modality in enumerate(kinds, 1):
            number = modalities.index(modality)
            scanner = number * SCANNERS_A_MODALITY + rng.randrange(SCANNERS_A_MODALITY)
            yield {
                "id": n, "study_id": n, "series_instance_uid": f"1.2.{n}.1", "modality": "CT",
                "route_modality": modality, "route_reason": "",
                "anatomy": ANATOMIES[(number + rng.randrange(3)) % len(ANATOMIES)] or None,
                "scanner_key": f"{scanner:032x}", "manufacturer": "ACME",
            }  # fmt: skip

    writer.write(Series, series())
    writer.write(
        Instance,
        (
            {"id": n, "series_id": n, "sop_instance_uid": f"1.2.{n}.1.1", "sop_class_uid": "1.2",
             "transfer_syntax_uid": "1.2", "sha256": f"{n:064x}", "size_bytes": 1,
             "number_of_frames": 1, "attributes": {}, "stored_name": f"{n}.dcm",
             "association_token": "t", "calling_ae_title": "A", "called_ae_title": "B",
             "study_version": 1, "received_at": NOON, "indexed_at": NOON}
            for n in range(1, studies + 1)
        ),
    )  # fmt: skip
    for table, key in ((ProjectSeries, "series_id"), (ProjectInstance, "instance_id")):
        with database.connection() as connection:
            connection.execute(
                text(
                    f"INSERT INTO {table.__tablename__} (project_id, {key}, pseudonymous_uid) "
                    "SELECT project_id, study_id, pseudonymous_uid FROM project_study"
                )
            )
    writer.write(
        Rendering,
        (
            {"id": n, "instance_id": n, "frame_number": 1, "recipe": "r" * 64,
             "window_request": WindowRequest().to_json(), "state": "rendered",
             "png_sha256": f"{n:064x}", "pixels_sha256": f"{n:064x}", "due_at": NOON,
             "created_at": NOON, "attempts": 0, "losses": 0, "is_suspect": False,
             "is_claimed_alone": False}
            for n in range(1, studies + 1)
        ),
    )  # fmt: skip
    decoding = Decoding(think=True, max_new_tokens=256).to_json()
    decoding_sha256 = hashlib.sha256(json.dumps(decoding, sort_keys=True).encode()).hexdigest()

    def asked() -> Iterator[tuple[int, int, int]]:
        """Yield (answer, study, question)."""
        number = 0
        for n, modality in enumerate(kinds, 1):
            ids = by_modality[modality]
            for k in range(ANSWERS_A_STUDY):
                number += 1
                yield number, n, ids[(n + k) % len(ids)]

    writer.write(
        Prompt,
        (
            {"id": number, "kind": "protocol" if number % 20 else "permutation",
             "rendering_id": n, "question_id": q,
             "requested_checkpoint": "ct", "checkpoint": "ct", "coverage": "in",
             "options": ["one", "two", "three", "four"], "option_order": [0, 1, 2, 3],
             "prompt_text": "What does this picture show? A)one, B)two, C)three, D)four",
             "prompt_sha256": f"{number:064x}", "decoding": decoding,
             "decoding_sha256": decoding_sha256,
             "created_at": NOON}
            for number, n, q in asked()
        ),
    )  # fmt: skip
    writer.write(
        Selection,
        (
            {"study_version_id": n, "question_id": q, "series_id": n, "rendering_id": n,
             "reason": ""}
            for n, q in {(n, q) for _, n, q in asked()}
        ),
    )  # fmt: skip
    writer.write(
        Generation,
        (
            {"id": number, "prompt_id": number, "run": 1, "state": "answered", "waits_for": "ct",
             "is_ready": True, "png_sha256": f"{n:064x}",
             "checkpoint_id": 1 + modalities.index(kinds[n - 1]), "engine": "in_process",
             "versions": {"python": "3.11"}, "dtype": "bfloat16", "attention": "sdpa",
             "chat_text": chat_text, "raw_output": raw_output, "finish_reason": "stop",
             "prompt_tokens": 300, "completion_tokens": 60, "seconds": 0.1, "created_at": NOON,
             "due_at": NOON, "attempts": 0, "losses": 0, "is_suspect": False,
             "is_claimed_alone": False}
            for number, n, q in asked()
        ),
    )  # fmt: skip
    # Words are as frequent as in a language: the k-th is said k times less often than the first.
    words = [f"w{k}" for k in range(1, VOCABULARY + 1)]
    frequency = [1 / k for k in range(1, VOCABULARY + 1)]
    choices = [*"AABBCD", ""]

    def stored() -> Iterator[dict[str, Any]]:
        for number, _, _ in asked():
            choice = choices[rng.randrange(7)] if number % 30 == 0 else choices[rng.randrange(6)]
            yield {
                "id": number, "generation_id": number,
                "parse_status": "parsed" if choice else "truncated" if number % 7 else "no_answer",
                "reasoning": " ".join(rng.choices(words, frequency, k=25)),
                "choice": choice or None,
                "choice_text": TEXTS.get(choice),
                "answered_at": NOON + timedelta(seconds=number),
                "record_salt": new_salt(),
            }  # fmt: skip

    writer.write(Answer, stored())
    writer.write(
        ReferenceStandard,
        (
            {"instance_id": n, "question_id": q, "truth": "one", "source": "header",
             "stated_by": "header", "version": 1, "stated_at": NOON, "record_salt": new_salt()}
            for n, q in {(n, q) for number, n, q in asked() if number % 3 == 0}
        ),
    )  # fmt: skip
    analyze(database)
    for first in range(1, studies + 1, 2_000):
        with database.write() as session:
            refresh_facets(session, *range(first, min(first + 2_000, studies + 1)))
    set_sequences(database)
    analyze(database)


def set_sequences(database: Database) -> None:
    """Let PostgreSQL number on where the rows end."""
    if database.is_sqlite:
        return
    with database.connection() as connection:
        for table in Base.metadata.tables.values():
            if "id" in table.columns:
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                        f'(SELECT coalesce(max(id), 0) + 1 FROM "{table.name}"))'
                    )
                )


def analyze(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(text("ANALYZE"))
    if not database.is_sqlite:  # as the server does by itself, some time after
        with psycopg.connect(database.url.replace("+psycopg", ""), autocommit=True) as vacuum:
            vacuum.execute("VACUUM ANALYZE")


def measure(database: Database, project: str) -> None:
    looks: dict[str, Callable[[Any, AnswerFilters], Any]] = {
        "page": lambda s, f: find_page(s, project, f, limit=PAGE),
        "last page": lambda s, f: find_page(s, project, f, limit=PAGE, from_the_end=True),
        "count": lambda s, f: count_found(s, project, f),
        "facets": lambda s, f: count_facets(s, project, f),
    }
    times: dict[str, list[float]] = {name: [] for name in looks}
    print(f"{'milliseconds, median':<28}" + "".join(f"{name:>12}" for name in looks) + "   found")
    for name, filters in FILTER_SETS.items():
        line = f"{name:<28}"
        for look, run in looks.items():
            taken = []
            for _ in range(REPEATS + 1):
                with database.read() as session:
                    began = time.perf_counter()
                    found = run(session, filters)
                    taken.append(1000 * (time.perf_counter() - began))
            times[look] += taken[1:]  # the first warms
            line += f"{statistics.median(taken[1:]):>12.1f}"
        print(f"{line}   {found.total.number}{'+' if found.total.is_at_least else ''}", flush=True)
    print(
        f"{'p95 over all':<28}"
        + "".join(f"{sorted(t)[math.ceil(0.95 * len(t)) - 1]:>12.1f}" for t in times.values())
    )


def print_plans(database: Database, project: str) -> None:
    """Print how the database looks up what the first page and the facets ask."""
    for name, filters in FILTER_SETS.items():
        for look in (find_page, count_facets):
            arguments = {"limit": PAGE} if look is find_page else {}
            statements: list[tuple[str, Any]] = []
            with database.read() as session:
                connection = session.connection()
                note = partial(_note, statements)
                event.listen(connection, "before_cursor_execute", note)
                look(session, project, filters, **arguments)
                event.remove(connection, "before_cursor_execute", note)
                explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN ANALYZE "
                narrow = [
                    s for s in statements if "answer_facet" in s[0] and "raw_output" not in s[0]
                ]
                for statement, parameters in narrow:
                    print(f"\n== {name}: {look.__name__}")
                    for row in connection.exec_driver_sql(explain + statement, parameters):
                        print("  ", row[-1])


def _note(noted: list[Any], _connection: Any, _cursor: Any, *statement: Any) -> None:
    noted.append(statement[:2])


def measure_writing(database: Database, batches: int = 100, batch: int = 8) -> None:
    """Print what narrow rows add to what a worker writes of a batch: evidence, then answers."""
    taken: dict[tuple[str, bool], list[float]] = {}
    own = generations.add_facets, generations.lock_studies
    identity = make_engine_identity(checkpoint="ct", is_demo=False)
    output = make_output(raw_output="<think>It is seen.</think><answer>A</answer>")
    for number in range(batches):
        has_row = number % 2 == 0
        with database.write() as session:
            add_runs(session, batch)
            claimed = claim_generations(session, _QUEUE, owner="benchmark", limit=batch)
            assert claimed is not None
        claim, work = claimed
        generations.add_facets, generations.lock_studies = own if has_row else (_nothing, _nothing)
        began = time.perf_counter()
        with database.write() as session:
            assert all(record_generated(session, claim, w, output, identity) for w in work)
        parsing = time.perf_counter()
        assert parse_generations(database) == batch
        ended = time.perf_counter()
        taken.setdefault(("both", has_row), []).append(1000 * (ended - began))
        taken.setdefault(("answers", has_row), []).append(1000 * (ended - parsing))
    generations.add_facets, generations.lock_studies = own
    for what, label in (("both", "evidence and answers"), ("answers", "answers alone")):
        with_row, without = (statistics.median(taken[what, has]) for has in (True, False))
        print(
            f"a batch of {batch}, {label}: {without:.1f} ms, with narrow rows {with_row:.1f} ms "
            f"({100 * (with_row / without - 1):+.0f} %)"
        )


def _nothing(*_: Any) -> None:
    """What a narrow row costs less than."""


def add_runs(session: Any, number: int) -> list[int]:
    """Add further runs of the latest prompts, which wait for a worker."""
    template = session.scalars(
        select(Generation).order_by(Generation.id.desc()).limit(number)
    ).all()
    rows = []
    for row in template:
        values = {c.name: getattr(row, c.name) for c in Generation.__table__.columns}
        run = session.scalar(
            select(func.max(Generation.run)).where(Generation.prompt_id == row.prompt_id)
        )
        values |= {
            "run": run + 1,
            "state": GenerationState.WAITING,
            "waits_for": _QUEUE,
            "checkpoint_id": None,
            "raw_output": None,
        }
        rows.append(Generation(**{k: v for k, v in values.items() if k != "id"}))
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        server = None
        url = arguments.url
        if not url and arguments.sqlite:
            url = f"sqlite:///{folder}/medr1.sqlite"
        elif not url:
            server = PostgresqlServer()
            server.start()
            url = server.create_database("query")
        database = Database(url)
        try:
            upgrade_schema(database, Branch.RESEARCH)
            yield database
        finally:
            database.dispose()
            if server:
                server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--url")
    parser.add_argument("--plans", action="store_true")
    arguments = parser.parse_args()
    with opened(arguments) as database:
        answers = arguments.answers or (100_000 if database.is_sqlite else 1_000_000)
        with database.read() as session:
            is_filled = session.scalar(select(Answer.id).limit(1)) is not None
        if not is_filled:
            began = time.perf_counter()
            fill(database, answers)
            print(f"{answers} answers written in {time.perf_counter() - began:.0f} s", flush=True)
        largest = next(iter(PROJECTS))
        measure(database, largest)
        measure_writing(database)
        if arguments.plans:
            print_plans(database, largest)


if __name__ == "__main__":
    main()
