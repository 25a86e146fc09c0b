"""All that a task does is watched, so that what hangs in it ends its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeEngine

from medr1_pacs.checkpoints import CheckpointRegistry, ConfiguredCheckpoint
from medr1_pacs.db.tables import Generation
from medr1_pacs.errors import CheckpointMissing, DeviceBroken
from medr1_pacs.installation import ROOT
from medr1_pacs.processes import DEVICE_BROKEN
from medr1_pacs.records.words import GenerationState
from workers import engine_cache
from workers.app import ANSWER_TASK, make_app
from workers.tasks import Workplace, register_answer_task

WORKER = """
import sys
from pathlib import Path
from fakes import FakeEngine
from medr1_pacs.db.sessions import Database
from medr1_pacs.storage.pictures import PictureStore
from workers import run
from workers.app import make_app
from workers.bells import BellTower

url, root, broker = sys.argv[1:]


class Engines:
    def __init__(self, *_, **__):
        pass

    def get(self, checkpoint):
        return FakeEngine(lambda prompt: RuntimeError("CUDA error"), is_broken=True)


run.EngineCache = Engines
app = make_app("filesystem://", Path(broker))
BellTower(app).ring_answer("demo")
run.run_answer_worker(
    app, Database(url), PictureStore(Path(root)), None, checkpoints=["demo"], batch_size=1
)
"""

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


class Watch:
    """A heartbeat that notes whether it watches."""

    owner = "answer@here/1/1"

    def __init__(self) -> None:
        self.is_watching = False

    def note_trouble(self, checkpoint: str, trouble: str | None) -> None:
        self.trouble = trouble

    def watch(self, step: Callable[[], Any]) -> Any:
        self.is_watching = True
        try:
            return step()
        finally:
            self.is_watching = False


def test_loading_the_weights_is_watched(database, pictures, tmp_path):
    heartbeat, watched = Watch(), []

    class Engines:
        def get(self, checkpoint: str) -> FakeEngine:
            watched.append((checkpoint, heartbeat.is_watching))
            return FakeEngine()

    app = make_app("filesystem://", tmp_path)
    place = Workplace(app, database, pictures, heartbeat, lambda: False, lambda status: None)
    register_answer_task(place, Engines())

    app.tasks[ANSWER_TASK]("ct")

    assert watched == [("ct", True)]


def test_a_checkpoint_that_cannot_be_loaded_is_told(database, pictures, tmp_path):
    heartbeat = Watch()

    class Engines:
        def get(self, checkpoint: str) -> FakeEngine:
            raise CheckpointMissing("the checkpoint ct cannot be loaded: no such file")

    app = make_app("filesystem://", tmp_path)
    place = Workplace(app, database, pictures, heartbeat, lambda: False, lambda status: None)
    register_answer_task(place, Engines())

    with pytest.raises(CheckpointMissing):
        app.tasks[ANSWER_TASK]("ct")

    assert heartbeat.trouble == "the checkpoint ct cannot be loaded: no such file"


def test_a_worker_whose_device_is_broken_ends_so_that_it_is_started_again(
    research_url, pictures, add_work, rows, tmp_path
):
    png_sha256 = pictures.put(b"a picture")
    add_work(Generation, 2, png_sha256=png_sha256)

    worker = subprocess.run(
        [sys.executable, "-c", WORKER, research_url, tmp_path / "storage", tmp_path],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert worker.returncode == DEVICE_BROKEN, worker.stderr
    assert {(row.state, row.attempts) for row in rows(Generation)} == {(GenerationState.WAITING, 0)}


def test_a_device_that_answers_nothing_from_the_start_claims_nothing(site, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_cache, "open_engine", lambda *_, **__: FakeEngine(is_broken=True))
    registry = CheckpointRegistry({"ct": ConfiguredCheckpoint("ct", tmp_path, "0" * 40)})
    engines = engine_cache.EngineCache(registry, batch_size=1, should_stop=lambda: False)

    for _ in range(2):  # nor is it refused for a minute: the next process asks again
        with pytest.raises(DeviceBroken):
            engines.get("ct")
