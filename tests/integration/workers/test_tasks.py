"""All that a task does is watched, so that what hangs in it ends its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeEngine

from workers.app import ANSWER_TASK, make_app
from workers.tasks import Workplace, register_answer_task

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


class Watch:
    """A heartbeat that notes whether it watches."""

    owner = "answer@here/1/1"

    def __init__(self) -> None:
        self.is_watching = False

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
    place = Workplace(app, database, pictures, heartbeat, lambda: False)
    register_answer_task(place, Engines())

    app.tasks[ANSWER_TASK]("ct")

    assert watched == [("ct", True)]
