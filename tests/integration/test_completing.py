from datetime import UTC, datetime, timedelta

import pytest
from factories import make_instance, make_uid, put_instance

from medr1_pacs.db.associations import close_orphans, record_associations
from medr1_pacs.db.tables import Association, AuditEvent, Study, StudyVersion
from medr1_pacs.records.received import AssociationRecord
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps.completing import complete_studies

TOKEN = "a" * 16


@pytest.fixture
def receive(store, index):
    def receive(token=TOKEN, **elements):
        put_instance(store, make_instance(**elements), association_token=token)
        index()

    return receive


@pytest.fixture
def complete(database):
    """Complete what has been quiet for a minute, as of now."""

    def complete():
        return complete_studies(database, quiet_s=60)

    return complete


@pytest.fixture
def wait(database):
    """Let time pass for every study, without waiting."""

    def wait(seconds):
        with database.write() as session:
            for study in session.query(Study):
                study.last_received_at -= timedelta(seconds=seconds)

    return wait


@pytest.fixture
def beat(database):
    """Write the listener's heartbeat of an association, so many seconds ago."""

    def beat(seconds_ago=0, token=TOKEN, **changes):
        now = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        record = AssociationRecord(token, "SCANNER", "MEDR1", "10.0.0.1", now, **changes)
        with database.write() as session:
            record_associations(session, [record], now)

    return beat


@pytest.fixture
def states(rows):
    def states():
        return [row.state for row in rows(Study)]

    return states


def test_a_quiet_study_is_complete_and_has_its_version(receive, wait, complete, rows):
    for _ in range(2):
        receive()
    wait(61)

    assert complete() == 1

    (study,), (version,) = rows(Study), rows(StudyVersion)
    assert study.state is StudyState.COMPLETE
    assert (version.version, version.instances, version.planned_at) == (1, 2, None)


def test_a_study_that_still_arrives_is_not_complete(receive, wait, complete, states):
    receive()
    wait(55)

    assert complete() == 0
    assert states() == [StudyState.RECEIVING]


def test_an_open_association_holds_its_study(receive, wait, complete, beat, states):
    receive()
    wait(500)
    beat()

    complete()

    assert states() == [StudyState.RECEIVING]


def test_a_dead_heartbeat_holds_nothing(receive, wait, complete, beat, states):
    receive()
    wait(500)
    beat(seconds_ago=16)

    complete()

    assert states() == [StudyState.COMPLETE]


def test_a_closed_association_holds_nothing(receive, wait, complete, beat, states):
    receive()
    wait(500)
    beat(closed_at=datetime.now(UTC), ending="released")

    complete()

    assert states() == [StudyState.COMPLETE]


def test_an_association_that_went_on_to_another_study_holds_that_one(
    receive, wait, complete, beat, states
):
    receive(StudyInstanceUID=make_uid())
    receive(StudyInstanceUID=make_uid())
    wait(500)
    beat()

    complete()

    assert states() == [StudyState.COMPLETE, StudyState.RECEIVING]


def test_an_association_that_sent_nothing_holds_nothing(receive, wait, complete, beat, states):
    receive()
    wait(500)
    beat(token="b" * 16)

    complete()

    assert states() == [StudyState.COMPLETE]


def test_a_late_association_makes_the_next_version(receive, wait, complete, beat, rows):
    receive()
    wait(61)
    complete()

    receive(token="b" * 16)
    beat(token="b" * 16)
    wait(500)
    assert complete() == 0
    beat(token="b" * 16, closed_at=datetime.now(UTC), ending="released")
    assert complete() == 1

    assert [(row.version, row.instances) for row in rows(StudyVersion)] == [(1, 1), (2, 2)]


def test_completing_again_changes_nothing(receive, wait, complete, rows):
    receive()
    wait(61)
    complete()

    assert complete() == 0
    assert len(rows(StudyVersion)) == 1
    assert [event.new_value["state"] for event in rows(AuditEvent)
            if event.action == "study.state_changed"] == ["complete"]  # fmt: skip


def test_a_superseded_instance_is_not_counted(receive, wait, complete, rows):
    uid = make_uid()
    receive(SOPInstanceUID=uid)
    receive(SOPInstanceUID=uid, WindowCenter=50)
    wait(61)

    complete()

    assert rows(StudyVersion)[0].instances == 1


def test_the_associations_of_a_listener_that_is_gone_are_closed_as_lost(database, beat, rows):
    beat(seconds_ago=100, token="a" * 16)
    beat(token="b" * 16)
    now = datetime.now(UTC)

    with database.write() as session:
        close_orphans(session, now - timedelta(seconds=60), now)

    assert [(row.ending, row.closed_at is None) for row in rows(Association)] == [
        ("lost", False),
        (None, True),
    ]


def test_a_heartbeat_updates_its_row(beat, rows):
    beat(seconds_ago=9)
    beat(instances=4)

    (row,) = rows(Association)
    assert row.instances == 4
    assert datetime.now(UTC) - row.heartbeat_at < timedelta(seconds=5)
