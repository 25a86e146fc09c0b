"""A withdrawal: what goes, what stays, and that nothing of it comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SITE_KEY, make_instance, make_uid, put_instance
from sqlalchemy import select, update

from medr1_pacs.db.audit import list_events
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.snapshots import iterate_rows
from medr1_pacs.db.tables import (
    Answer,
    AuditEvent,
    Generation,
    Instance,
    Patient,
    ProjectStudy,
    Prompt,
    QuarantinedInstance,
    ReferenceStandard,
    Rendering,
    Study,
    Withdrawal,
)
from medr1_pacs.db.vault import PatientIdentityRow
from medr1_pacs.db.withdrawals import get_withdrawal
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import WithdrawnListUnusable
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.pseudonyms import study_key
from medr1_pacs.records.withdrawals import WithdrawnEntry
from medr1_pacs.records.words import (
    Modality,
    QuarantineReason,
    StudyState,
    WithdrawnKind,
)
from medr1_pacs.steps.citing import check_snapshot, make_snapshot
from medr1_pacs.storage.withdrawn_list import WithdrawnList

TWO_PROJECTS = ProjectRules(
    (Project("lung"), Project("heart")),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)


def make_patient(patient_id: str, name: str, number: int = 1, **elements):
    """Make a radiograph of somebody."""
    study = make_uid()
    return [
        _change(ds, PatientID=patient_id, PatientName=name, StudyInstanceUID=study, **elements)
        for ds in make_study(Modality.XRAY, number)
    ]


def _change(ds, **elements):
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = make_uid()
    ds.SeriesInstanceUID = make_uid()
    return ds


@pytest.fixture
def storage_dir(store, tmp_path):
    """The folder of the store."""
    return tmp_path / "storage"


@pytest.fixture
def patients(answered):
    """Two patients whose studies were answered; returns their instances."""
    first, second = make_patient("P-1", "Weg^Willi"), make_patient("P-2", "Bleib^Berta", 2)
    answered(*first, *second, raw_output="<think>Wortwolke.</think><answer>A</answer>")
    return first, second


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def found_by_research(database, project="default"):
    return list(iterate_found(database, project, AnswerFilters()))


# -- what goes -----------------------------------------------------------------------------------


def test_files_pictures_identity_and_texts_of_a_study_go(
    patients, withdrawer, ask_to_withdraw, rows, store
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)

    assert withdrawer.carry_out() == 1

    study, other = rows(Study)
    assert study.state is StudyState.WITHDRAWN
    assert other.state is not StudyState.WITHDRAWN
    assert [row.patient_name for row in rows(PatientIdentityRow)] == ["Bleib^Berta"]
    gone = [row for row in rows(Instance) if row.sop_instance_uid.startswith("withdrawn:")]
    assert gone
    assert {row.stored_name for row in gone}.isdisjoint(path.name for _, path in store.settled())
    texts = [row.reasoning for row in rows(Answer)]
    assert None in texts
    assert "Wortwolke." in texts


def test_row_ids_hashes_letters_and_the_event_stay(
    patients, withdrawer, ask_to_withdraw, rows, database
):
    (ds, *_), _ = patients
    tables = (Instance, Rendering, Prompt, Generation, Answer)
    before = {table: [row.id for row in rows(table)] for table in tables}
    hashes = [row.sha256 for row in rows(Instance)]
    choices = [row.choice for row in rows(Answer)]
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    assert {table: [row.id for row in rows(table)] for table in tables} == before
    assert [row.sha256 for row in rows(Instance)] == hashes
    assert [row.choice for row in rows(Answer)] == choices
    with database.read() as session:
        [event, *_] = [
            each
            for each in list_events(session, "study", rows(Study)[0].id)
            if each.action == "study.withdrawn"
        ]
    assert (event.actor, event.reason) == ("tester", "consent was withdrawn")


def test_research_finds_nothing_of_it_and_everything_else(
    patients, withdrawer, ask_to_withdraw, database, rows
):
    (ds, *_), _ = patients
    before = found_by_research(database)
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    gone = {row.patient_pseudonym for row in rows(ProjectStudy) if row.withdrawn_at}
    kept = [answer for answer in before if answer.patient_pseudonym not in gone]
    assert found_by_research(database) == kept
    assert 0 < len(kept) < len(before)


def test_a_patient_takes_all_studies_and_their_truths_along(
    answered, withdrawer, ask_to_withdraw, rows
):
    answered(*make_patient("P-1", "Weg^Willi"), *make_patient("P-1", "Weg^Willi", 2))
    assert any(row.truth for row in rows(ReferenceStandard))
    ask_to_withdraw(patient_ids=["P-1"])

    withdrawer.carry_out()

    assert {row.state for row in rows(Study)} == {StudyState.WITHDRAWN}
    assert {row.sex for row in rows(Patient)} == {None}
    assert {row.truth for row in rows(ReferenceStandard)} == {None}
    assert rows(PatientIdentityRow) == []


def test_a_picture_that_another_study_stands_on_stays(
    answered, withdrawer, ask_to_withdraw, rows, pictures, database
):
    first, second = make_patient("P-1", "Weg^Willi"), make_patient("P-2", "Bleib^Berta")
    answered(*first, *second)
    assert len({row.png_sha256 for row in rows(Rendering)}) < len(rows(Rendering))
    withdrawal = ask_to_withdraw(first[0].StudyInstanceUID)

    withdrawer.carry_out()

    for answer in found_by_research(database):
        assert pictures.read(answer.png_sha256)
    with database.read() as session:
        assert get_withdrawal(session, withdrawal).certificate["pictures_shared"] == 1


def test_a_file_in_quarantine_that_names_the_study_goes(
    patients, withdrawer, ask_to_withdraw, index, rows, store
):
    (ds, *_), _ = patients
    broken = make_instance(
        StudyInstanceUID=ds.StudyInstanceUID, PatientID="P-1", PatientName="Weg^Willi"
    )
    put_instance(store, broken, sop_instance_uid=make_uid())
    index()
    assert [row.reason for row in rows(QuarantinedInstance)] == [QuarantineReason.UID_MISMATCH]
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    assert store.quarantined() == []
    [row] = rows(QuarantinedInstance)
    assert row.dropped_at
    assert row.sop_instance_uid.startswith("withdrawn:")


def test_a_file_that_does_not_parse_is_known_by_the_uid_in_it(
    patients, withdrawer, ask_to_withdraw, index, store
):
    (ds, *_), _ = patients
    whole = put_instance(store, make_instance(StudyInstanceUID=ds.StudyInstanceUID))
    path = store.incoming_path(whole)
    path.write_bytes(path.read_bytes()[:132] + b"\xff" * 40 + path.read_bytes()[172:])
    index()
    assert store.quarantined() == [whole]
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    assert store.quarantined() == []


def test_the_certificate_tells_what_went(patients, withdrawer, ask_to_withdraw, database, rows):
    (ds, *_), _ = patients
    make_snapshot(database, "default", "Fig. 1", AnswerFilters(), actor="ada")
    [use, *_] = rows(ProjectStudy)
    withdrawal = ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    with database.read() as session:
        record = get_withdrawal(session, withdrawal)
    [study] = record.certificate["studies"]
    assert study["instances"] == len([r for r in rows(Instance) if r.superseded_at])
    assert study["answers"] >= study["pictures"] > 0
    assert study["uses"] == [
        {
            "project": "default",
            "study_pseudonym": use.pseudonymous_uid,
            "patient_pseudonym": use.patient_pseudonym,
        }
    ]
    assert record.certificate["identities"] == 1
    assert record.certificate["snapshots"] == [
        {"project": "default", "name": "Fig. 1", "answers": study["answers"]}
    ]
    assert record.finished_at


# -- one project's use ---------------------------------------------------------------------------


@pytest.fixture
def two_projects(indexer, answered, store, index, rows):
    """A study of two projects, answered."""
    indexer.rules = TWO_PROJECTS
    instances = make_patient("P-1", "Weg^Willi")
    for ds in instances:
        put_instance(store, ds, called_ae_title="HEART")
    answered(*instances, called_ae_title="LUNG")
    assert len(rows(ProjectStudy)) == 2
    return instances


def test_one_projects_use_goes_and_the_others_stays(
    two_projects, withdrawer, ask_to_withdraw, database, rows
):
    ask_to_withdraw(two_projects[0].StudyInstanceUID, project="lung")

    withdrawer.carry_out()

    assert found_by_research(database, "lung") == []
    assert found_by_research(database, "heart")
    assert rows(Study)[0].state in (StudyState.ANSWERED, StudyState.ASKED)
    assert len(rows(PatientIdentityRow)) == 1


def test_an_arrival_gives_it_back_to_no_project_that_it_was_taken_from(
    two_projects, withdrawer, ask_to_withdraw, store, index, rows
):
    ask_to_withdraw(two_projects[0].StudyInstanceUID, project="lung")
    withdrawer.carry_out()
    late = _change(two_projects[0])
    put_instance(store, late, called_ae_title="LUNG")

    assert index().turned_away == 1

    assert [bool(row.withdrawn_at) for row in rows(ProjectStudy)].count(True) == 1


def test_the_last_use_takes_the_study_along(two_projects, withdrawer, ask_to_withdraw, rows):
    for project in ("lung", "heart"):
        ask_to_withdraw(two_projects[0].StudyInstanceUID, project=project)

    withdrawer.carry_out()

    assert [row.state for row in rows(Study)] == [StudyState.WITHDRAWN]
    assert rows(PatientIdentityRow) == []


# -- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_says_withdrawn_and_that_the_others_are_unchanged(
    patients, withdrawer, ask_to_withdraw, database
):
    (ds, *_), _ = patients
    snapshot = make_snapshot(database, "default", "Fig. 1", AnswerFilters(), actor="ada")
    before = list(iterate_rows(database, "default", "Fig. 1"))
    ask_to_withdraw(ds.StudyInstanceUID)

    withdrawer.carry_out()

    after = list(iterate_rows(database, "default", "Fig. 1"))
    gone = [row for row in after if row.get("withdrawn")]
    assert len(after) == len(before) == snapshot.answers
    assert gone
    assert all(set(row) == {"answer_id", "withdrawn"} for row in gone)
    assert [row for row in after if row not in gone] == [row for row in before if row in after]
    check = check_snapshot(database, "default", "Fig. 1")
    assert check.withdrawn == len(gone)
    assert check.is_unchanged


def test_a_snapshot_with_withdrawn_answers_still_tells_an_edited_one(
    patients, withdrawer, ask_to_withdraw, database
):
    (ds, *_), _ = patients
    make_snapshot(database, "default", "Fig. 1", AnswerFilters(), actor="ada")
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()

    with database.write() as session:
        session.execute(
            update(Answer).where(Answer.reasoning.is_not(None)).values(reasoning="Otherwise.")
        )

    assert check_snapshot(database, "default", "Fig. 1").is_unchanged is False


# -- what comes again ----------------------------------------------------------------------------


def test_an_instance_that_is_sent_again_is_turned_away(
    patients, withdrawer, ask_to_withdraw, store, index, rows, database
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    put_instance(store, ds)
    put_instance(store, _change(ds, StudyInstanceUID=ds.StudyInstanceUID))

    assert index().turned_away == 2

    assert len(rows(Study)) == 2
    assert [row.patient_name for row in rows(PatientIdentityRow)] == ["Bleib^Berta"]
    assert store.incoming(9) == []
    with database.read() as session:
        actions = session.scalars(select(AuditEvent.action)).all()
    assert actions.count("instance.turned_away") == 2


def test_a_new_study_of_a_withdrawn_patient_is_turned_away(
    patients, withdrawer, ask_to_withdraw, store, index, rows
):
    ask_to_withdraw(patient_ids=["P-1"])
    withdrawer.carry_out()
    for ds in make_patient("P-1", "Weg^Willi", 3):
        put_instance(store, ds)

    assert index().turned_away > 0

    assert len(rows(Study)) == 2


def test_by_the_sites_rule_it_is_set_aside_instead(
    patients, withdrawer, ask_to_withdraw, store, indexer, rows
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    stored = put_instance(store, ds)

    replace(indexer, sets_withheld_aside=True).index()

    [row] = rows(QuarantinedInstance)
    assert row.reason is QuarantineReason.WITHDRAWN
    assert store.quarantined() == [stored]
    assert [each.patient_name for each in rows(PatientIdentityRow)] == ["Bleib^Berta"]


def test_an_unusable_instance_that_names_it_is_turned_away_too(
    patients, withdrawer, ask_to_withdraw, store, index, rows
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    broken = make_instance(StudyInstanceUID=ds.StudyInstanceUID)
    put_instance(store, broken, sop_instance_uid=make_uid())

    assert index().turned_away == 1

    assert rows(QuarantinedInstance) == []


def test_nothing_of_a_patient_who_opted_out_is_kept(store, indexer, rows, tmp_path):
    listed = tmp_path / "opt-out.csv"
    listed.write_text("patient_id,issuer_of_patient_id\nP-1,\n")
    indexer.opt_out = OptOutList(listed)
    for ds in (*make_patient("P-1", "Weg^Willi"), *make_patient("P-2", "Bleib^Berta")):
        put_instance(store, ds)

    assert indexer.index().turned_away == 1

    assert [row.patient_id for row in rows(PatientIdentityRow)] == ["P-2"]
    assert len(rows(Study)) == 1


def test_an_opt_out_list_that_changes_counts_at_once(store, indexer, rows, tmp_path):
    listed = tmp_path / "opt-out.csv"
    listed.write_text("patient_id\nP-9\n")
    indexer.opt_out = OptOutList(listed)
    indexer.index()
    listed.write_text("patient_id\nP-9\nP-1\n")
    for ds in make_patient("P-1", "Weg^Willi"):
        put_instance(store, ds)

    assert indexer.index().turned_away == 1


def test_without_its_opt_out_list_nothing_comes_in_and_nothing_is_lost(store, indexer, tmp_path):
    indexer.opt_out = OptOutList(tmp_path / "missing.csv")
    stored = put_instance(store, make_instance())

    with pytest.raises(Exception, match="the opt-out list"):
        indexer.index()

    assert store.incoming(9) == [stored]


# -- the list, and backups that are restored -----------------------------------------------------


def test_the_list_has_hashes_alone_and_comes_first(
    patients, withdrawer, ask_to_withdraw, rows, monkeypatch, tmp_path
):
    (ds, *_), _ = patients

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("medr1_pacs.steps.withdrawing.delete_identities", stop)
    ask_to_withdraw(ds.StudyInstanceUID)
    with pytest.raises(KeyboardInterrupt):
        withdrawer.carry_out()

    content = (tmp_path / "withdrawn.jsonl").read_text()
    assert len(content.splitlines()) == 2
    assert ds.StudyInstanceUID not in content
    assert len(rows(PatientIdentityRow)) == 2


def test_where_the_list_cannot_be_written_nothing_goes(
    patients, withdrawer, ask_to_withdraw, rows, tmp_path
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.withdrawn_list = WithdrawnList(tmp_path / "missing" / "list.jsonl", SITE_KEY)

    with pytest.raises(WithdrawnListUnusable, match="MEDR1_WITHDRAWN_FILE"):
        withdrawer.carry_out()

    assert len(rows(PatientIdentityRow)) == 2
    assert all(row.raw_output for row in rows(Generation))


def test_a_database_that_knows_nothing_of_it_withdraws_again(
    patients, withdrawer, ask_to_withdraw, rows, database
):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    with database.write() as session:
        for table in (Withdrawal.metadata.tables["withdrawn_key"], Withdrawal.__table__):
            session.execute(table.delete())
    entry = WithdrawnEntry(WithdrawnKind.STUDY, study_key(SITE_KEY, ds.StudyInstanceUID), None)
    withdrawer.withdrawn_list.add([entry])

    assert withdrawer.apply_list() == 1
    assert withdrawer.carry_out() == 1

    assert rows(Study)[0].state is StudyState.WITHDRAWN
    assert [row.patient_name for row in rows(PatientIdentityRow)] == ["Bleib^Berta"]
    assert withdrawer.apply_list() == 0


def test_files_and_identities_that_come_back_alone_go_again(
    patients, withdrawer, ask_to_withdraw, store, vault, rows, storage_dir
):
    (ds, *_), _ = patients
    kept = {path: path.read_bytes() for path in files_under(storage_dir)}
    with vault.read() as session:
        columns = PatientIdentityRow.__table__.columns.keys()
        identities = [
            {name: getattr(row, name) for name in columns}
            for row in session.scalars(select(PatientIdentityRow))
        ]
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    after = set(files_under(storage_dir))
    assert len(after) < len(kept)

    for path, content in kept.items():
        path.write_bytes(content)
    with vault.write() as session:
        session.execute(PatientIdentityRow.__table__.delete())
        session.execute(PatientIdentityRow.__table__.insert(), identities)
    withdrawer.apply_list()

    assert set(files_under(storage_dir)) == after
    assert [row.patient_name for row in rows(PatientIdentityRow)] == ["Bleib^Berta"]


def test_a_file_without_its_row_is_read_again_and_turned_away(
    patients, withdrawer, store, index, database, rows
):
    ds = make_instance()
    stored = put_instance(store, ds)
    store.sync([store.keep(stored)])
    store.forget(stored)
    entry = WithdrawnEntry(WithdrawnKind.STUDY, study_key(SITE_KEY, ds.StudyInstanceUID), None)
    withdrawer.withdrawn_list.add([entry])

    withdrawer.apply_list()
    withdrawer.carry_out()

    assert index().turned_away == 1
    assert not store.instance_path(stored).exists()


def test_a_list_of_another_site_key_is_refused(withdrawer, tmp_path):
    path = tmp_path / "withdrawn.jsonl"
    WithdrawnList(path, b"x" * 32).add([WithdrawnEntry(WithdrawnKind.STUDY, "0" * 32, None)])

    with pytest.raises(WithdrawnListUnusable, match="site key"):
        withdrawer.apply_list()


def test_reconciling_brings_no_identity_back(
    patients, withdrawer, ask_to_withdraw, storage_dir, reconcile, rows
):
    (ds, *_), _ = patients
    kept = {path: path.read_bytes() for path in files_under(storage_dir)}
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()
    for path, content in kept.items():
        path.write_bytes(content)

    report = reconcile()

    assert [row.patient_name for row in rows(PatientIdentityRow)] == ["Bleib^Berta"]
    assert report.damaged == []


def test_reconciling_misses_no_file_of_it(patients, withdrawer, ask_to_withdraw, reconcile):
    (ds, *_), _ = patients
    ask_to_withdraw(ds.StudyInstanceUID)
    withdrawer.carry_out()

    report = reconcile()

    assert report.damaged == []
    assert report.studies_found_anew == 0
