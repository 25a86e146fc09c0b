"""Withdrawals against the odds: a study that goes twice, crashes, files that come late."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from factories import SITE_KEY, make_instance, make_uid, put_instance
from typer.testing import CliRunner

from medr1_pacs.cli import app as commands
from medr1_pacs.db.instances import accept_held
from medr1_pacs.db.tables import (
    Instance,
    ProjectStudy,
    SetAside,
    Study,
)
from medr1_pacs.db.tables import (
    Project as ProjectRow,
)
from medr1_pacs.db.vault import PatientIdentityRow, record_identities
from medr1_pacs.db.withdrawals import get_withdrawal, request_withdrawal
from medr1_pacs.errors import OptOutUnusable, StorageUnavailable, WithdrawnListUnusable
from medr1_pacs.headers import identify, read_header_values
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.withdrawals import RequestedKey, WithdrawnEntry
from medr1_pacs.records.words import InstanceHold, StudyState, WithdrawnKind
from medr1_pacs.steps.setting_aside import tell_set_aside
from medr1_pacs.storage.withdrawn_list import WithdrawnList

RULES = ProjectRules(
    (Project("lung"), Project("heart")),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)


@pytest.fixture
def receive(indexer, store):
    """Receive one instance of a study for a project; returns its data set."""
    indexer.rules = RULES

    def receive(project, how=None, **elements):
        ds = make_instance(**elements)
        put_instance(store, ds, called_ae_title=project.upper(), **(how or {}))
        while indexer.index().total:
            pass
        return ds

    return receive


def live(rows):
    return [row for row in rows(Study) if row.state is not StudyState.WITHDRAWN]


# -- the same study, a second time ---------------------------------------------------------------


def test_a_study_that_went_with_one_project_and_came_for_another_goes_again(
    receive, withdrawer, ask_to_withdraw, rows
):
    uid = make_uid()
    receive("lung", StudyInstanceUID=uid)
    ask_to_withdraw(uid, project="lung")
    withdrawer.carry_out()
    receive("heart", StudyInstanceUID=uid)
    assert len(live(rows)) == 1  # it is the heart project's own

    ask_to_withdraw(uid)
    withdrawer.carry_out()

    assert live(rows) == []
    assert rows(PatientIdentityRow) == []


def test_one_withdrawal_that_cannot_be_carried_out_holds_up_no_other(
    receive, withdrawer, ask_to_withdraw, rows
):
    uid = make_uid()
    receive("lung", StudyInstanceUID=uid)
    ask_to_withdraw(uid, project="lung")
    withdrawer.carry_out()
    receive("heart", StudyInstanceUID=uid)
    other = receive("heart", StudyInstanceUID=make_uid(), PatientID="P-other")
    ask_to_withdraw(uid)
    ask_to_withdraw(other.StudyInstanceUID)

    for _ in range(3):
        with suppress(Exception):  # as the sweep goes on
            withdrawer.carry_out()

    gone = [row for row in rows(PatientIdentityRow) if row.patient_id == "P-other"]
    assert gone == []


# -- patients ------------------------------------------------------------------------------------


def run(site, *arguments):
    environment = {"MEDR1_DATA_DIR": str(site.data_dir)}
    return CliRunner().invoke(commands, arguments, env=environment)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_an_empty_patient_id_withdraws_nobody(site, receive, rows):
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    receive("lung", PatientID="", PatientName="One^A", StudyInstanceUID=make_uid())
    receive("lung", PatientID="", PatientName="Two^B", StudyInstanceUID=make_uid())

    result = run(site, "studies", "withdraw", "--patient", "", "--reason", "consent")

    assert len(live(rows)) == 2, result.output


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_what_the_command_says_is_turned_away_is(site, receive, rows):
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    result = run(site, "studies", "withdraw", "--patient", "4711", "--reason", "consent")
    assert "what comes is turned away" in result.output, result.output

    receive("lung", PatientID="4711", IssuerOfPatientID="CLINIC")

    assert live(rows) == []


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_patient_without_an_issuer_is_withheld_of_every_issuer(site, receive, rows):
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    receive("lung", PatientID="4711", StudyInstanceUID=make_uid())
    run(site, "studies", "withdraw", "--patient", "4711", "--reason", "consent")

    receive("lung", PatientID="4711", IssuerOfPatientID="CLINIC", StudyInstanceUID=make_uid())

    assert live(rows) == []


# -- what survives -------------------------------------------------------------------------------


def test_an_identity_whose_rows_were_never_written_goes_with_its_study(
    vault, withdrawer, ask_to_withdraw, rows
):
    """A crash between vault and rows, or a research database that was away just then."""
    ds = make_instance()
    identity = identify(read_header_values(ds), SITE_KEY)
    record_identities(vault, [identity], datetime.now(UTC))
    ask_to_withdraw(ds.StudyInstanceUID)

    assert withdrawer.carry_out() == 1

    assert rows(PatientIdentityRow) == []


def test_reconciling_brings_back_no_identity_of_what_went_with_a_project(
    receive, withdrawer, ask_to_withdraw, rows, store, reconcile
):
    ds = receive("lung")
    kept = {path: path.read_bytes() for _, path in store.settled()}
    ask_to_withdraw(ds.StudyInstanceUID, project="lung")
    withdrawer.carry_out()
    assert rows(PatientIdentityRow) == []
    for path, content in kept.items():  # the storage folder of before is restored
        path.write_bytes(content)

    reconcile()

    assert rows(PatientIdentityRow) == []


def test_what_reconciling_returns_of_a_project_that_is_over_leaves_no_identity(
    receive, withdrawer, ask_to_withdraw, rows, store, index, database, reconcile
):
    ds = make_instance()
    ask_to_withdraw(ds.StudyInstanceUID, project="lung")
    withdrawer.carry_out()
    # the file of a restored storage folder, of which the rows know nothing
    stored = put_instance(store, ds, called_ae_title="LUNG")
    store.sync([store.keep(stored)])
    store.forget(stored)

    reconcile()
    receive("lung", StudyInstanceUID=make_uid(), PatientID="other")
    withdrawer.apply_list()

    assert {row.patient_id for row in rows(PatientIdentityRow)} == {"other"}


def test_what_reconciling_returns_of_who_opted_out_leaves_no_identity(
    indexer, withdrawer, rows, store, index, reconcile, tmp_path
):
    path = tmp_path / "opt_out.csv"
    path.write_text("patient_id\n4711\n")
    indexer.opt_out = OptOutList(path)
    stored = put_instance(store, make_instance(PatientID="4711"))
    store.sync([store.keep(stored)])
    store.forget(stored)

    reconcile()
    assert index().turned_away == 1
    withdrawer.apply_list()

    assert rows(PatientIdentityRow) == []


def test_a_quarantined_file_that_the_disk_gives_later_goes(
    receive, withdrawer, ask_to_withdraw, store, index, monkeypatch
):
    ds = receive("lung")
    broken = make_instance(StudyInstanceUID=ds.StudyInstanceUID)
    stored = put_instance(store, broken, sop_instance_uid=make_uid(), called_ae_title="LUNG")
    index()
    assert store.quarantine_path(stored).exists()
    ask_to_withdraw(ds.StudyInstanceUID)

    def fail(*_):
        raise StorageUnavailable("an input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("medr1_pacs.steps.withholding.Withholding.look_into", fail)
        try:
            finished = withdrawer.carry_out()
        except StorageUnavailable:
            finished = 0
    assert finished == 0, "it is called finished, and a file of it lies in quarantine"


def test_an_unusable_instance_of_what_went_with_its_last_project_is_turned_away(
    receive, withdrawer, ask_to_withdraw, store, index, rows
):
    ds = receive("lung")
    ask_to_withdraw(ds.StudyInstanceUID, project="lung")
    withdrawer.carry_out()
    broken = make_instance(StudyInstanceUID=ds.StudyInstanceUID)
    stored = put_instance(store, broken, sop_instance_uid=make_uid(), called_ae_title="LUNG")

    index()

    assert not store.quarantine_path(stored).exists()


# -- the wrong ones ------------------------------------------------------------------------------


def test_another_patients_quarantined_file_of_the_same_sop_instance_uid_stays(
    receive, withdrawer, ask_to_withdraw, store, index
):
    ds = receive("lung", PatientID="P-1")
    other = make_instance(StudyInstanceUID=make_uid(), PatientID="P-2")
    stored = put_instance(store, other, sop_instance_uid=ds.SOPInstanceUID, called_ae_title="LUNG")
    index()
    assert store.quarantine_path(stored).exists()
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    assert store.quarantine_path(stored).exists()


def test_an_unusable_instance_that_only_refers_to_a_withdrawn_study_is_kept(
    receive, withdrawer, ask_to_withdraw, store, index
):
    ds = receive("lung", PatientID="P-1")
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    other = make_instance(
        StudyInstanceUID=make_uid(), PatientID="P-2", ProtocolName=str(ds.StudyInstanceUID)
    )
    stored = put_instance(store, other, sop_instance_uid=make_uid(), called_ae_title="LUNG")

    index()

    assert store.quarantine_path(stored).exists()


def test_a_study_that_the_project_never_used_stays(
    receive, withdrawer, ask_to_withdraw, rows, database
):
    """A study of which the one instance is held belongs to no project yet."""
    first = receive("lung", how={"calling_ae_title": "ONE"})
    held = receive(
        "heart",
        how={"calling_ae_title": "TWO"},
        SOPInstanceUID=first.SOPInstanceUID,
        StudyInstanceUID=make_uid(),
        PatientID="P-2",
    )
    assert [row.hold for row in rows(Instance)] == [None, InstanceHold.HELD]
    uid = held.StudyInstanceUID
    [study_id] = [row.id for row in rows(Study) if row.study_instance_uid == uid]
    key = RequestedKey(kind=WithdrawnKind.STUDY, key=study_key(SITE_KEY, uid), study_id=study_id)
    with database.write() as session:  # as the command asks
        request_withdrawal(
            session, [key], project="lung", reason="a mistake", actor="x", now=datetime.now(UTC)
        )

    withdrawer.carry_out()

    assert len(live(rows)) == 2


def test_accepting_a_held_instance_gives_nothing_of_a_withdrawn_patient_to_the_project(
    receive, withdrawer, ask_to_withdraw, rows, database
):
    first = receive("heart", how={"calling_ae_title": "ONE"}, PatientID="P-1")
    receive(
        "lung",
        how={"calling_ae_title": "TWO"},
        PatientID="P-1",
        StudyInstanceUID=first.StudyInstanceUID,
        SOPInstanceUID=first.SOPInstanceUID,
        SeriesDescription="other bytes",
    )
    assert [row.hold for row in rows(Instance)] == [None, InstanceHold.HELD]
    ask_to_withdraw(patient_ids=["P-1"], project="lung")
    withdrawer.carry_out()

    with database.write() as session:
        assert accept_held(
            session, first.SOPInstanceUID, RULES, datetime.now(UTC), actor="operator"
        )

    names = {row.id: row.name for row in rows(ProjectRow)}
    used = [names[row.project_id] for row in rows(ProjectStudy) if row.withdrawn_at is None]
    assert used == ["heart"]


# -- crashes -------------------------------------------------------------------------------------


def test_a_crash_between_asking_again_and_returning_files_is_made_up_for(
    withdrawer, store, index, monkeypatch
):
    ds = make_instance()
    stored = put_instance(store, ds)
    store.sync([store.keep(stored)])
    store.forget(stored)  # a file that is younger than the rows
    entry = WithdrawnEntry(WithdrawnKind.STUDY, study_key(SITE_KEY, ds.StudyInstanceUID), None)
    withdrawer.withdrawn_list.add([entry])

    def crash(_):
        raise StorageUnavailable("the share is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(withdrawer), "_return_files_without_rows", crash)
        with pytest.raises(StorageUnavailable):
            withdrawer.apply_list()
    withdrawer.apply_list()
    withdrawer.carry_out()

    index()
    assert not store.instance_path(stored).exists()


def test_a_list_whose_folder_is_away_is_not_taken_for_one_without_entries(withdrawer, tmp_path):
    withdrawer.withdrawn_list = WithdrawnList(tmp_path / "unmounted" / "list.jsonl", SITE_KEY)

    with pytest.raises(WithdrawnListUnusable):
        withdrawer.apply_list()


def test_the_uid_of_a_file_that_was_set_aside_is_not_told_again(
    receive, indexer, withdrawer, ask_to_withdraw, store, rows, database, monkeypatch
):
    ds = receive("lung")
    late = make_instance(StudyInstanceUID=ds.StudyInstanceUID)
    put_instance(store, late, called_ae_title="LUNG")

    def fail(*_):
        raise StorageUnavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "keep", fail)
        indexer.index()
    tell_set_aside(database, store, indexer.set_aside.values())
    assert [row.study_instance_uid for row in rows(SetAside)] == [ds.StudyInstanceUID]
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    indexer.look_again()

    tell_set_aside(database, store, indexer.set_aside.values())  # as after each tidying

    assert [row.study_instance_uid for row in rows(SetAside)] in ([], [None])


# -- how long ------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_list_with_more_patients_than_a_statement_has_room_for_is_carried_out(
    withdrawer,
):
    entries = [WithdrawnEntry(WithdrawnKind.PATIENT, f"{n:032x}", None) for n in range(66_000)]
    withdrawer.withdrawn_list.add(entries)

    assert withdrawer.apply_list() == len(entries)
    assert withdrawer.carry_out() == 1


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_no_byte_of_a_name_is_left_while_the_service_runs(
    site, receive, withdrawer, ask_to_withdraw
):
    ds = receive("lung", PatientName="Zaubermann^Xaver", PatientID="ID-998877")
    ask_to_withdraw(ds.StudyInstanceUID)
    assert withdrawer.carry_out() == 1

    left = [
        path.name
        for path in site.data_dir.iterdir()
        if path.is_file() and b"Zaubermann" in path.read_bytes()
    ]
    assert left == []


def test_a_withdrawal_is_not_finished_while_a_file_of_it_is_set_aside(
    receive, indexer, withdrawer, ask_to_withdraw, store, database, monkeypatch
):
    ds = receive("lung")
    late = make_instance(StudyInstanceUID=ds.StudyInstanceUID)
    stored = put_instance(store, late, called_ae_title="LUNG")

    def fail(*_):
        raise StorageUnavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "keep", fail)
        indexer.index()
    ask_to_withdraw(ds.StudyInstanceUID)
    for _ in range(2):
        finished = withdrawer.carry_out()
        tell_set_aside(database, store, indexer.set_aside.values())

    assert not (finished and store.is_incoming(stored))


@pytest.mark.parametrize("content", ["patient_id\n", "patient_id\n4711\n47"])
def test_an_opt_out_list_that_is_half_written_is_not_believed(tmp_path, content):
    path = tmp_path / "opt_out.csv"
    path.write_text("patient_id\n4711\n4712\n")
    listed = OptOutList(path)
    assert listed.refresh() == 2
    path.write_text(content)  # an export that is being written, or failed

    with pytest.raises(OptOutUnusable):
        listed.refresh()


def test_a_quarantine_of_slow_headers_does_not_hold_up_a_withdrawal(
    receive, withdrawer, ask_to_withdraw, store, index
):
    """Each header has 30 s; a step of the sweep that takes 1800 s ends its process."""
    ds = receive("lung")
    for _ in range(3):
        broken = make_instance(StudyInstanceUID=make_uid(), PatientID="P-9")
        put_instance(store, broken, sop_instance_uid=make_uid(), called_ae_title="LUNG")
    index()
    assert len(store.quarantined()) == 3
    ask_to_withdraw(ds.StudyInstanceUID)
    other = receive("lung", StudyInstanceUID=make_uid(), PatientID="other")
    ask_to_withdraw(other.StudyInstanceUID)
    reads = []
    inner = withdrawer.headers

    class Counting:
        def read(self, path, **how):
            reads.append(path)
            return inner.read(path, **how)

    withdrawer.headers = Counting()

    withdrawer.carry_out()

    assert len(reads) <= 3, "the whole quarantine is parsed anew for each withdrawal"


def test_the_certificate_says_that_a_study_named_another_patient_too(
    receive, withdrawer, ask_to_withdraw, database
):
    uid = make_uid()
    receive("lung", StudyInstanceUID=uid, PatientID="P-2")
    receive("lung", StudyInstanceUID=uid, PatientID="P-1")
    withdrawal = ask_to_withdraw(patient_ids=["P-1"])

    withdrawer.carry_out()

    with database.read() as session:
        [study] = get_withdrawal(session, withdrawal).certificate["studies"]
    assert study["names_others_too"]


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_long_list_is_compared_entry_by_entry_once(withdrawer, monkeypatch):
    entries = [WithdrawnEntry(WithdrawnKind.STUDY, f"{n:032x}", None) for n in range(20_000)]
    withdrawer.withdrawn_list.add(entries)
    compared = []
    equal = WithdrawnEntry.__eq__
    monkeypatch.setattr(
        WithdrawnEntry, "__eq__", lambda one, other: compared.append(one) or equal(one, other)
    )

    withdrawer.apply_list()
    withdrawer.withdrawn_list.add([WithdrawnEntry(WithdrawnKind.STUDY, "f" * 32, None)])

    assert len(compared) < 10 * len(entries)
