"""An instance that is sent again repairs its file, and nothing acknowledged is deleted for it."""

from __future__ import annotations

import pytest
from factories import NOON, make_instance, make_uid, put_instance
from sqlalchemy import update

from medr1_pacs.db.tables import (
    AuditEvent,
    Generation,
    Instance,
    ProjectStudy,
    QuarantinedInstance,
    Rendering,
    Study,
    StudyVersion,
)
from medr1_pacs.errors import DatabaseUnavailable, InstanceDamaged, StorageUnavailable
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import GenerationState, RenderingState, StudyState
from medr1_pacs.steps import indexing

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), damage], ids=["missing", "changed"])
def test_an_instance_sent_again_becomes_the_file_of_its_row(store, index, rows, harm):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    harm(store.instance_path(first))

    put_instance(store, ds)
    index()

    (row,) = rows(Instance)
    store.verify(first, row.sha256)
    assert row.stored_name == first.name
    assert store.incoming(9) == []
    assert "instance.repaired" in [event.action for event in rows(AuditEvent)]


def test_a_damaged_file_whose_place_cannot_be_written_holds_up_no_other(
    store, index, indexer, rows, monkeypatch
):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    damage(store.instance_path(first))

    def refuse(damaged, stored):
        raise StorageUnavailable("the storage folder cannot be written: Permission denied")

    monkeypatch.setattr(store, "replace", refuse)
    again, other = put_instance(store, ds), put_instance(store, make_instance())
    index()

    assert [row.stored_name for row in rows(Instance)] == [first.name, other.name]
    assert indexer.set_aside.keys() == {again.name}


def test_a_repair_is_done_again_after_a_crash_in_the_middle(store, index, rows, monkeypatch):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    damage(store.instance_path(first))
    again = put_instance(store, ds)

    def away(session, stored_name):
        raise DatabaseUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "record_repair", away)
        with pytest.raises(DatabaseUnavailable):
            index()

    assert store.incoming(9) == [again]
    index()
    store.verify(first, rows(Instance)[0].sha256)
    assert store.incoming(9) == []


@pytest.mark.parametrize("state", [StudyState.ASKED, StudyState.FAILED, StudyState.ANSWERED])
def test_a_repair_tries_again_what_failed_over_the_damage_in_whatever_state_the_study_is(
    store, index, database, rows, add_work, state
):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    add_work(Generation, 1)
    with database.write() as session:
        session.execute(update(Study).values(state=state))
        session.add(
            StudyVersion(study_id=1, version=1, instances=1, completed_at=NOON, planned_at=NOON)
        )
        session.execute(update(Generation).values(state=GenerationState.FAILED))
        session.execute(
            update(Rendering).values(
                instance_id=1,
                state=RenderingState.FAILED,
                error=str(InstanceDamaged(first.name, "is missing")),
            )
        )

    store.instance_path(first).unlink()
    put_instance(store, ds)
    index()

    assert rows(Rendering)[0].state is RenderingState.PLANNED
    assert rows(Study)[0].state == ("answered" if state == "answered" else "asked")
    (generation,) = rows(Generation)
    assert (generation.state, generation.is_ready) == (GenerationState.WAITING, False)


def test_a_repair_does_not_call_a_study_answered_whose_plan_failed(
    store, index, database, rows, add_work
):
    ds = make_instance()
    first = put_instance(store, ds)
    index()
    add_work(Rendering, 1)
    with database.write() as session:
        session.execute(update(Study).values(state=StudyState.FAILED))
        session.execute(
            update(Rendering).values(
                instance_id=1,
                state=RenderingState.FAILED,
                error=str(InstanceDamaged(first.name, "is missing")),
            )
        )
    store.instance_path(first).unlink()

    put_instance(store, ds)
    index()

    assert rows(Study)[0].state is StudyState.FAILED


def test_an_instance_sent_again_to_a_whole_file_is_discarded(store, index, rows, tmp_path):
    ds = make_instance()
    put_instance(store, ds)
    index()
    put_instance(store, ds)
    index()

    assert len(list((tmp_path / "storage/instances").rglob("*.dcm"))) == 1
    assert "instance.repaired" not in [event.action for event in rows(AuditEvent)]


def test_a_file_that_is_not_what_was_received_is_named(store, index, rows):
    stored = put_instance(store, make_instance())
    index()
    damage(store.instance_path(stored))

    with pytest.raises(InstanceDamaged, match=f"{stored.name} is not what was received"):
        store.verify(stored, rows(Instance)[0].sha256)


def test_reconciling_reports_a_row_without_its_file_and_a_file_that_changed(
    store, index, reconcile
):
    gone, changed, _ = (put_instance(store, make_instance()) for _ in range(3))
    index()
    store.instance_path(gone).unlink()
    damage(store.instance_path(changed))

    report = reconcile()

    assert sorted(report.damaged) == sorted(
        [
            f"the stored file {gone.name} is missing",
            f"the stored file {changed.name} is not what was received",
        ]
    )
    assert report.returned == 0


def test_the_same_bytes_for_a_second_project_reach_that_project(store, indexer, rows):
    rules = ProjectRules(
        projects=(Project("lung"), Project("heart")),
        rules=tuple(
            ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")
        ),
    )
    indexer.rules = rules
    ds = make_instance()
    for called in ("LUNG", "HEART"):
        put_instance(store, ds, called_ae_title=called)
        indexer.index()

    assert len(rows(Instance)) == 1
    assert len(rows(ProjectStudy)) == 2


def test_quarantined_bytes_are_resolved_by_a_usable_instance_of_their_uid(store, index, rows):
    uid = make_uid()
    bad = make_instance(SOPInstanceUID=uid)
    put_instance(store, bad, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    index()
    assert rows(QuarantinedInstance)[0].resolved_at is None

    put_instance(store, bad)
    index()

    assert rows(QuarantinedInstance)[0].resolved_at is not None
    assert len(rows(Instance)) == 1
