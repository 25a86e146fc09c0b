"""What cannot be used: shown, read anew, dropped, and accounted for whatever became of it."""

from __future__ import annotations

import json

import pytest
from factories import NOON, STUDY_UID, make_instance, put_instance
from typer.testing import CliRunner

from medr1_pacs.cli import app
from medr1_pacs.db.quarantine import list_quarantined
from medr1_pacs.db.set_aside import replace_set_aside
from medr1_pacs.db.tables import (
    AuditEvent,
    Instance,
    QuarantinedInstance,
    Study,
    StudyVersion,
)
from medr1_pacs.errors import InstanceDamaged, NotInQuarantine, StillInBacklog, StorageUnavailable
from medr1_pacs.headers import HeaderUnusable
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.records.words import QuarantineReason, StudyState
from medr1_pacs.steps import indexing, quarantine
from medr1_pacs.steps.accounting import Whereabouts, account_for
from medr1_pacs.storage.instances import InstanceStore

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

ENGINEER = "engineer"


class PowerCut(BaseException):
    """What no `except Exception` sees."""


@pytest.fixture
def unusable(store, index):
    """A file in quarantine: its data set names no study."""
    stored = put_instance(store, make_instance(StudyInstanceUID=None))
    index()
    return stored


@pytest.fixture
def misread(store, index, monkeypatch):
    """Let a usable instance go to quarantine, as an older version of the program would."""

    def misread(ds):
        def refuse(*_):
            raise HeaderUnusable(QuarantineReason.UNREADABLE, "an element of it is too long")

        stored = put_instance(store, ds)
        with monkeypatch.context() as patch:
            patch.setattr(indexing, "index_header", refuse)
            index()
        return stored

    return misread


@pytest.fixture
def retry(store, database, index):
    """Have a file read anew, and read it."""

    def retry(stored):
        quarantine.retry(store, database, stored.name, actor=ENGINEER)
        return index()

    return retry


@pytest.fixture
def drop(store, database):
    return lambda stored, reason="a test": quarantine.drop(
        store, database, stored.name, actor=ENGINEER, reason=reason
    )


@pytest.fixture
def run(site, store, monkeypatch, tmp_path):
    """Run a command; returns its exit status and what it printed."""
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_DATABASE_URL", site.database_url)
    monkeypatch.setenv("MEDR1_STORAGE_DIR", str(tmp_path / "storage"))

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout

    return run


def actions(rows):
    return [event.action for event in rows(AuditEvent) if "quarantine" in event.action]


# -- read anew ---------------------------------------------------------------------------------


def test_a_file_that_a_newer_version_can_read_becomes_an_instance(store, misread, retry, rows):
    stored = misread(make_instance())

    assert retry(stored).new == 1

    assert [row.stored_name for row in rows(Instance)] == [stored.name]
    assert store.instance_path(stored).exists()
    assert not store.quarantine_path(stored).exists()
    assert rows(QuarantinedInstance)[0].resolved_at is not None
    assert actions(rows) == ["instance.quarantined", "quarantine.retried", "quarantine.usable"]


def test_a_file_that_is_still_unusable_is_in_quarantine_again_and_open(
    store, database, unusable, retry, rows
):
    assert retry(unusable).quarantined == 1

    with database.read() as session:
        assert [row.stored_name for row in list_quarantined(session)] == [unusable.name]
    assert store.incoming(1) == []
    assert store.quarantine_path(unusable).exists()
    assert actions(rows) == ["instance.quarantined", "quarantine.retried", "instance.quarantined"]


@sqlite
def test_a_retry_is_an_event_of_who_wanted_it(unusable, retry, rows):
    retry(unusable)

    assert [e.actor for e in rows(AuditEvent) if e.action == "quarantine.retried"] == [ENGINEER]


@sqlite
def test_a_file_that_fails_otherwise_than_before_says_how_it_fails_today(misread, retry, rows):
    stored = misread(make_instance(StudyInstanceUID=None))

    retry(stored)

    (row,) = rows(QuarantinedInstance)
    assert (row.reason, row.detail) == (
        QuarantineReason.UID_MISSING,
        "StudyInstanceUID is absent or not a UID",
    )


@sqlite
def test_a_file_whose_bytes_came_again_meanwhile_needs_nothing(store, index, misread, retry):
    ds = make_instance()
    stored = misread(ds)
    put_instance(store, ds)
    index()

    with pytest.raises(NotInQuarantine, match="needs nothing"):
        retry(stored)


@sqlite
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (InstanceStore, "keep"),
        (indexing, "record_instance"),
        (InstanceStore, "leave_quarantine"),
        (InstanceStore, "forget"),
    ],
)
def test_a_crash_while_a_file_is_read_anew_is_harmless(
    store, database, index, misread, retry, rows, monkeypatch, where, name, moment
):
    stored = misread(make_instance())
    real = getattr(where, name)

    def cut(*arguments, **options):
        if moment == "after":
            real(*arguments, **options)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(where, name, cut)
        with pytest.raises(PowerCut):
            retry(stored)
    index()

    assert [row.stored_name for row in rows(Instance)] == [stored.name]
    assert store.instance_path(stored).exists()
    assert not store.quarantine_path(stored).exists()
    assert store.incoming(1) == []
    assert actions(rows) == ["instance.quarantined", "quarantine.retried", "quarantine.usable"]


@sqlite
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_while_a_file_goes_back_to_the_backlog_loses_nothing(
    store, index, misread, retry, rows, monkeypatch, moment
):
    stored = misread(make_instance())
    real = InstanceStore.return_to_incoming

    def cut(*arguments):
        if moment == "after":
            real(*arguments)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(InstanceStore, "return_to_incoming", cut)
        with pytest.raises(PowerCut):
            retry(stored)
    index()

    kept = store.instance_path(stored) if moment == "after" else store.quarantine_path(stored)
    assert kept.exists()
    assert len(rows(Instance)) == (moment == "after")


@sqlite
def test_a_file_that_is_gone_is_damaged_and_no_event_tells_of_a_retry(store, unusable, retry, rows):
    store.quarantine_path(unusable).unlink()

    with pytest.raises(InstanceDamaged, match="is missing in quarantine"):
        retry(unusable)

    assert actions(rows) == ["instance.quarantined"]


# -- drop --------------------------------------------------------------------------------------


def test_a_dropped_file_is_deleted_and_its_row_says_why(store, unusable, drop, rows):
    drop(unusable, reason="a phantom of the manufacturer")

    assert not store.quarantine_path(unusable).exists()
    (row,) = rows(QuarantinedInstance)
    assert row.dropped_at == row.resolved_at is not None
    event = rows(AuditEvent)[-1]
    assert (event.action, event.actor, event.reason) == (
        "quarantine.dropped",
        ENGINEER,
        "a phantom of the manufacturer",
    )


@sqlite
def test_what_was_dropped_can_neither_be_dropped_nor_read_anew(unusable, drop, retry):
    drop(unusable)

    for decide in (drop, retry):
        with pytest.raises(NotInQuarantine, match="was dropped"):
            decide(unusable)


@sqlite
def test_a_file_that_is_about_to_be_read_anew_is_not_dropped(
    store, database, unusable, drop, rows, index
):
    quarantine.retry(store, database, unusable.name, actor=ENGINEER)

    with pytest.raises(StillInBacklog):
        drop(unusable)

    assert store.quarantine_path(unusable).exists()
    assert rows(QuarantinedInstance)[0].dropped_at is None


@sqlite
@pytest.mark.parametrize("name", ["../../etc/passwd", "1-2-3.dcm", ""])
def test_a_name_that_is_not_one_of_ours_leads_to_no_file(store, database, name):
    with pytest.raises(NotInQuarantine):
        quarantine.describe(store, database, name)
    with pytest.raises(NotInQuarantine):
        quarantine.retry(store, database, name, actor=ENGINEER)


@sqlite
def test_a_dropped_instance_is_accounted_for_as_dropped(store, database, unusable, drop, rows):
    uid = rows(QuarantinedInstance)[0].sop_instance_uid
    assert account_for(store, database, [uid]) == {uid: Whereabouts.QUARANTINED}

    drop(unusable)

    assert account_for(store, database, [uid]) == {uid: Whereabouts.DROPPED}
    assert account_for(store, database) == {uid: Whereabouts.DROPPED}


@sqlite
def test_an_open_file_that_is_missing_from_quarantine_is_damaged(store, database, unusable, rows):
    uid = rows(QuarantinedInstance)[0].sop_instance_uid
    store.quarantine_path(unusable).unlink()

    assert account_for(store, database, [uid]) == {uid: Whereabouts.DAMAGED}


@sqlite
def test_what_proved_usable_is_accounted_for_as_current(store, database, misread, retry, rows):
    stored = misread(make_instance())
    retry(stored)
    uid = rows(Instance)[0].sop_instance_uid

    assert account_for(store, database) == {uid: Whereabouts.CURRENT}


@sqlite
def test_a_drop_that_could_not_delete_is_finished_by_reconcile(
    store, unusable, drop, reconcile, monkeypatch
):
    def refuse(*_):
        raise StorageUnavailable("the storage folder cannot be written: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(InstanceStore, "leave_quarantine", refuse)
        with pytest.raises(StorageUnavailable):
            drop(unusable)
    assert store.quarantine_path(unusable).exists()

    report = reconcile()

    assert not store.quarantine_path(unusable).exists()
    assert (report.returned, report.damaged, report.unreadable) == (0, [], [])


# -- show --------------------------------------------------------------------------------------


@sqlite
def test_what_is_shown_of_a_file_never_names_the_patient(store, database, unusable):
    shown = repr(quarantine.describe(store, database, unusable.name))

    assert "StudyInstanceUID is absent" in shown
    for value in ("Test^Patient", "T-1", "A-1", "19700401"):
        assert value not in shown


@sqlite
@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not those that were received"),
        (lambda path: path.write_bytes(b"text"), "not in the DICOM file format"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: None, "its bytes are those that were received"),
    ],
)
def test_the_file_itself_is_looked_at(store, database, unusable, harm, finding):
    harm(store.quarantine_path(unusable))

    assert finding in quarantine.describe(store, database, unusable.name).finding


# -- the commands ------------------------------------------------------------------------------


@sqlite
def test_the_commands_list_show_retry_and_drop(run, unusable, index, rows):
    status, listed = run("quarantine", "list", "--json")
    assert (status, [row["stored_name"] for row in json.loads(listed)]) == (0, [unusable.name])

    status, shown = run("quarantine", "show", unusable.name, "--json")
    assert (status, json.loads(shown)["detail"]) == (0, "StudyInstanceUID is absent or not a UID")

    assert run("quarantine", "retry", unusable.name)[0] == 0
    assert index().quarantined == 1
    assert run("quarantine", "drop", unusable.name, "--reason", "a test")[0] == 0
    assert run("quarantine", "list", "--json") == (0, "[]\n")
    assert rows(QuarantinedInstance)[0].dropped_at is not None


@sqlite
@pytest.mark.parametrize(
    ("reason", "found"), [("uid_missing", 1), ("StudyInstanceUID", 1), ("disk", 0)]
)
def test_all_that_is_unusable_for_a_reason_is_read_anew_at_once(
    run, store, unusable, reason, found
):
    run("quarantine", "retry", "--all", "--where-reason", reason)

    assert len(store.incoming(9)) == found


@sqlite
@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("retry", "1-0-0.dcm", "--all"),
        ("retry", "1-0-0.dcm", "--where-reason", "x"),
        ("drop", "1-0-0.dcm"),
        ("drop", "1-0-0.dcm", "--reason", " "),
    ],
)
def test_a_command_that_says_too_little_is_a_wrong_usage(run, arguments):
    assert run("quarantine", *arguments)[0] == 2


# -- a person calls a study complete -----------------------------------------------------------


@sqlite
def test_a_person_calls_a_study_complete_before_its_time(run, store, index, rows):
    put_instance(store, make_instance())
    index()

    assert run("studies", "complete", STUDY_UID) == (0, f"{STUDY_UID} is complete\n")

    assert rows(Study)[0].state is StudyState.COMPLETE
    event = rows(AuditEvent)[-1]
    assert (event.action, event.actor) == ("study.state_changed", "operator")
    assert run("studies", "complete", STUDY_UID)[0] == 1
    assert json.loads(run("studies", "--json")[1])[0]["state"] == "complete"


@sqlite
def test_who_calls_a_study_complete_is_told_what_of_it_is_set_aside(
    run, store, index, database, rows
):
    put_instance(store, make_instance(), association_token="a" * 16)
    index()
    name = f"1-{'a' * 16}-{'b' * 16}.dcm"  # of the association that brought this study alone
    with database.write() as session:
        replace_set_aside(session, [SetAsideFile(name, "Input/output error", None, None, NOON)])

    status, said = run("studies", "complete", STUDY_UID)

    assert (status, said) == (0, f"{STUDY_UID} is complete without 1 files that are set aside\n")
    assert rows(StudyVersion)[0].missing == f"without 1 set aside: {name}"
