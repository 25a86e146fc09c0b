"""docs/architecture.md tells the way of the data as the code goes it.

One instance is sent over a real association and one question is asked about it, with every call of
our functions noted; the page's names must be among them, in the page's order.
"""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest
from factories import make_instance

from medr1_pacs.asking import Questionnaire
from medr1_pacs.checkpoints import load_registry
from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.decoding import DecoderPool
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.server import Listener
from medr1_pacs.peers import send_instances
from medr1_pacs.questions.bank import load_bank
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.steps.settling import settle_studies
from workers.engines import open_engine

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
QUESTION = """\
modality: CT
questions:
- id: site-slice
  version: 1
  task: Disease Diagnosis
  role: study
  select: middle
  window: lung
  stem: "What does this slice show?"
  options: [A nodule, An effusion]
  when: {anatomy: chest}
  truth: reader
  coverage: near
"""


class CallLog:
    """Notes every call of a function of ours, in all threads that start from now on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> CallLog:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame, event, _argument) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] in ("medr1_pacs", "workers"):
            self.names.append(f"{module}.{frame.f_code.co_qualname}".removeprefix("medr1_pacs."))


@pytest.fixture(scope="module")
def names_of_a_walk():
    """Return the names that a section of the page lists, in its order."""

    def names(heading: str) -> list[str]:
        section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.M)[1].split("\n## ")[0]
        return re.findall(r"^ *\d+\. `([\w.]+)`", section, flags=re.M)

    return names


@pytest.fixture
def calls(store, pictures, database, indexer, tmp_path) -> list[str]:
    """Send one instance, ask one question about it, and return the calls that this made."""
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "site.yaml").write_text(QUESTION)
    registry = load_registry(None, tmp_path)
    engine = open_engine(registry.get("demo"), batch_size=1)
    listener = Listener(
        store, AssociationLog(lambda _rows: None), ae_title="MEDR1", host="127.0.0.1", port=0
    )
    with CallLog() as log, listener, DecoderPool() as decoder:
        bank = load_bank(tmp_path / "bank")
        [status] = send_instances(
            [make_instance()], "127.0.0.1", listener.port, called_ae_title="MEDR1"
        )
        assert status == 0x0000
        assert indexer.index().new == 1
        assert complete_studies(database, quiet_s=0) == 1
        questionnaire = Questionnaire(
            bank, load_synonyms(), registry.resolve, is_demo=True, think=True
        )
        assert plan_study(database, questionnaire)
        assert render_planned(database, store, pictures, decoder, owner="w") == 1
        assert len(answer_batch(database, pictures, engine, owner="w")) == 1
        assert settle_studies(database, registry.names) == 1
        with database.read() as session:
            assert len(list(iterate_answers(session))) == 1
    return log.names


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "heading", ["From an instance to the row of an answer", "From a question to a stored answer"]
)
def test_the_page_names_what_is_called_in_the_order_of_the_calls(heading, names_of_a_walk, calls):
    walk = names_of_a_walk(heading)
    assert len(walk) > 15

    position = 0
    for name in walk:
        assert name in calls[position:], f"{name} is not called, or earlier than the page says"
        position = calls.index(name, position) + 1
