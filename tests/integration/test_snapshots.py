"""A snapshot opens as it was when somebody cited it."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import update

from medr1_pacs.db.snapshots import get_snapshot, iterate_rows, list_snapshots
from medr1_pacs.db.studies import get_locked, reopen
from medr1_pacs.db.tables import Answer, AuditEvent, ReferenceStandard
from medr1_pacs.errors import SnapshotNotFound, SnapshotRefused
from medr1_pacs.exports.json_lines import json_lines
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.records.words import DatePolicy
from medr1_pacs.steps import citing
from medr1_pacs.steps.citing import check_snapshot, make_snapshot
from medr1_pacs.steps.naming import declare, name_for_research


@pytest.fixture
def snapshot(answered, database):
    """Two answers' worth of evidence, frozen."""
    answered()
    return make_snapshot(
        database, "default", "Fig. 2", AnswerFilters(modality=("X-Ray",)), actor="ada"
    )


def lines_of(database, snapshot):
    rows = iterate_rows(database, snapshot.project, snapshot.name)
    return "".join(json_lines(rows)).encode()


def test_the_hash_is_that_of_the_download(snapshot, database):
    lines = lines_of(database, snapshot)

    assert hashlib.sha256(lines).hexdigest() == snapshot.sha256
    assert lines.count(b"\n") == snapshot.answers
    assert check_snapshot(database, "default", "Fig. 2").is_unchanged


def test_what_can_change_of_an_answer_stays_as_it_was(snapshot, database):
    before = lines_of(database, snapshot)
    with database.write() as session:
        reopen(session, get_locked(session, 1), "a late instance")
        session.execute(update(ReferenceStandard).values(truth="something else"))
    declare(database, ProjectRules((Project("default", dates=DatePolicy.NONE),)))
    while name_for_research(database, b"test key, 32 bytes, never random"):
        pass

    assert lines_of(database, snapshot) == before
    assert check_snapshot(database, "default", "Fig. 2").is_unchanged


def test_evidence_that_was_changed_shows(snapshot, database):
    with database.write() as session:
        session.execute(update(Answer).values(reasoning="edited"))

    assert check_snapshot(database, "default", "Fig. 2").is_unchanged is False


def test_a_field_of_a_later_program_is_not_in_an_older_snapshot(snapshot, database):
    assert set(next(iterate_rows(database, "default", "Fig. 2"))) == set(snapshot.fields)


def test_a_snapshot_says_what_it_is_and_who_made_it(snapshot, database, rows):
    with database.read() as session:
        assert list_snapshots(session, "default") == [snapshot]
        assert get_snapshot(session, "default", "Fig. 2") == snapshot

    assert (snapshot.filters, snapshot.made_by) == ({"modality": ["X-Ray"]}, "ada")
    [event] = [row for row in rows(AuditEvent) if row.action == "snapshot.made"]
    assert (event.actor, event.new_value["sha256"]) == ("ada", snapshot.sha256)


def test_another_project_does_not_have_it(snapshot, database):
    with database.read() as session:
        assert list_snapshots(session, "heart") == []
        with pytest.raises(SnapshotNotFound):
            get_snapshot(session, "heart", "Fig. 2")


def test_a_name_is_given_once(snapshot, database):
    with pytest.raises(SnapshotRefused, match=r"has a snapshot 'Fig\. 2' already"):
        make_snapshot(database, "default", "Fig. 2", AnswerFilters(), actor="ada")


@pytest.mark.parametrize("name", ["", "a/b", " a", "x" * 65, "a\nb"])
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_name_that_is_none_is_refused(database, name):
    with pytest.raises(SnapshotRefused, match="1 to 64 printable characters and no slash"):
        make_snapshot(database, "default", name, AnswerFilters(), actor="ada")


def test_a_snapshot_of_nothing_or_of_too_much_is_refused(answered, database, monkeypatch):
    answered()
    with pytest.raises(SnapshotRefused, match="nothing is found"):
        make_snapshot(database, "default", "none", AnswerFilters(modality=("CT",)), actor="ada")
    monkeypatch.setattr(citing, "ANSWERS_MAX", 1)

    with pytest.raises(SnapshotRefused, match="at most 1 answers"):
        make_snapshot(database, "default", "all", AnswerFilters(), actor="ada")
