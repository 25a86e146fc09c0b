"""The sweep: what is away holds up its own step alone; what changed is asked again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from factories import make_instance, put_instance
from readers import make_chest, make_protocol, start
from sqlalchemy import select

from medr1_pacs.asking import Questionnaire
from medr1_pacs.checkpoints import CheckpointRegistry, ConfiguredCheckpoint
from medr1_pacs.db.locking import lock_review
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Generation, Instance, Prompt, ReferenceImport, Study
from medr1_pacs.demo.studies import make_study
from medr1_pacs.processes import StopSignal
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.reviews import Judgement, Reader
from medr1_pacs.records.words import Modality, StudyState, TruthSource
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.reviewing import open_next
from workers import sweep as sweep_module
from workers.app import make_app
from workers.bells import BellTower
from workers.export_runner import ExportRunner
from workers.sweep import Sweep


@pytest.fixture
def make_sweep(indexer, pictures, withdrawer, sealer, exports, tmp_path):
    towers = []

    def make_sweep(registry=None, **changes):
        registry = registry or CheckpointRegistry()
        questionnaire = Questionnaire(
            bank=load_bank(PACKAGED_BANK),
            synonyms=load_synonyms(),
            resolve_checkpoint=registry.resolve,
            is_demo=registry.is_demo,
            think=True,
        )
        towers.append(BellTower(make_app("filesystem://", tmp_path)))
        return Sweep(
            replace(indexer, **changes),
            pictures,
            withdrawer,
            sealer,
            towers[-1],
            questionnaire,
            registry.names,
            ExportRunner(indexer.database, exports),
            study_quiet_s=0.001,
        )

    yield make_sweep
    for tower in towers:
        tower.close()


@pytest.fixture
def read(database):
    def read(statement):
        with database.read() as session:
            return list(session.scalars(statement))

    return read


def test_a_tick_takes_a_study_from_the_backlog_to_its_prompts(make_sweep, store, read):
    put_instance(store, *make_study(Modality.XRAY, 1))
    sweep = make_sweep()

    sweep.tick()
    sweep.tick()

    assert read(select(Study.state)) == [StudyState.ASKED]
    assert read(select(Generation.id))


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_vault_that_is_away_holds_up_indexing_alone(make_sweep, store, read, tmp_path):
    put_instance(store, *make_study(Modality.XRAY, 1))
    make_sweep().tick()
    away = Database(f"sqlite:///{tmp_path}/missing/vault.sqlite")
    put_instance(store, make_instance())
    sweep = make_sweep(vault=away)

    sweep.tick()

    assert len(read(select(Instance.id))) == 1
    assert len(store.incoming(9)) == 1


def test_prompts_that_wait_for_the_demo_are_withdrawn_once_weights_are_there(
    make_sweep, store, read, tmp_path
):
    put_instance(store, *make_study(Modality.XRAY, 1))
    demo = make_sweep()
    demo.tick()
    demo.tick()
    assert set(read(select(Prompt.checkpoint))) == {"demo"}
    registry = CheckpointRegistry({"xray": ConfiguredCheckpoint("xray", tmp_path, "0" * 40)})
    stop, ticks = threading.Event(), []

    def watch(tick):
        tick()
        ticks.append(tick)
        if len(ticks) == 2:
            stop.set()

    make_sweep(registry).run(stop, watch, lambda: True)

    assert set(read(select(Prompt.checkpoint))) == {"xray"}
    assert read(select(Study.version)) == [2]


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_defect_in_one_step_stops_no_other(make_sweep, store, read, monkeypatch):
    put_instance(store, make_instance())
    sweep = make_sweep()
    monkeypatch.setattr(sweep_module, "expire_claims", lambda *_: 1 / 0)
    monkeypatch.setattr(sweep_module, "complete_studies", lambda *_, **__: 1 / 0)

    sweep.tick()

    assert len(read(select(Instance.id))) == 1


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_studies_complete_while_others_arrive_without_pause(
    make_sweep, store, index, read, monkeypatch
):
    put_instance(store, make_instance(StudyInstanceUID="1.2.1"))
    index()
    time.sleep(0.01)
    sweep = make_sweep()
    monkeypatch.setattr(sweep, "_index", lambda: None)  # it is always behind
    put_instance(store, make_instance(StudyInstanceUID="1.2.2"))

    sweep.tick()

    assert StudyState.RECEIVING not in read(select(Study.state))


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_without_the_lease_nothing_is_done(make_sweep, store, read):
    put_instance(store, make_instance())
    stop, asked = StopSignal(), []

    def has_lease():
        asked.append(True)
        stop.set()
        return False

    make_sweep().run(stop, lambda tick: tick(), has_lease)

    assert asked == [True]
    assert read(select(Instance.id)) == []


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_nothing_expires_soon_after_the_clock_jumped(make_sweep, monkeypatch):
    sweep, expired = make_sweep(), []
    monkeypatch.setattr(sweep_module, "expire_claims", expired.append)
    sweep._expire_from = 0.0
    sweep.tick()
    assert len(expired) == 1

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    sweep.tick()

    assert len(expired) == 1


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_panel_says_what_is_true_once_its_last_case_is_locked(
    make_sweep, answered, have_account, database, read
):
    answered(*make_chest(1), checkpoint="xray")
    anna = have_account("anna", {"default": ["reader"]})
    now = datetime.now(UTC)
    reader = Reader(start(database, make_protocol(reference=True)), anna)
    opened, _ = open_next(database, reader, now=now)
    said = Judgement(choice_text="Pneumothorax", confidence=90)
    with database.write() as session:
        lock_review(
            session, reader, opened.read.assignment_id, Phase.BLIND, said, active_ms=0, now=now
        )
    assert read(select(ReferenceImport.source)) == []

    make_sweep().tick()

    assert read(select(ReferenceImport.source)) == [TruthSource.READER_PANEL]
