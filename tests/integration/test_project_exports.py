"""Exports that people ask for on a page: carried out by a process of the sweep, kept a while."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from factories import SITE_KEY, make_instance
from verifiers import run_verifier

from medr1_pacs.db import project_exports
from medr1_pacs.db.project_exports import (
    begin_export,
    find_export,
    note_progress,
    remove_export,
    take_export,
)
from medr1_pacs.db.tables import AuditEvent, ProjectExport, ProjectStudy
from medr1_pacs.errors import (
    DatabaseUnavailable,
    ExportRefused,
    Interrupted,
    RowExists,
    SettingInvalid,
    StorageFull,
    StorageUnavailable,
)
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import ExportRemoval, ExportState
from medr1_pacs.steps.asking_for_exports import ask_for_export
from medr1_pacs.steps.carrying_out_exports import (
    KEPT,
    carry_out_export,
    delete_removed,
    remove_expired,
)
from medr1_pacs.steps.exporting import TableFormat
from medr1_pacs.steps.making_exports import Exporter
from medr1_pacs.storage.audit_files import load_signing_key
from medr1_pacs.storage.exports import ExportStore, zip_folder
from workers.export_runner import ExportRunner

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
NOBODY = "export@" + os.uname().nodename + "/999999/1"


@pytest.fixture
def ask(database):
    """Ask for an export of what was answered; returns its id."""

    def ask(filters=None, actor="anna", **changes):
        arguments = {
            "is_everything": False,
            "formats": [TableFormat.CSV],
            "as_of": None,
            "has_pictures": True,
        }
        filters = filters or AnswerFilters()
        return ask_for_export(database, "default", filters, actor=actor, **(arguments | changes))

    return ask


@pytest.fixture
def make_runner(database, exports, site, tmp_path, monkeypatch):
    """Make what a sweep has exports carried out by, as one that just started."""
    monkeypatch.setattr(project_exports, "RETRY_S", 0)
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.setenv("MEDR1_DATABASE_URL", site.database_url)
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    runners = []

    def make_runner(**changes):
        runners.append(ExportRunner(database, exports, **changes))
        return runners[-1]

    yield make_runner
    for runner in runners:
        runner.close()


@pytest.fixture
def row_of(rows):
    return lambda export_id: next(row for row in rows(ProjectExport) if row.id == export_id)


@pytest.fixture
def finish(make_runner, row_of):
    """Let exports be carried out until one has an end."""

    def finish(export_id, runner=None):
        runner, ends_at = runner or make_runner(), time.monotonic() + 60
        while (row := row_of(export_id)).state in ("requested", "running"):
            assert time.monotonic() < ends_at, row.error
            runner.tend()
            time.sleep(0.05)
        return row

    return finish


@pytest.fixture
def carry_out(database, pictures, exports, sealer):
    """Carry out an export that was taken, in this process."""
    exporter = Exporter(database, pictures, sealer, SITE_KEY)
    return lambda export_id: carry_out_export(exporter, exports, export_id, owner="test")


def take(database, *, is_gone=lambda _: False, now=None):
    with database.write() as session:
        return take_export(session, now or datetime.now(UTC), is_gone=is_gone)


def folders_of(exports):
    return sorted(exports.list_folders())


# -- from the wish to the download -----------------------------------------------------------------


def test_what_was_asked_for_is_written_and_verified_by_what_is_in_it(
    answered, ask, finish, row_of, exports, database, rows, site, tmp_path
):
    answered()
    row = finish(ask(formats=list(TableFormat)))
    assert (row.state, row.error, row.attempts) == (ExportState.FINISHED, None, 1)
    with database.read() as session:
        export = find_export(session, "default", row.id)
    unpacked = tmp_path / "unpacked"
    zipped = b"".join(zip_folder(exports.path(export.folder, export.name)))
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert archive.testzip() is None
        archive.extractall(unpacked)
    key = tmp_path / "log.key"
    key.write_text(str(load_signing_key(site.data_dir / "audit.key").verifier) + "\n")

    status, lines = run_verifier(unpacked / export.name / "verify.py", "--key", key)

    assert (status, lines[-1]) == (0, "VERIFIED"), lines
    assert export.progress["answers"] == export.expected_answers > 0
    assert export.name == f"default-{export.head_size}"
    assert export.size_bytes == sum(
        path.stat().st_size
        for path in exports.path(export.folder, export.name).rglob("*")
        if path.is_file()
    )
    [event] = [each for each in rows(AuditEvent) if each.action == "project.exported"]
    assert event.actor == "anna"


@sqlite
def test_asking_is_an_event_that_quotes_no_word_of_a_search(answered, ask, rows):
    answered()
    export_id = ask(AnswerFilters(words="left lobe", modality=("CT",)))

    [event] = [each for each in rows(AuditEvent) if each.action == "export.requested"]
    assert (event.actor, event.object_type) == ("anna", "project")
    assert event.new_value["export"] == export_id
    assert event.new_value["filters"] == {"modality": ["CT"], "words": 2}


@sqlite
def test_an_export_that_nobody_could_check_is_not_taken_down(answered, ask, rows):
    answered()
    for formats in ([TableFormat.PARQUET], []):
        with pytest.raises(ExportRefused, match="checked by nobody"):
            ask(formats=formats)
    assert rows(ProjectExport) == []


@sqlite
def test_a_sixth_export_of_a_project_waits_for_nobody(answered, ask):
    answered()
    for _ in range(5):
        ask()
    with pytest.raises(ExportRefused, match="5 exports of this project wait"):
        ask()


@sqlite
def test_the_filters_of_the_wish_are_those_of_the_export(answered, ask, carry_out, database, rows):
    answered()
    everything, nothing = ask(is_everything=True), ask(AnswerFilters(modality=("CT",)))
    for export_id in (everything, nothing):
        assert take(database).export_id == export_id
        carry_out(export_id)

    [one, other] = rows(ProjectExport)
    assert one.progress["answers"] == one.expected_answers > 0
    assert other.progress.get("answers", 0) == other.expected_answers == 0


# -- one at a time, and again ----------------------------------------------------------------------


@sqlite
def test_a_second_one_waits_while_the_first_is_written(answered, ask, make_runner, row_of):
    answered()
    first, second = ask(), ask()
    runner = make_runner(command=SLEEP)

    for _ in range(3):
        runner.tend()

    assert row_of(first).state is ExportState.RUNNING
    assert row_of(second).state is ExportState.REQUESTED


@sqlite
def test_a_second_one_waits_while_a_process_of_an_earlier_sweep_writes(answered, ask, database):
    answered()
    first, second = ask(), ask()
    assert take(database).export_id == first

    assert take(database) is None
    with database.write() as session:
        remove_export(session, first, actor="anna", now=datetime.now(UTC))
    assert take(database).export_id == second


@sqlite
def test_the_second_one_is_written_after_the_first(answered, ask, finish, row_of):
    answered()
    first, second = ask(), ask()

    assert finish(second).state is ExportState.FINISHED
    assert row_of(first).finished_at < row_of(second).finished_at


@sqlite
def test_an_export_whose_process_was_killed_is_made_in_a_new_folder(
    answered, ask, make_runner, finish, row_of, exports
):
    answered()
    export_id = ask()
    runner = make_runner()
    runner.tend()
    first = row_of(export_id).folder
    (exports.begin(first)).mkdir()
    os.kill(runner._running.process.pid, signal.SIGKILL)
    runner._running.process.wait()

    row = finish(export_id, runner)

    assert (row.state, row.attempts) == (ExportState.FINISHED, 2)
    assert folders_of(exports) == [row.folder] != [first]


@sqlite
def test_an_export_whose_process_hangs_is_tried_again(
    answered, ask, make_runner, row_of, monkeypatch
):
    answered()
    export_id = ask()
    runner = make_runner(command=SLEEP)
    runner.tend()
    process = runner._running.process
    runner.tend()
    assert process.poll() is None
    monkeypatch.setattr("workers.export_runner.HUNG_S", 0)

    runner.tend()

    assert process.poll() is not None
    assert row_of(export_id).attempts == 2
    assert "hung" in row_of(export_id).error


@sqlite
def test_after_three_attempts_it_rests_as_failed_and_says_why(answered, ask, finish, make_runner):
    answered()
    row = finish(ask(), make_runner(command=(sys.executable, "-c", "exit(7)")))

    assert (row.state, row.attempts) == (ExportState.FAILED, 3)
    assert "ended with status 7" in row.error


@sqlite
def test_what_can_never_be_made_fails_at_once(answered, ask, carry_out, database, row_of, sealer):
    answered()
    sealer.current_head()
    export_id = ask(as_of=1)
    take(database)

    with pytest.raises(ExportRefused):
        carry_out(export_id)

    row = row_of(export_id)
    assert (row.state, row.attempts) == (ExportState.FAILED, 1)
    assert "no head of the log was signed at or before 1 events" in row.error


@sqlite
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            DatabaseUnavailable('connection to "10.2.3.4", port 5432 failed: user "medr1"'),
            "the database is away; who runs the service sees why",
        ),
        (StorageUnavailable("/srv/10.2.3.4: denied"), "the storage folder is away; who runs"),
        (SettingInvalid("/srv/10.2.3.4/site.key"), "a defect of the service (SettingInvalid)"),
        (RowExists("DETAIL: 10.2.3.4"), "a defect of the service (RowExists)"),
        (OSError(5, "10.2.3.4"), "the storage folder is away; who runs"),
    ],
)
def test_whoever_asked_reads_no_host_no_path_and_no_account(
    answered, ask, carry_out, database, row_of, monkeypatch, caplog, error, said
):
    answered()
    export_id = ask()
    take(database)

    def fail(*_arguments, **_more):
        raise error

    monkeypatch.setattr("medr1_pacs.steps.carrying_out_exports.make_export", fail)
    with pytest.raises(Exception, match=r"10\.2\.3\.4"):
        carry_out(export_id)

    assert row_of(export_id).error.startswith(said)
    assert "10.2.3.4" not in row_of(export_id).error
    assert "10.2.3.4" in caplog.text


@sqlite
def test_more_events_than_the_log_has_are_not_taken_down(answered, ask, sealer, rows):
    answered()
    sealer.current_head()

    with pytest.raises(ExportRefused, match=r"the audit log has \d+ events: nothing is as of"):
        ask(as_of=10**9)

    assert rows(ProjectExport) == []


@sqlite
def test_a_sweep_that_stops_ends_the_process_and_costs_no_attempt(
    answered, ask, make_runner, row_of
):
    answered()
    export_id = ask()
    runner = make_runner(command=SLEEP)
    runner.tend()
    process = runner._running.process

    runner.close()

    assert process.poll() == -signal.SIGTERM
    row = row_of(export_id)
    assert (row.state, row.attempts, row.folder) == (ExportState.REQUESTED, 0, None)


@sqlite
def test_after_a_sweep_that_was_killed_its_export_is_taken_up_again(
    answered, ask, database, row_of
):
    answered()
    export_id = ask()
    first = take(database)
    with database.write() as session:
        assert begin_export(session, export_id, datetime.now(UTC), owner=NOBODY)

    assert take(database) is None, "its process may live"
    later = datetime.now(UTC) + timedelta(seconds=11)
    assert take(database, is_gone=lambda owner: owner == NOBODY, now=later) is None, "it waits"
    again = take(database, now=later + timedelta(seconds=11))

    assert again.export_id == export_id
    assert again.folder != first.folder


@sqlite
def test_an_export_that_is_silent_is_taken_up_again(answered, ask, database):
    answered()
    ask()
    first = take(database)
    later = datetime.now(UTC) + timedelta(seconds=31)

    assert take(database, now=later) is None
    assert take(database, now=later + timedelta(seconds=11)).folder != first.folder


@sqlite
def test_who_lost_an_export_changes_nothing_of_it(answered, ask, database, row_of):
    answered()
    export_id = ask()
    first = take(database)
    later = datetime.now(UTC) + timedelta(seconds=60)
    take(database, now=later)
    again = take(database, now=later + timedelta(seconds=11))

    with database.write() as session:
        assert not note_progress(session, first, {"answers": 9}, later, expected_answers=9)
        assert note_progress(session, again, {"answers": 1}, later, expected_answers=9)

    assert row_of(export_id).progress == {"answers": 1}


@sqlite
def test_an_export_leaves_the_disk_to_what_comes_in(
    answered, ask, carry_out, database, exports, row_of, monkeypatch
):
    answered()
    export_id = ask()
    taken = take(database)
    monkeypatch.setattr(exports, "_reserve_bytes", 1 << 60)

    with pytest.raises(StorageFull, match="what comes in needs them"):
        carry_out(export_id)

    assert row_of(export_id).state is ExportState.REQUESTED
    assert "what comes in needs them" in row_of(export_id).error
    assert not any(exports.path(taken.folder, "").iterdir())


# -- what goes -------------------------------------------------------------------------------------


@pytest.fixture
def finished(answered, ask, carry_out, database, row_of):
    """A finished export."""
    answered()
    export_id = ask()
    take(database)
    carry_out(export_id)
    return row_of(export_id)


@sqlite
def test_an_export_is_kept_for_a_week(finished, database, exports, row_of):
    almost = finished.finished_at + KEPT - timedelta(seconds=1)
    remove_expired(database, almost)
    delete_removed(database, exports)
    assert folders_of(exports) == [finished.folder]

    remove_expired(database, almost + timedelta(seconds=2))
    delete_removed(database, exports)

    assert folders_of(exports) == []
    assert row_of(finished.id).removed_because is ExportRemoval.EXPIRED


@sqlite
def test_who_removes_an_export_is_in_the_log_and_its_files_go(finished, database, exports, rows):
    with database.write() as session:
        assert remove_export(session, finished.id, actor="carla", now=datetime.now(UTC))
        assert not remove_export(session, finished.id, actor="carla", now=datetime.now(UTC))
    delete_removed(database, exports)

    assert folders_of(exports) == []
    [event] = [each for each in rows(AuditEvent) if each.action == "export.removed"]
    assert (event.actor, event.new_value) == ("carla", {"export": finished.id, "because": "person"})


@sqlite
def test_an_export_that_is_removed_while_it_is_written_is_given_up(
    answered, ask, make_runner, database, row_of, exports
):
    answered()
    export_id = ask()
    runner = make_runner(command=SLEEP)
    runner.tend()
    exports.begin(row_of(export_id).folder)
    process = runner._running.process
    with database.write() as session:
        remove_export(session, export_id, actor="anna", now=datetime.now(UTC))

    runner.tend()

    assert process.poll() is not None
    assert folders_of(exports) == []
    assert row_of(export_id).state is ExportState.REMOVED


@sqlite
@pytest.mark.parametrize("project", [None, "default"])
def test_a_withdrawal_takes_the_finished_exports_of_the_project_with_it(
    finished, ask_to_withdraw, withdrawer, rows, row_of, exports, project
):
    [use] = rows(ProjectStudy)
    ask_to_withdraw(rows=[use.study_id], project=project)

    withdrawer.carry_out()

    assert folders_of(exports) == []
    assert row_of(finished.id).removed_because is ExportRemoval.WITHDRAWAL


@sqlite
def test_a_withdrawal_goes_not_on_while_files_of_an_export_stay(
    finished, ask_to_withdraw, withdrawer, rows, exports, monkeypatch
):
    ask_to_withdraw(rows=[1])
    with monkeypatch.context() as patched:
        patched.setattr(ExportStore, "remove", lambda self, folder: None)
        with pytest.raises(StorageUnavailable, match=finished.folder):
            withdrawer.carry_out()
    assert [use.withdrawn_at for use in rows(ProjectStudy)] == [None]

    withdrawer.carry_out()

    assert folders_of(exports) == []
    assert all(use.withdrawn_at for use in rows(ProjectStudy))


@sqlite
def test_a_withdrawal_from_another_project_takes_no_export(
    finished, answered, indexer, ask_to_withdraw, withdrawer, exports, rows
):
    indexer.rules = ProjectRules(
        (Project("default"), Project("heart")),
        (ProjectRule("heart", {"called_ae_title": "HEART"}),),
    )
    answered(make_instance(StudyInstanceUID="1.2.3.98"), called_ae_title="HEART")
    ask_to_withdraw("1.2.3.98")
    withdrawer.carry_out()

    assert len([use for use in rows(ProjectStudy) if use.withdrawn_at]) == 1
    assert folders_of(exports) == [finished.folder]


@sqlite
def test_an_export_that_is_being_written_begins_anew_after_a_withdrawal(
    answered, ask, carry_out, database, ask_to_withdraw, withdrawer, rows, row_of, monkeypatch
):
    answered()
    export_id = ask()
    first = take(database)
    [use] = rows(ProjectStudy)
    ask_to_withdraw(rows=[use.study_id])
    withdrawer.carry_out()

    with pytest.raises(Interrupted):
        carry_out(export_id)
    again = take(database)
    assert again.folder != first.folder
    carry_out(export_id)

    assert row_of(export_id).progress.get("answers", 0) == 0
    assert row_of(export_id).attempts == 1


# -- as one file -----------------------------------------------------------------------------------


@pytest.fixture
def small_folder(tmp_path):
    """Return a folder of two files, made in another year each time."""
    years = itertools.count(1)

    def small_folder(name):
        folder = tmp_path / name / "lung-12"
        (folder / "pictures").mkdir(parents=True)
        (folder / "pictures" / "a.png").write_bytes(b"png")
        (folder / "answers.csv").write_bytes(b"answer_id\n")
        made = 1_700_000_000 + 31_557_600 * next(years)
        for path in folder.rglob("*"):
            os.utime(path, (made, made))
        return folder

    return small_folder


def test_the_same_files_give_the_same_bytes(small_folder):
    one, other = (b"".join(zip_folder(small_folder(name))) for name in ("one", "other"))

    assert one == other


def test_packed_files_are_in_order_below_one_folder_and_private(small_folder):
    packed = b"".join(zip_folder(small_folder("one")))

    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["lung-12/answers.csv", "lung-12/pictures/a.png"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o600}


def test_a_large_file_is_packed_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("medr1_pacs.storage.exports._LARGE_BYTES", 1 << 20)
    folder = tmp_path / "lung-12"
    folder.mkdir()
    data = os.urandom(5 << 20)
    (folder / "leaves").write_bytes(data)

    parts = list(zip_folder(folder))

    assert max(map(len, parts)) < 2 << 20
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.read("lung-12/leaves") == data


@sqlite
def test_what_an_export_stands_on_is_private(answered, ask, finish, exports, tmp_path):
    answered()
    finish(ask())

    paths = list((tmp_path / "storage" / "exports").rglob("*/*"))
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} <= {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


def test_a_store_without_exports_has_no_folder(tmp_path):
    assert ExportStore(tmp_path).list_folders() == set()
