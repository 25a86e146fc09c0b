"""How long an export takes against PostgreSQL's own COPY, how long its verifier, and sealing.

    python tests/benchmarks/export.py [--answers N] [--url URL]

Fills a private PostgreSQL with a million answers of one project (rows of 2.5 KB and more) and the
events that a service would have written of them, then prints, all in one run: seconds and
microseconds an event of sealing at ten thousand and at all events; seconds of COPY of the select of
answers into nothing; seconds and peak memory of `medr1-pacs export` in CSV, in a process of its
own, and of the `verify.py` in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import psycopg
from query import analyze, fill, opened, set_sequences
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql

from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.as_of import look_back
from medr1_pacs.db.exported_answers import EVERYTHING, answers_statement
from medr1_pacs.db.recording import iterate_record_ids, tell_records
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sealing import count_unsealed
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import AuditEvent, AuditLeaf
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.audit_files import HeadsFile, make_signing_key

PROJECT = "lung"
WORDS = "The soft tissue stands out from the air around it, and its borders are sharp. "
FEW = 10_000
SETTLED_S = 6.0
"""After which the sealer looks no more at what it has sealed."""


def write_events(database: Database) -> None:
    """Write what a service would have told of all rows."""
    insert = (
        "INSERT INTO audit_event (occurred_at, actor, action, object_type, object_id, new_value, "
        "salt) SELECT now(), 'service', '{action}', '{kind}', id, '{value}', "
        "replace(gen_random_uuid()::text, '-', '') FROM {table} ORDER BY id"
    )
    for action, kind, table, value in (
        ("study.created", "study", "study", '{"state": "receiving"}'),
        ("study.project_added", "study", "study", f'{{"project": "{PROJECT}"}}'),
        ("instance.stored", "instance", "instance", '{"study_version": 1}'),
        ("study.planned", "study", "study", '{"version": 1}'),
        ("rendering.rendered", "rendering", "rendering", '{"state": "rendered"}'),
        ("prompt.created", "prompt", "prompt", '{"sha256": "..."}'),
        ("generation.generated", "generation", "generation", '{"state": "generated"}'),
    ):
        with database.connection() as connection:
            connection.exec_driver_sql(
                insert.format(action=action, kind=kind, table=table, value=value)
            )
    for action, kind in (
        ("question.registered", "question"),
        ("checkpoint.registered", "checkpoint"),
        ("reference.derived", "reference_standard"),
        ("answer.parsed", "answer"),
    ):
        with database.read() as session:
            ids = list(iterate_record_ids(session, kind))
        for first in range(0, len(ids), 20_000):
            with database.write() as session:
                tell_records(session, action, kind, ids[first : first + 20_000])


def measure_sealing(database: Database, sealer: Sealer) -> None:
    with database.read() as session:
        waiting, _ = count_unsealed(session)
    done, began = 0, time.perf_counter()
    few = 0.0
    while (sealed := sealer.seal()).has_more:
        done += sealed.events
        if not few and done >= FEW:
            few = (time.perf_counter() - began) / done
            began, done = time.perf_counter(), 0
    took = time.perf_counter() - began
    print(
        f"sealing: {1e6 * few:.0f} us an event at {FEW:,}, {1e6 * took / max(done, 1):.0f} us over "
        f"all {waiting:,}",
        flush=True,
    )


def measure_sealing_more(database: Database, sealer: Sealer) -> None:
    """Seal ten thousand more behind all that there are."""
    # As in a service that has been running: what came before is settled, by three looks.
    for _ in range(3):
        sealer.seal()
        time.sleep(SETTLED_S)
    with database.connection() as connection:
        connection.exec_driver_sql(
            # Of the same kind as the first ten thousand: of each kind other rows are looked up.
            "INSERT INTO audit_event (occurred_at, actor, action, object_type, object_id, "
            "new_value, salt) SELECT now(), 'service', 'study.created', 'study', id, "
            "'{\"state\": \"receiving\"}', replace(gen_random_uuid()::text, '-', '') FROM study "
            f"ORDER BY id LIMIT {FEW}"
        )
    began, done = time.perf_counter(), 0
    while (sealed := sealer.seal()).has_more:
        done += sealed.events
    done += sealed.events
    took = time.perf_counter() - began
    with database.read() as session:
        size = session.scalar(select(func.count()).select_from(AuditLeaf))
    print(f"sealing: {1e6 * took / done:.0f} us an event at {size:,}", flush=True)


def measure_copy(database: Database) -> float:
    with database.read() as session:
        statement = answers_statement(session, PROJECT, EVERYTHING, look_back(session, 1, 1 << 60))
    compiled = statement.compile(
        dialect=postgresql.dialect(paramstyle="named"), compile_kwargs={"literal_binds": True}
    )
    began, size = time.perf_counter(), 0
    with (
        psycopg.connect(database.url.replace("+psycopg", "")) as connection,
        connection.cursor().copy(f"COPY ({compiled}) TO STDOUT WITH CSV") as copy,
    ):
        for block in copy:
            size += len(block)
    took = time.perf_counter() - began
    print(f"COPY: {took:.1f} s, {size / 1e6:.0f} MB", flush=True)
    return took


def run(arguments: Sequence[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Run a program; returns seconds, peak MB, and what it printed."""
    script = (
        "import os, resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(f'\\n{code} {peak / 1024:.0f}')\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, env=os.environ | environment, check=False,
    )  # fmt: skip
    took = time.perf_counter() - began
    *said, last = done.stdout.strip().splitlines()
    code, peak = last.split()
    if code != "0":
        print(done.stderr[-2000:])
    return took, float(peak), "\n".join(said[-3:])


def time_of_writing(path: Path) -> float:
    """Return the seconds from when a file was made to when it was written last."""
    times = subprocess.run(
        ["stat", "-c", "%.3W %.3Y", str(path)], capture_output=True, text=True, check=True
    ).stdout
    made, written = map(float, times.split())
    return written - made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--url")
    parser.set_defaults(sqlite=False)
    arguments = parser.parse_args()
    with opened(arguments) as database, tempfile.TemporaryDirectory() as folder:
        with database.read() as session:
            is_filled = session.scalar(select(AuditEvent.id).limit(1)) is not None
            has_leaves = session.scalar(select(AuditLeaf.seq).limit(1)) is not None
        place = Path(folder)
        if not is_filled:
            began = time.perf_counter()
            fill(
                database, arguments.answers, projects={PROJECT: 1.0},
                chat_text=12 * WORDS, raw_output=12 * WORDS,
            )  # fmt: skip
            write_events(database)
            set_sequences(database)
            analyze(database)
            print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
        data = Path(os.environ.get("BENCHMARK_DATA") or place / "data")
        data.mkdir(parents=True, exist_ok=True)
        environment = {
            "MEDR1_DATA_DIR": str(data),
            "MEDR1_DATABASE_URL": database.url,
            "MEDR1_VAULT_URL": f"sqlite:///{data}/vault.sqlite",
        }
        vault = Database(environment["MEDR1_VAULT_URL"])
        upgrade_schema(vault, Branch.VAULT)
        vault.dispose()
        (data / "site.key").write_bytes(bytes(32))
        key = make_signing_key(data / "audit.key", SigningKey.generate("medr1-pacs/benchmark"))
        (place / "key").write_text(f"{key.verifier}\n")
        heads = HeadsFile(data.with_name(f"{data.name}-audit-heads.jsonl"))
        sealer = Sealer(database, (key,), heads, interval_s=60)
        if not has_leaves:
            measure_sealing(database, sealer)
        measure_sealing_more(database, sealer)
        analyze(database)
        copied = measure_copy(database)
        out = place / "export"
        took, peak, said = run(
            [sys.executable, "-m", "medr1_pacs", "export", "--out", str(out), "--project", PROJECT,
             "--everything", "--no-pictures"],
            environment,
        )  # fmt: skip
        print(f"export: {took:.1f} s, {took / copied:.2f} x COPY, {peak:.0f} MB peak; {said}")
        size, alone = (out / "answers.csv").stat().st_size, time_of_writing(out / "answers.csv")
        print(
            f"answers.csv: {size / 1e6:.0f} MB, {size / arguments.answers:.0f} bytes a row, "
            f"{alone:.1f} s, {alone / copied:.2f} x COPY"
        )
        verified, peak, said = run(
            [sys.executable, "-I", str(out / "verify.py"), "--key", str(place / "key")], {}
        )
        print(f"verify.py: {verified:.1f} s, {verified / took:.2f} x export, {peak:.0f} MB; {said}")


if __name__ == "__main__":
    main()
