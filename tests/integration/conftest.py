"""What the steps need around them: an indexer, and rows to work on."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from browsers import (
    app,
    browse,
    give_token,
    have_account,
    make_finished_export,
    make_pages,
    sign_in,
    signed_in_client,
)
from exporters import bring, export, key, verify
from factories import (
    NOON,
    SITE_KEY,
    association_request,
    make_engine_identity,
    make_indexed_instance,
    put_instance,
)
from fakes import FakeDecoder, FakeEngine
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import Verification
from sqlalchemy import func, select

from medr1_pacs.asking import Questionnaire
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.instances import record_instance
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Base, Generation, Instance, Prompt, Question, Rendering
from medr1_pacs.db.vault import VaultBase
from medr1_pacs.db.withdrawals import request_withdrawal
from medr1_pacs.demo.studies import make_study
from medr1_pacs.headers import patient_key
from medr1_pacs.listener import associations as association_log
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.pdu import PduType
from medr1_pacs.listener.server import Listener
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.projects import ProjectRules
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.questions.bank import PACKAGED_BANK, QuestionBank, load_bank
from medr1_pacs.records.planned import Decoding, WindowRequest
from medr1_pacs.records.withdrawals import RequestedKey
from medr1_pacs.records.words import (
    Coverage,
    GenerationState,
    Modality,
    PromptKind,
    RenderingState,
    WithdrawnKind,
)
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps import reconciling
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import Indexer, IndexReport
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.reconciling import ReconcileReport
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.withdrawing import Withdrawer
from medr1_pacs.storage.audit_files import HeadsFile
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.storage.withdrawn_list import WithdrawnList

# pytest finds a fixture by its name in here.
__all__ = [
    "app",
    "bring",
    "browse",
    "export",
    "give_token",
    "have_account",
    "key",
    "make_finished_export",
    "make_pages",
    "sign_in",
    "signed_in_client",
    "verify",
]


@pytest.fixture(scope="session")
def headers() -> Iterator[HeaderReader]:
    """The guarded child that parses headers."""
    with HeaderReader() as reader:
        yield reader


@pytest.fixture
def indexer(
    store: InstanceStore, database: Database, vault: Database, headers: HeaderReader
) -> Indexer:
    """The indexer of a site with one project."""
    return Indexer(store, database, vault, SITE_KEY, ProjectRules(), headers)


@pytest.fixture
def sealer(database: Database, key: SigningKey, tmp_path: Path) -> Sealer:
    """Who seals the audit log, and signs it whenever anything happened."""
    return Sealer(database, (key,), HeadsFile(tmp_path / "audit-heads.jsonl"))


@pytest.fixture
def withdrawer(
    indexer: Indexer, pictures: PictureStore, exports: ExportStore, tmp_path: Path
) -> Withdrawer:
    """Carries out withdrawals beside the indexer; waits for no picture to settle."""
    return Withdrawer(
        indexer.database,
        indexer.vault,
        indexer.store,
        pictures,
        WithdrawnList(tmp_path / "withdrawn.jsonl", SITE_KEY),
        SITE_KEY,
        indexer.headers,
        exports,
        settle=timedelta(0),
    )


@pytest.fixture
def ask_to_withdraw(database: Database) -> Callable[..., int]:
    """Ask that studies go, by UID or row, or patients by their ID; returns the withdrawal's id."""

    def ask_to_withdraw(
        *study_instance_uids: str,
        patient_ids: Sequence[str] = (),
        rows: Sequence[int] = (),
        project: str | None = None,
    ) -> int:
        study, patient = WithdrawnKind.STUDY, WithdrawnKind.PATIENT
        keys = [
            *(RequestedKey(kind=study, key=study_key(SITE_KEY, u)) for u in study_instance_uids),
            *(RequestedKey(kind=study, study_id=row) for row in rows),
            *(RequestedKey(kind=patient, key=patient_key(SITE_KEY, p, "")) for p in patient_ids),
        ]
        with database.write() as session:
            return request_withdrawal(
                session,
                keys,
                project=project,
                reason="consent was withdrawn",
                actor="tester",
                now=datetime.now(UTC),
            )

    return ask_to_withdraw


@pytest.fixture
def reconcile(
    store: InstanceStore,
    pictures: PictureStore,
    database: Database,
    vault: Database,
    headers: HeaderReader,
) -> Callable[[], ReconcileReport]:
    """Compare files and rows both ways."""
    return lambda: reconciling.reconcile(store, pictures, database, vault, SITE_KEY, headers)


@pytest.fixture
def index(indexer: Indexer) -> Callable[..., IndexReport]:
    """Index the backlog once."""
    return indexer.index


@pytest.fixture
def listen(monkeypatch, request):
    """Start listeners on free ports; keywords as `Listener`, and what writes association rows."""
    monkeypatch.setattr(association_log, "ASSOCIATION_HEARTBEAT_S", 0.05)
    if "database" in request.fixturenames:
        request.getfixturevalue("database")  # outlives the listener, whose last write is its end
    with ExitStack() as listeners:

        def listen(store, write_rows=lambda rows: None, **changes):
            arguments = {"ae_title": "MEDR1", "host": "127.0.0.1", "port": 0}
            listener = Listener(store, AssociationLog(write_rows), **(arguments | changes))
            return listeners.enter_context(listener)

        yield listen


@pytest.fixture
def associate():
    """Open associations with a listener, each able to send what is asked for."""
    with ExitStack() as open_associations:

        def close_in_the_end(event):
            """pynetdicom leaves a connection open that the peer closed first."""
            open_associations.callback(event.assoc.dul.socket.socket.close)

        def associate(
            listener,
            *syntaxes,
            ae_title="SCANNER",
            called="MEDR1",
            source="127.0.0.1",
            sop_class=CTImageStorage,
        ):
            ae = AE(ae_title)
            ae.requested_contexts = [
                build_context(sop_class, syntax) for syntax in syntaxes or (ExplicitVRLittleEndian,)
            ]
            ae.add_requested_context(Verification)
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
            association = ae.associate(
                "127.0.0.1",
                listener.port,
                ae_title=called,
                bind_address=(source, 0),
                evt_handlers=[(evt.EVT_CONN_OPEN, close_in_the_end)],
            )
            open_associations.callback(association.abort)
            return association

        yield associate


@pytest.fixture
def rejection():
    """Ask for an association; returns result, source and reason of the rejection, or None.

    Over a bare connection: on a busy machine pynetdicom's requestor takes a rejection for a failure
    to connect, since its thread that reads closes the connection before the other one has looked.
    """

    def rejection(listener, ae_title="SCANNER", called="MEDR1", source="127.0.0.1"):
        address = ("127.0.0.1", listener.port)
        with socket.create_connection(address, 5, source_address=(source, 0)) as connection:
            connection.sendall(association_request(ae_title, called))
            answer = connection.recv(4096)
        if answer[0] == PduType.A_ASSOCIATE_AC:
            return None
        assert answer[0] == PduType.A_ASSOCIATE_RJ
        return struct.unpack(">7xBBB", answer)

    return rejection


@pytest.fixture
def write_rows(database):
    def write_rows(records):
        with database.write() as session:
            record_associations(session, records, datetime.now(UTC))

    return write_rows


@pytest.fixture(scope="session")
def packaged_bank() -> QuestionBank:
    """The questions that are shipped."""
    return load_bank(PACKAGED_BANK)


@pytest.fixture
def answered(
    store: InstanceStore,
    indexer: Indexer,
    database: Database,
    pictures: PictureStore,
    packaged_bank: QuestionBank,
) -> Callable[..., None]:
    """Send instances, a phantom radiograph by default, and let a fake engine answer what is asked
    about them; keywords say how they are sent, and by which checkpoint they are answered."""

    def answered(
        *instances: Dataset,
        checkpoint: str = "ct",
        raw_output: str = "<think>It is seen.</think><answer>A</answer>",
        **how: str,
    ) -> None:
        for ds in instances or make_study(Modality.XRAY, 1):
            put_instance(store, ds, **how)
        indexer.index()
        complete_studies(database, quiet_s=0)
        questionnaire = Questionnaire(
            packaged_bank, load_synonyms(), lambda requested: checkpoint, is_demo=False, think=True
        )
        while plan_study(database, questionnaire):
            pass
        while name_for_research(database, SITE_KEY):
            pass
        while render_planned(database, store, pictures, FakeDecoder(), owner="renderer"):
            pass
        identity = make_engine_identity(checkpoint=checkpoint, is_demo=checkpoint == "demo")
        engine = FakeEngine(lambda prompt: raw_output, identity=identity)
        while answer_batch(database, pictures, engine, owner="answerer"):
            pass

    return answered


@pytest.fixture
def rows(database: Database, vault: Database) -> Callable[..., list[Any]]:
    """All rows of a table, oldest first, detached."""

    def rows(table: type[Base] | type[VaultBase]) -> list[Any]:
        with (vault if issubclass(table, VaultBase) else database).read() as session:
            return list(session.scalars(select(table).order_by(table.id)))

    return rows


@pytest.fixture
def add_work(database: Database) -> Callable[..., list[int]]:
    """Add rows that wait for a worker, due since noon; returns their ids."""

    def add_work(
        table: type[Rendering | Generation],
        count: int,
        *,
        png_sha256: str = "f" * 64,
        **fields: Any,
    ) -> list[int]:
        with database.write() as session:
            record_instance(session, make_indexed_instance(), ProjectRules(), NOON)
            instance_id = session.scalar(select(func.max(Instance.id)))
            state = RenderingState.RENDERED if table is Generation else RenderingState.PLANNED
            renderings = [
                Rendering(
                    instance_id=instance_id,
                    frame_number=number,
                    recipe="r" * 64,
                    window_request=WindowRequest().to_json(),
                    state=state,
                    png_sha256=png_sha256 if table is Generation else None,
                    due_at=NOON,
                    created_at=NOON,
                    **(fields if table is Rendering else {}),
                )
                for number in range(1, count + 1)
            ]
            session.add_all(renderings)
            session.flush()
            if table is Rendering:
                return [row.id for row in renderings]
            return list(_add_generations(session, renderings, fields))

    return add_work


def _add_generations(
    session: Any, renderings: list[Rendering], fields: dict[str, Any]
) -> Iterator[int]:
    question = Question(
        question_id="q",
        version=1,
        question_sha256="q" * 64,
        modality="CT",
        task="Modality Recognition",
        role="sentinel",
        definition={},
        first_used_at=NOON,
    )
    session.add(question)
    session.flush()
    for rendering in renderings:
        prompt = Prompt(
            kind=PromptKind.PROTOCOL,
            rendering_id=rendering.id,
            question_id=question.id,
            requested_checkpoint="ct",
            checkpoint="demo",
            coverage=Coverage.IN,
            options=["CT", "MRI"],
            option_order=[0, 1],
            prompt_text="Which? A)CT, B)MRI",
            prompt_sha256="p" * 64,
            decoding=Decoding(think=True, max_new_tokens=256).to_json(),
            decoding_sha256="d" * 64,
            created_at=NOON,
        )
        session.add(prompt)
        session.flush()
        generation = Generation(
            prompt_id=prompt.id,
            state=GenerationState.WAITING,
            waits_for="demo",
            is_ready=True,
            due_at=NOON,
            created_at=NOON,
            **fields,
        )
        session.add(generation)
        session.flush()
        yield generation.id
