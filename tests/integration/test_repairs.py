"""An instance that is sent again repairs its file, and nothing acknowledged is deleted for it."""

from __future__ import annotations

import pytest
from factories import make_instance, make_uid, put_instance

from medr1_pacs.db.tables import AuditEvent, Instance, ProjectStudy, QuarantinedInstance
from medr1_pacs.errors import InstanceDamaged
from medr1_pacs.projects import Project, ProjectRule, ProjectRules

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
