"""Who may supersede another sender's instance, and what a person decides."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from factories import make_instance, make_uid, put_instance

from medr1_pacs.db.instances import accept_held, list_held, refuse_held
from medr1_pacs.db.tables import Instance, ProjectStudy, Study
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import InstanceHold, StudyState
from medr1_pacs.steps.accounting import Whereabouts, account_for
from medr1_pacs.steps.completing import complete_studies

RULES = ProjectRules(
    projects=(Project("default"), Project("lung"), Project("heart")),
    rules=tuple(ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")),
)
SCANNER, PACS = "SCANNER", "PACS"


@pytest.fixture
def send(store, indexer, rows):
    """Receive versions of one instance; returns which of its rows is current."""
    indexer.rules = RULES
    uid = make_uid()

    def send(name, sender, *, to):
        ds = make_instance(SOPInstanceUID=uid, PatientName=name)
        put_instance(store, ds, calling_ae_title=sender, called_ae_title=to)
        indexer.index()
        return [(row.superseded_at is None, row.hold) for row in rows(Instance)]

    send.uid = uid
    return send


def test_an_archive_of_the_same_project_supersedes_a_scanners_instance(send):
    send("Wrong^Name", SCANNER, to="LUNG")

    assert send("Right^Name", PACS, to="LUNG") == [(False, None), (True, None)]


def test_another_sender_for_another_project_is_held(send, rows):
    send("Right^Name", SCANNER, to="LUNG")

    assert send("Forged^Name", PACS, to="HEART") == [(True, None), (False, InstanceHold.HELD)]
    assert len(rows(ProjectStudy)) == 1
    assert rows(Study)[0].version == 1


def test_a_sender_that_adds_its_project_to_the_study_first_is_held_all_the_same(
    send, store, indexer, rows
):
    send("Right^Name", SCANNER, to="LUNG")
    put_instance(store, make_instance(), calling_ae_title=PACS, called_ae_title="HEART")
    indexer.index()
    assert len(rows(ProjectStudy)) == 2

    send("Forged^Name", PACS, to="HEART")

    assert [row.hold for row in rows(Instance)] == [None, None, InstanceHold.HELD]


def test_the_same_sender_may_correct_its_own_instance_for_another_project(send):
    send("Wrong^Name", SCANNER, to="LUNG")

    assert send("Right^Name", SCANNER, to="HEART") == [(False, None), (True, None)]


def test_a_held_instance_reopens_no_study(send, database, rows):
    send("Right^Name", SCANNER, to="LUNG")
    complete_studies(database, quiet_s=0)

    send("Forged^Name", PACS, to="HEART")

    assert rows(Study)[0].state is StudyState.COMPLETE


def test_a_held_instance_that_is_accepted_is_current_in_the_next_version(send, database, rows):
    send("Wrong^Name", SCANNER, to="LUNG")
    complete_studies(database, quiet_s=0)
    send("Right^Name", PACS, to="HEART")

    with database.write() as session:
        assert [row.sop_instance_uid for row in list_held(session)] == [send.uid]
        assert accept_held(session, send.uid, RULES, datetime.now(UTC), actor="operator")

    assert [(row.superseded_at is None, row.hold) for row in rows(Instance)] == [
        (False, None),
        (True, None),
    ]
    assert (rows(Study)[0].state, rows(Study)[0].version) == (StudyState.RECEIVING, 2)
    assert len(rows(ProjectStudy)) == 2
    complete_studies(database, quiet_s=60)
    assert rows(Study)[0].state is StudyState.RECEIVING, "more of it may be accepted"


def test_a_held_instance_that_is_refused_stays_refused_when_it_is_sent_again(send, database):
    send("Right^Name", SCANNER, to="LUNG")
    send("Forged^Name", PACS, to="HEART")
    with database.write() as session:
        assert refuse_held(session, send.uid, actor="operator")

    again = send("Forged^Name", PACS, to="HEART")

    assert again == [(True, None), (False, InstanceHold.REFUSED)]


def test_nothing_is_accepted_where_nothing_is_held(send, database):
    send("Right^Name", SCANNER, to="LUNG")

    with database.write() as session:
        assert not accept_held(session, send.uid, RULES, datetime.now(UTC), actor="operator")


def test_every_instance_is_accounted_for(send, store, database, index, rows):
    send("Right^Name", SCANNER, to="LUNG")
    bad, gone, waiting = make_instance(), make_instance(), make_instance()
    put_instance(store, bad, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    lost = put_instance(store, gone)
    index()
    store.instance_path(lost).unlink()
    put_instance(store, waiting)
    uids = [send.uid, *(ds.SOPInstanceUID for ds in (bad, gone, waiting)), "1.2.3"]

    places = account_for(store, database, uids)

    assert list(places.values()) == [
        Whereabouts.CURRENT,
        Whereabouts.QUARANTINED,
        Whereabouts.DAMAGED,
        Whereabouts.WAITING,
        Whereabouts.UNKNOWN,
    ]
