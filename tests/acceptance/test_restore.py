"""A restore that was done: what was acknowledged is found again, under the pseudonyms it had."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from backups import OneMachine, Site
from factories import make_instance
from pydicom.dataset import Dataset
from service import AE_TITLE, Service
from sqlalchemy import select

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Instance, Patient, QuarantinedInstance, Study
from medr1_pacs.db.vault import PatientIdentityRow
from medr1_pacs.demo.studies import make_study
from medr1_pacs.peers import send_instances
from medr1_pacs.records.words import Modality

AT_ONCE = 5
"""How many instances are sent over one association, and at least arrive in each pause."""


def reconcile(service: Service) -> str:
    """Let files and rows find each other; returns what the command says."""
    assert service.run("db", "upgrade").returncode == 0
    result = service.run("db", "reconcile")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"])
def site(request: pytest.FixtureRequest) -> OneMachine | Site:
    if request.param == "sqlite":
        return OneMachine(request.getfixturevalue("make_service")())
    service = request.getfixturevalue("site_service")
    return Site(service, request.getfixturevalue("postgresql_server"))


# -- what is looked at ----------------------------------------------------------------------------


def patient_keys(service: Service) -> dict[str, str]:
    """Return study -> the pseudonym of its patient."""
    database = service.database()
    with database.read() as session:
        rows = session.execute(
            select(Study.study_instance_uid, Patient.patient_key).join(
                Patient, Study.patient_id == Patient.id
            )
        ).all()
    database.dispose()
    return dict(rows)


def instances(service: Service) -> set[tuple[Any, ...]]:
    """Return what the rows say of each instance, in quarantine or not, whenever they were made."""
    usable = (
        Instance.stored_name, Instance.sop_instance_uid, Instance.sha256, Instance.received_at,
        Instance.calling_ae_title, Instance.called_ae_title, Instance.superseded_at.is_(None),
    )  # fmt: skip
    other = (
        QuarantinedInstance.stored_name,
        QuarantinedInstance.sha256,
        QuarantinedInstance.reason,
    )
    database = service.database()
    with database.read() as session:
        rows = {
            tuple(row) for columns in (usable, other) for row in session.execute(select(*columns))
        }
    database.dispose()
    return rows


def identities(service: Service) -> set[tuple[str, ...]]:
    """Return what the vault of one machine knows, whenever it was written."""
    vault = Database(f"sqlite:///{service.data_dir / 'vault.sqlite'}")
    row = PatientIdentityRow
    with vault.read() as session:
        rows = session.execute(
            select(row.study_instance_uid, row.patient_key, row.patient_name, row.patient_id)
        )
        known = {tuple(row) for row in rows}
    vault.dispose()
    return known


def find_elsewhere(service: Service, sop_instance_uids: list[str]) -> dict[str, str]:
    """Return where those of these instances are that are not current, once the backlog is empty."""
    service.wait_until(lambda: not backlog(service), 60)
    uids = service.folder / "uids.txt"
    uids.write_text("\n".join(sop_instance_uids))
    result = service.run("instances", "account", str(uids), "--json")
    places = json.loads(result.stdout)
    assert set(places) == set(sop_instance_uids)
    elsewhere = {uid: place for uid, place in places.items() if place != "current"}
    assert elsewhere or result.returncode == 0, result.stderr
    return elsewhere


def backlog(service: Service) -> set[str]:
    return {path.name for path in (service.data_dir / "storage/incoming").glob("*.dcm")}


def send(service: Service, *studies: list[Dataset]) -> list[str]:
    """Send studies; returns the SOP Instance UIDs that were acknowledged."""
    datasets = [dataset for study in studies for dataset in study]
    assert set(service.send(datasets)) == {0x0000}
    return [str(dataset.SOPInstanceUID) for dataset in datasets]


@contextmanager
def somebody_sending(service: Service) -> Iterator[list[str]]:
    """Send all the while; the list grows by each SOP Instance UID that is acknowledged."""
    acknowledged: list[str] = []
    is_over = threading.Event()

    def send_on() -> None:
        while not is_over.is_set():
            # Of a modality that nothing is asked of: the machine has enough to do.
            datasets = [make_instance(Modality="OT") for _ in range(AT_ONCE)]
            statuses = send_instances(
                datasets, "127.0.0.1", service.dicom_port, called_ae_title=AE_TITLE
            )
            for dataset, status in zip(datasets, statuses, strict=True):
                assert status == 0x0000
                acknowledged.append(str(dataset.SOPInstanceUID))

    thread = threading.Thread(target=send_on)
    thread.start()
    try:
        yield acknowledged
    finally:
        is_over.set()
        thread.join()


# -- the tests ------------------------------------------------------------------------------------


def test_a_backup_of_a_busy_service_brings_everything_back_on_a_new_disk(site, copy):
    service = site.service
    service.start()
    studies = [make_study(modality, 9001) for modality in (Modality.XRAY, Modality.FUNDUS)]
    sent = send(service, *studies)
    service.wait_for_settled(len(studies))
    answers = service.answers()
    assert answers
    sweep = service.children()["sweep"]

    with somebody_sending(service) as acknowledged:

        def let_them_move_on() -> list[str]:
            """What is in the backlog leaves it, then new ones arrive there; returns all so far."""
            sweep.resume()
            waiting = backlog(service)
            service.wait_until(lambda: not waiting & backlog(service), 30)
            sweep.suspend()
            enough = len(acknowledged) + AT_ONCE
            service.wait_until(lambda: len(acknowledged) >= enough, 30)
            return list(acknowledged)

        try:
            let_them_move_on()
            site.back_up_databases(copy)
            sent += let_them_move_on()
            site.back_up_incoming(copy)
            let_them_move_on()
            site.back_up_storage(copy)
        finally:
            sweep.resume()
    keys = patient_keys(service)
    service.stop()
    site.lose_everything()

    site.restore_files(copy)
    site.restore_databases(copy)
    reconcile(service)
    if service.run("audit", "head").returncode:  # signed of what the backup does not have
        assert service.run("audit", "restart", "--reason", "the disk was lost").returncode == 0
    service.start()

    assert find_elsewhere(service, sent) == {}
    after = {row["answer_id"]: row for row in service.answers()}
    assert [after.get(row["answer_id"]) for row in answers] == answers
    again = make_study(Modality.XRAY, 9002)
    for dataset in again:
        dataset.PatientID = studies[0][0].PatientID
    send(service, again)
    uid = str(again[0].StudyInstanceUID)
    service.wait_until(lambda: uid in patient_keys(service), 30)
    restored = patient_keys(service)
    assert {study: restored[study] for study in keys} == keys
    assert restored[uid] == keys[str(studies[0][0].StudyInstanceUID)]
    service.wait_until(lambda: is_sealed_and_sound(service), 60)


def is_sealed_and_sound(service: Service) -> bool:
    """Whether all that happened is in the log, and the log is as it was signed."""
    result = service.run("audit", "verify", "--database")
    return result.returncode == 0 and " 0 not in it yet" in result.stdout


@dataclass(frozen=True, slots=True)
class Past:
    """What was there before two databases were lost."""

    data_dir: Path
    copy: Path
    """A backup of both databases that is older than the last instances."""
    early_answers: list[dict[str, Any]]
    """Those of the time of the backup."""
    questions: list[str]
    sent: list[str]
    late: list[str]
    """What was sent after the backup, or once more."""
    instances: set[tuple[Any, ...]]
    patient_keys: dict[str, str]
    identities: set[tuple[str, ...]]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A service that answered, was backed up, and answered more: XRAY, then FUNDUS, a corrected
    XRAY and one instance that cannot be used."""
    folder, copy = tmp_path_factory.mktemp("past"), tmp_path_factory.mktemp("copy")
    service = Service(folder)
    service.start()
    try:
        sent = send(service, make_study(Modality.XRAY, 9011))
        service.wait_for_settled(1)
        early_answers = service.answers()
        OneMachine(service).back_up_databases(copy)
        corrected = make_study(Modality.XRAY, 9011)
        corrected[0].StudyDescription = "Corrected"
        unusable = make_instance(StudyInstanceUID=None)
        late = send(service, make_study(Modality.FUNDUS, 9011), corrected)
        send(service, [unusable])
        service.wait_until(lambda: not backlog(service), 30)
        service.wait_for_settled(2)
        return Past(
            service.data_dir,
            copy,
            early_answers,
            sorted(row["question_id"] for row in service.answers() if row["is_current"]),
            sent,
            late,
            instances(service),
            patient_keys(service),
            identities(service),
        )
    finally:
        service.stop()


@pytest.fixture
def lost(past: Past, make_service: Callable[..., Service]) -> OneMachine:
    """The same data folder without its databases."""
    service = make_service()
    shutil.copytree(past.data_dir, service.data_dir)
    machine = OneMachine(service)
    machine.lose_databases()
    return machine


def test_what_arrived_after_the_backup_of_lost_databases_is_found_in_the_files(lost, past):
    lost.restore_databases(past.copy)
    assert past.identities - identities(lost.service)

    said = reconcile(lost.service)

    assert said.startswith("3 instances without a row")
    lost.service.start()
    assert find_elsewhere(lost.service, past.sent + past.late) == {}
    assert_as_before(lost.service, past)
    after = {what_is_kept(row) for row in lost.service.answers()}
    assert after >= {what_is_kept(row) for row in past.early_answers}


def test_databases_without_a_backup_are_made_again_from_the_files(lost, past):
    reconcile(lost.service)

    lost.service.start()
    assert find_elsewhere(lost.service, past.sent + past.late) == {}
    assert_as_before(lost.service, past)


def what_is_kept(answer: dict[str, Any]) -> tuple[Any, ...]:
    """Return what of an answer stays when its study is asked again."""
    return answer["answer_id"], answer["raw_output"], answer["png_sha256"]


def assert_as_before(service: Service, past: Past) -> None:
    """Instances, identities and pseudonyms are what they were; the same questions are answered."""
    assert {row["state"] for row in service.wait_for_settled(2)} == {"answered"}
    assert instances(service) == past.instances
    assert patient_keys(service) == past.patient_keys
    assert identities(service) == past.identities
    asked = [row["question_id"] for row in service.answers() if row["is_current"]]
    assert sorted(asked) == past.questions
