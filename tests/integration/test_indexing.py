from dataclasses import replace

import pydicom
import pytest
from factories import (
    dataset_bytes,
    make_file_meta,
    make_instance,
    make_uid,
    put_instance,
)
from pydicom.uid import ImplicitVRLittleEndian
from sqlalchemy import delete, update

from medr1_pacs.db.schema import APPEND_ONLY
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    AuditEvent,
    Base,
    Instance,
    Patient,
    Project,
    ProjectStudy,
    QuarantinedInstance,
    Series,
    Study,
)
from medr1_pacs.db.vault import PatientIdentityRow, VaultBase
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.part10 import encode_file_meta
from medr1_pacs.projects import Project as DeclaredProject
from medr1_pacs.projects import ProjectRule, ProjectRules
from medr1_pacs.records.words import QuarantineReason, StudyState
from medr1_pacs.steps import indexing
from medr1_pacs.steps.indexing import IndexReport
from medr1_pacs.storage.instances import InstanceStore, StoredName


def kept(store):
    return [stored for stored, path in store.settled() if path == store.instance_path(stored)]


@pytest.fixture
def receive(store, index):
    """Keep an instance and index it."""

    def receive(ds, **fields):
        stored = put_instance(store, ds, **fields)
        index()
        return stored

    return receive


@pytest.fixture
def complete(database):
    """Say that a study was complete."""

    def complete():
        with database.write() as session:
            session.execute(update(Study).values(state=StudyState.COMPLETE))

    return complete


def test_a_new_instance_has_its_rows(store, index, rows):
    ds = make_instance(Manufacturer="ACME", ManufacturerModelName="One")

    stored = put_instance(store, ds, calling_ae_title="CT7", association_token="a" * 16)
    assert index() == IndexReport(new=1)

    (patient,), (study,), (series,), (instance,) = map(rows, (Patient, Study, Series, Instance))
    assert patient.sex == "O"
    assert (study.study_instance_uid, study.state, study.version, study.age_years) == (
        ds.StudyInstanceUID,
        StudyState.RECEIVING,
        1,
        55,
    )
    assert study.last_received_at == stored.received_at
    assert (series.series_instance_uid, series.modality, series.manufacturer, series.kvp) == (
        ds.SeriesInstanceUID,
        "CT",
        "ACME",
        120,
    )
    assert (instance.sop_instance_uid, instance.stored_name, instance.association_token) == (
        ds.SOPInstanceUID,
        stored.name,
        "a" * 16,
    )
    assert (instance.calling_ae_title, instance.called_ae_title) == ("CT7", "MEDR1")
    assert instance.size_bytes == len(dataset_bytes(ds))
    assert instance.attributes["WindowWidth"] == 400


def test_an_indexed_instance_leaves_the_backlog_and_keeps_its_bytes(store, receive):
    ds = make_instance()

    stored = receive(ds)

    assert store.incoming(1) == []
    assert pydicom.dcmread(store.instance_path(stored)) == ds


def test_instances_of_one_study_share_their_rows(receive, rows):
    for uid in ("1.2.3", "1.2.3", "1.2.4"):
        receive(make_instance(SeriesInstanceUID=uid))

    assert [len(rows(table)) for table in (Patient, Study, Series, Instance)] == [1, 1, 2, 3]


def test_the_identity_of_a_study_is_written_once_and_to_the_vault(receive, rows):
    for _ in range(3):
        receive(make_instance(PatientName="Doe^Jane", PatientID="J1", AccessionNumber="ACC"))

    (identity,) = rows(PatientIdentityRow)
    assert (identity.patient_name, identity.patient_id, identity.accession_number) == (
        "Doe^Jane",
        "J1",
        "ACC",
    )
    assert identity.patient_key == rows(Patient)[0].patient_key


def test_studies_without_a_patient_id_are_not_linked(receive, rows):
    for _ in range(2):
        receive(make_instance(PatientID="", StudyInstanceUID=make_uid()))

    assert len(rows(Patient)) == 2


def test_one_patient_id_of_two_issuers_is_two_patients(receive, rows):
    for issuer in ("A", "B"):
        receive(make_instance(IssuerOfPatientID=issuer, StudyInstanceUID=make_uid()))

    assert len(rows(Patient)) == 2


def test_the_same_instance_twice_is_one_row_and_one_file(store, index, rows):
    ds = make_instance()
    first = put_instance(store, ds)
    index()

    second = put_instance(store, ds)
    assert index() == IndexReport(duplicate=1)

    assert [row.stored_name for row in rows(Instance)] == [first.name]
    assert kept(store) == [first]
    assert not store.incoming_path(second).exists()


def test_the_same_instance_twice_in_one_batch_is_one_row(store, index, rows):
    ds = make_instance()
    first = put_instance(store, ds)
    put_instance(store, ds)

    assert index() == IndexReport(new=1, duplicate=1)
    assert [row.stored_name for row in rows(Instance)] == [first.name]
    assert kept(store) == [first]


def test_other_bytes_under_one_uid_keep_both_and_the_newest_is_current(store, receive, rows):
    uid = make_uid()

    old = receive(make_instance(SOPInstanceUID=uid))
    new = receive(make_instance(SOPInstanceUID=uid, WindowCenter=50))

    first, second = rows(Instance)
    assert (first.stored_name, second.stored_name) == (old.name, new.name)
    assert first.superseded_at is not None
    assert second.superseded_at is None
    assert kept(store) == [old, new]


def test_another_syntax_under_one_uid_is_another_row(receive, rows):
    uid = make_uid()
    for syntax in (None, ImplicitVRLittleEndian):
        fields = {"transfer_syntax_uid": syntax} if syntax else {}
        receive(make_instance(SOPInstanceUID=uid, **fields))

    assert [row.superseded_at is None for row in rows(Instance)] == [False, True]


def test_a_late_instance_raises_the_version_of_a_complete_study(receive, complete, rows):
    receive(make_instance())
    complete()

    receive(make_instance())

    (study,) = rows(Study)
    assert (study.state, study.version) == (StudyState.RECEIVING, 2)
    assert [row.study_version for row in rows(Instance)] == [1, 2]
    assert [event.new_value["version"] for event in rows(AuditEvent)
            if event.action == "study.reopened"] == [2]  # fmt: skip


def test_a_duplicate_does_not_reopen_a_complete_study(receive, complete, rows):
    ds = make_instance()
    receive(ds)
    complete()

    receive(ds)

    assert (rows(Study)[0].state, rows(Study)[0].version) == (StudyState.COMPLETE, 1)


def test_a_study_is_quiet_since_its_newest_instance_whatever_the_order(store, index, rows):
    stored = [put_instance(store, make_instance()) for _ in range(3)]

    index()

    assert rows(Study)[0].last_received_at == stored[-1].received_at


@pytest.mark.parametrize(
    ("ds", "reason"),
    [
        (make_instance(StudyInstanceUID=None), QuarantineReason.UID_MISSING),
        (make_instance(SeriesInstanceUID=None), QuarantineReason.UID_MISSING),
        (make_instance(SOPInstanceUID=None), QuarantineReason.UID_MISSING),
        (make_instance(StudyInstanceUID="../../etc"), QuarantineReason.UID_MISSING),
        (make_instance(StudyInstanceUID=["1.2", "1.3"]), QuarantineReason.UID_MISSING),
    ],
)
def test_an_instance_without_its_uids_goes_to_quarantine(store, index, rows, ds, reason):
    stored = put_instance(store, ds)

    assert index() == IndexReport(quarantined=1)

    (row,) = rows(QuarantinedInstance)
    assert (row.stored_name, row.reason) == (stored.name, reason)
    assert (rows(Instance), rows(Study), rows(PatientIdentityRow)) == ([], [], [])
    assert store.quarantine_path(stored).exists()
    assert store.incoming(1) == []
    assert kept(store) == []


def test_an_instance_under_another_uid_than_its_commands_goes_to_quarantine(store, index, rows):
    put_instance(store, make_instance(), sop_instance_uid="1.2.3.4")

    index()

    (row,) = rows(QuarantinedInstance)
    assert (row.reason, row.sop_instance_uid) == (QuarantineReason.UID_MISMATCH, "1.2.3.4")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no DICOM at all",
        lambda content: content[:140],
        lambda content: content[:400],
        lambda content: content[: len(content) - 700] + b"\xff" * 700,
        lambda content: b"",
    ],
    ids=["other", "cut in the meta", "cut in the data set", "overwritten", "empty"],
)
def test_unreadable_bytes_go_to_quarantine_and_the_others_are_recorded(store, index, rows, damage):
    ds = make_instance()
    content = encode_file_meta(make_file_meta(ds)) + dataset_bytes(ds)
    bad = store.put([damage(content)])
    good = put_instance(store, make_instance())

    assert index() == IndexReport(new=1, quarantined=1)

    assert [row.stored_name for row in rows(Instance)] == [good.name]
    (row,) = rows(QuarantinedInstance)
    assert row.stored_name == bad.name
    assert store.quarantine_path(bad).read_bytes() == damage(content)


POISON = {"NumberOfFrames": 3_000_000_000}
"""More than a PostgreSQL integer holds."""


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_instance_that_the_database_refuses_goes_to_quarantine_and_the_others_are_recorded(
    store, index, rows, others
):
    poison = put_instance(store, make_instance(**POISON))
    good = [put_instance(store, make_instance()) for _ in range(others)]

    assert index() == IndexReport(new=others, quarantined=1)

    assert [row.stored_name for row in rows(Instance)] == [stored.name for stored in good]
    assert [row.stored_name for row in rows(QuarantinedInstance)] == [poison.name]
    assert kept(store) == good
    assert store.incoming(1) == []


def test_a_defect_of_ours_puts_nothing_into_quarantine(store, indexer, index, rows, monkeypatch):
    for _ in range(3):
        put_instance(store, make_instance())
    monkeypatch.setattr(indexing, "record_instance", lambda *_: 1 / 0)

    assert index().total == 0

    assert rows(QuarantinedInstance) == []
    assert len(store.incoming(9)) == len(indexer.set_aside) == 3


class PowerCut(BaseException):
    """The process ends here."""


@pytest.fixture
def crash(monkeypatch, index):
    """Index, with the power cut before or after a call of one function."""

    def crash(where, name, moment):
        real = getattr(where, name)

        def cut(*arguments, **options):
            if moment == "after":
                real(*arguments, **options)
            raise PowerCut

        with monkeypatch.context() as patch:
            patch.setattr(where, name, cut)
            with pytest.raises(PowerCut):
                index()

    return crash


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (InstanceStore, "keep"),
        (indexing, "record_identities"),
        (indexing, "record_instance"),
        (InstanceStore, "forget"),
    ],
)
def test_a_crash_between_any_two_steps_is_harmless(store, index, rows, crash, where, name, moment):
    stored = put_instance(store, make_instance())
    crash(where, name, moment)

    index()

    assert [row.stored_name for row in rows(Instance)] == [stored.name]
    assert len(rows(PatientIdentityRow)) == 1
    assert store.incoming(1) == []
    assert store.instance_path(stored).exists()
    actions = [event.action for event in rows(AuditEvent)]
    assert len(actions) == len(set(actions)) > 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (InstanceStore, "quarantine"),
        (indexing, "record_identities"),
        (indexing, "record_rejected"),
        (InstanceStore, "forget"),
    ],
)
def test_a_crash_on_the_way_to_quarantine_is_harmless(
    store, index, rows, crash, where, name, moment
):
    stored = put_instance(store, make_instance(StudyInstanceUID=None))
    crash(where, name, moment)

    index()

    assert [row.stored_name for row in rows(QuarantinedInstance)] == [stored.name]
    assert rows(PatientIdentityRow) == []
    assert store.incoming(1) == []
    assert store.quarantine_path(stored).exists()
    assert [event.action for event in rows(AuditEvent)] == ["instance.quarantined"]


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_crash_while_a_duplicate_is_discarded_is_harmless(
    store, index, rows, monkeypatch, moment
):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    put_instance(store, ds)

    def crash(self, stored):
        if moment == "between":
            self.instance_path(stored).unlink()
        elif moment == "after":
            discard(self, stored)
        raise PowerCut

    discard = InstanceStore.discard
    with monkeypatch.context() as patch:
        patch.setattr(InstanceStore, "discard", crash)
        with pytest.raises(PowerCut):
            index()
    index()

    assert [row.stored_name for row in rows(Instance)] == [first.name]
    assert kept(store) == [first]
    assert store.incoming(1) == []


def test_two_indexers_at_once_lose_nothing_and_quarantine_nothing(store, index, rows, monkeypatch):
    stored = put_instance(store, make_instance())
    real = indexing.record_identities

    def overtake(*arguments):
        real(*arguments)
        monkeypatch.setattr(indexing, "record_identities", real)
        index()

    monkeypatch.setattr(indexing, "record_identities", overtake)
    index()

    assert [row.stored_name for row in rows(Instance)] == [stored.name]
    assert kept(store) == [stored]
    assert rows(QuarantinedInstance) == []


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_instance_that_another_indexer_is_recording_stays_in_the_backlog(
    store, index, database, rows, monkeypatch
):
    stored = put_instance(store, make_instance())
    real, others = indexing.record_instance, []

    def meanwhile(session, *arguments):
        if not others:  # the other one commits after we looked and before we insert
            others.append(True)
            session.connection()
            with database.write() as other:
                real(other, *arguments)
            session.add(Patient(patient_key=arguments[0].identity.patient_key,
                                created_at=arguments[0].received_at))  # fmt: skip
            session.flush()
        return real(session, *arguments)

    monkeypatch.setattr(indexing, "record_instance", meanwhile)
    index()
    index()
    assert store.incoming(9) == []
    assert len(rows(Instance)) == 1
    assert kept(store) == [stored]


@pytest.mark.parametrize("which", ["database", "vault"])
def test_while_a_database_is_away_the_backlog_keeps_everything(store, indexer, rows, which):
    stored = [put_instance(store, make_instance()) for _ in range(3)]
    away = Database("postgresql+psycopg://medr1@127.0.0.1:1/nowhere")

    with pytest.raises(DatabaseUnavailable):
        replace(indexer, **{which: away}).index()
    away.dispose()

    assert store.incoming(9) == stored
    assert rows(Instance) == []
    assert indexer.index() == IndexReport(new=3)


def test_an_identity_is_in_the_vault_before_any_row_refers_to_it(store, indexer, rows, monkeypatch):
    def be_away(*_):
        raise DatabaseUnavailable("it stopped between the two")

    put_instance(store, make_instance())
    monkeypatch.setattr(indexing, "record_instance", be_away)

    with pytest.raises(DatabaseUnavailable):
        indexer.index()

    assert len(rows(PatientIdentityRow)) == 1
    assert rows(Patient) == []


def test_rows_are_rebuilt_from_files_after_the_databases_were_lost(
    reconcile, index, receive, database, vault, rows
):
    uid = make_uid()
    receive(make_instance(SOPInstanceUID=uid))
    receive(make_instance(SOPInstanceUID=uid, WindowCenter=50))
    receive(make_instance(StudyInstanceUID=None))
    before = [(row.stored_name, row.superseded_at is None) for row in rows(Instance)]
    quarantined = [row.stored_name for row in rows(QuarantinedInstance)]
    for lost, metadata in ((database, Base.metadata), (vault, VaultBase.metadata)):
        with lost.write() as session:
            for table in reversed(metadata.sorted_tables):
                if table.name not in APPEND_ONLY:
                    session.execute(delete(table))

    assert reconcile().returned == 3
    index()

    assert [(row.stored_name, row.superseded_at is None) for row in rows(Instance)] == before
    assert [row.stored_name for row in rows(QuarantinedInstance)] == quarantined
    assert len(rows(PatientIdentityRow)) == 1
    assert reconcile().returned == 0


def test_reconciling_a_database_that_is_whole_changes_nothing(store, receive, reconcile):
    receive(make_instance())

    assert reconcile().returned == 0
    assert store.incoming(1) == []


def test_a_limited_batch_takes_the_oldest(store, index, rows):
    stored = [put_instance(store, make_instance()) for _ in range(5)]

    assert index(limit=2).total == 2

    assert [row.stored_name for row in rows(Instance)] == [name.name for name in stored[:2]]
    assert store.incoming(9) == stored[2:]


def test_an_empty_backlog_is_an_empty_report(index):
    assert index().total == 0


def test_a_study_belongs_to_every_project_that_one_of_its_instances_brings(store, indexer, rows):
    rules = ProjectRules(
        (DeclaredProject("default"), DeclaredProject("lung", "Lung nodules", "EK-1")),
        (ProjectRule("lung", {"called_ae_title": "LUNG"}),),
    )
    for called_ae_title in ("MEDR1", "LUNG", "LUNG"):
        put_instance(store, make_instance(), called_ae_title=called_ae_title)

    replace(indexer, rules=rules).index()

    assert [(row.name, row.approval_number) for row in rows(Project)] == [
        ("default", ""),
        ("lung", "EK-1"),
    ]
    assert [row.rule for row in rows(ProjectStudy)] == [
        "no rule matched",
        "called_ae_title = LUNG",
    ]


@pytest.mark.parametrize(
    ("age", "born", "studied", "expected"),
    [
        ("052Y", "", "20260302", 52),
        ("018M", "", "20260302", 1),
        ("", "19700302", "20260302", 56),
        ("", "19700303", "20260302", 55),
        ("", "20270101", "20260302", None),
        ("old", "", "", None),
    ],
)
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_age_is_the_headers_or_counted_from_birth(receive, rows, age, born, studied, expected):
    receive(make_instance(PatientAge=age, PatientBirthDate=born, StudyDate=studied))

    assert rows(Study)[0].age_years == expected


def test_stored_names_tell_their_association():
    assert StoredName("1-abc-2.dcm").association_token == "abc"


def test_bytes_that_are_sent_again_after_others_are_the_newest(receive, complete, rows):
    ds = make_instance(PixelData=b"\x01\x00" * 4)
    other = make_instance(
        SOPInstanceUID=ds.SOPInstanceUID,
        StudyInstanceUID=ds.StudyInstanceUID,
        SeriesInstanceUID=ds.SeriesInstanceUID,
        PixelData=b"\x02\x00" * 4,
    )
    receive(ds)
    receive(other)
    complete()

    receive(ds)

    assert [row.superseded_at is None for row in rows(Instance)] == [True, False]
    assert rows(Study)[0].version == 2


def test_a_study_that_loses_an_instance_to_another_is_reopened(receive, complete, rows):
    ds = make_instance()
    receive(ds)
    complete()

    receive(make_instance(SOPInstanceUID=ds.SOPInstanceUID, StudyInstanceUID=make_uid()))

    first, second = rows(Study)
    assert (first.state, first.version) == (StudyState.RECEIVING, 2)
    assert "another study" in first.state_reason
    assert (second.state, second.version) == (StudyState.RECEIVING, 1)


def test_a_file_that_the_disk_does_not_give_holds_up_no_other(
    store, indexer, index, rows, monkeypatch
):
    bad, good = (put_instance(store, make_instance()) for _ in range(2))
    read = indexing.read_received

    def read_unless_bad(path, stored, *arguments, **options):
        if stored == bad:
            raise OSError(5, "Input/output error")
        return read(path, stored, *arguments, **options)

    monkeypatch.setattr(indexing, "read_received", read_unless_bad)

    assert index() == IndexReport(new=1)
    assert indexer.set_aside.keys() == {bad.name}

    assert [row.stored_name for row in rows(Instance)] == [good.name]
    assert store.incoming(9) == [bad]


def test_identities_are_restored_to_a_lost_vault(reconcile, receive, rows, vault):
    receive(make_instance(PatientID="P-17"))
    with vault.write() as session:
        session.execute(delete(PatientIdentityRow))

    assert reconcile().identities == 1

    assert [row.patient_id for row in rows(PatientIdentityRow)] == ["P-17"]
