"""What the audit log costs those who write: `python tests/benchmarks/audit.py [--sqlite]`.

Rounds with and without the log, in turn, over a private PostgreSQL (or a file): a hundred instances
are recorded from the backlog; then all that is asked about them is planned, drawn and answered by
an engine that takes no time, which makes the log's share as large as it can be. With the log, what
happened is sealed within the round. Prints the medians of both and their ratio.

Then the whole service, with its own engine, is sent studies for half a minute, and the age of the
oldest event without a place is printed: the most, and the median.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from factories import SITE_KEY, make_engine_identity, make_instance, make_uid, put_instance
from fakes import FakeDecoder, FakeEngine
from servers import PostgresqlServer
from service import Service

from medr1_pacs.asking import Questionnaire
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sealing import count_unsealed
from medr1_pacs.db.sessions import Database
from medr1_pacs.demo.studies import make_study
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.projects import ProjectRules
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.words import Modality
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.answering import answer_batch, parse_generations
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.audit_files import HeadsFile
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore

INSTANCES = 100
SENDING_S = 30.0
_TELLERS: dict[str, Any] = {
    "add_event": lambda *_, **__: SimpleNamespace(id=None),
    "add_record_events": lambda *_, **__: None,
    "tell_records": lambda *_, **__: None,
    "hash_record": lambda *_, **__: None,
}


@contextmanager
def without_log() -> Iterator[None]:
    """Let nothing be told, wherever it is."""
    replaced = []
    for module in list(sys.modules.values()):
        for name, nothing in _TELLERS.items():
            own = getattr(module, name, None)
            if own is not None and getattr(own, "__module__", "").startswith("medr1_pacs.db"):
                replaced.append((module, name, own))
                setattr(module, name, nothing)
    try:
        yield
    finally:
        for module, name, own in replaced:
            setattr(module, name, own)


def measure_writers(url: str, folder: Path, rounds: int) -> None:
    research, vault = Database(url), Database(f"sqlite:///{folder}/vault.sqlite")
    upgrade_schema(research, Branch.RESEARCH)
    upgrade_schema(vault, Branch.VAULT)
    store, pictures = InstanceStore(folder / "storage"), PictureStore(folder / "storage")
    key = SigningKey.generate("medr1-pacs/benchmark")
    sealer = Sealer(research, (key,), HeadsFile(folder / "heads.jsonl"), interval_s=1)
    questionnaire = Questionnaire(
        load_bank(PACKAGED_BANK), load_synonyms(), lambda _: "ct", is_demo=False, think=True
    )
    engine = FakeEngine(identity=make_engine_identity(checkpoint="ct", is_demo=False))
    taken: dict[tuple[str, bool], list[float]] = {}

    def answer() -> None:
        complete_studies(research, quiet_s=0)
        while plan_study(research, questionnaire):
            pass
        while name_for_research(research, SITE_KEY):
            pass
        while render_planned(research, store, pictures, FakeDecoder(), owner="renderer"):
            pass
        while answer_batch(research, pictures, engine, owner="answerer"):
            parse_generations(research)

    with HeaderReader() as headers:
        indexer = Indexer(store, research, vault, SITE_KEY, ProjectRules(), headers)

        def receive() -> None:
            while indexer.index().total:
                pass

        for number in range(2 * rounds + 2):
            has_log = number % 2 == 0
            for _ in range(INSTANCES // 4):
                uids = {name: make_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
                for _ in range(4):
                    put_instance(store, make_instance(**uids))
            for what, work in (("receiving", receive), ("answering", answer)):
                seconds = _time(work, sealer if has_log else None)
                if number >= 2:  # the first of each warms
                    taken.setdefault((what, has_log), []).append(seconds)
    for what in ("receiving", "answering"):
        with_log, without = (statistics.median(taken[what, has]) for has in (True, False))
        more = 100 * (with_log / without - 1)
        print(
            f"{what}, {INSTANCES} instances: {1000 * without:.0f} ms without the log, "
            f"{1000 * with_log:.0f} ms with it and sealed ({more:+.1f} %)",
            flush=True,
        )
    research.dispose()
    vault.dispose()


def _time(work: Callable[[], None], sealer: Sealer | None) -> float:
    began = time.perf_counter()
    if sealer is None:
        with without_log():
            work()
    else:
        work()
        while sealer.seal().has_more:
            pass
    return time.perf_counter() - began


def measure_lag(folder: Path, **settings: str) -> None:
    """Print how far the sealer of a whole service is behind while it is sent studies."""
    folder.mkdir()
    service = Service(folder, **settings)
    service.start()
    lags: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        database = service.database()
        while not stop.wait(0.25):
            with database.read() as session:
                _, since = count_unsealed(session)
            lags.append((datetime.now(UTC) - since).total_seconds() if since else 0.0)
        database.dispose()

    watcher = threading.Thread(target=watch)
    watcher.start()
    sent, ends_at = 0, time.monotonic() + SENDING_S
    try:
        while time.monotonic() < ends_at:
            for modality in Modality:
                sent += len(service.send(make_study(modality, 1_000 + sent)))
        time.sleep(2)
    finally:
        stop.set()
        watcher.join()
        service.stop()
    print(
        f"the whole service, {sent} instances in {SENDING_S:.0f} s: sealed behind by "
        f"{statistics.median(lags):.2f} s, at most {max(lags):.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.sqlite:
            measure_writers(f"sqlite:///{folder}/medr1.sqlite", folder, arguments.rounds)
            measure_lag(folder / "service")
            return
        server = PostgresqlServer()
        server.start()
        try:
            measure_writers(server.create_database("audit"), folder, arguments.rounds)
            measure_lag(folder / "service", MEDR1_DATABASE_URL=server.create_database("service"))
        finally:
            server.close()


if __name__ == "__main__":
    main()
