"""What a check of the database says of what was changed past the log; see also acceptance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from factories import SITE_KEY, make_instance
from sqlalchemy import delete, func, insert, select, text, update

from medr1_pacs.audit.notes import SignedNote, format_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.accounts import add_account, close_account
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.recording import hash_record
from medr1_pacs.db.tables import (
    Account,
    AnswerFacet,
    AuditEvent,
    AuditHead,
    PastValue,
    Project,
    ProjectStudy,
)
from medr1_pacs.records.words import DatePolicy
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.verifying import KeptHead, verify_database
from medr1_pacs.storage.audit_files import HeadsFile

NOW = datetime(2026, 3, 2, tzinfo=UTC)
KEY = SigningKey("medr1-pacs/0000000a", SITE_KEY)


@pytest.fixture
def seal(database, tmp_path):
    """Seal and sign; returns the head."""
    sealer = Sealer(database, (KEY,), HeadsFile(tmp_path / "heads.jsonl"))
    return sealer.current_head


@pytest.fixture
def found(database):
    """What is found, as (where, what) of faults."""

    def found(*kept):
        report = verify_database(database, [KEY.verifier], kept)
        return [(one.where, one.what) for one in report.findings if one.is_fault]

    return found


@pytest.fixture
def accounts(database, seal):
    with database.write() as session:
        ids = [add_account(session, name, actor="test", now=NOW) for name in ("ada", "bob")]
    seal()
    return ids


def test_a_record_that_changed_is_found_though_a_sealed_event_says_so(
    database, seal, found, accounts
):
    with database.write() as session:
        session.execute(update(Account).where(Account.id == accounts[0]).values(name="eve"))
        digest = hash_record(session, "account", accounts[0])
        add_event(session, "account.added", "account", accounts[0], record_sha256=digest)
    seal()

    [(where, what)] = found()

    assert where == f"account {accounts[0]}"
    assert "changed" in what


def test_an_account_that_was_opened_again_by_nobody_is_found(database, seal, found, accounts):
    with database.write() as session:
        close_account(session, "bob", actor="test", now=NOW)
    seal()
    assert found() == []

    with database.write() as session:
        session.execute(update(Account).values(closed_at=None))

    assert found() == [(f"account {accounts[1]}", "it was closed, and is open")]


def test_an_event_that_has_not_the_form_of_its_action_is_named(database, seal, found, accounts):
    with database.write() as session:
        before = newest_event(session)
        add_event(session, "account.role_given", "account", accounts[0])
        add_event(session, "log.key_rotated", "audit", None, new={"statement": "none"})
        add_event(session, "answer.parsed", "answer", None, record_sha256="0" * 64)
    seal()

    wheres = " ".join(where for where, _ in found())

    assert all(f"event {before + number}" in wheres for number in (1, 2, 3))


def test_an_event_that_can_be_hashed_by_nobody_is_named(database, found, accounts):
    with database.write() as session:
        add_event(session, "study.created", "study", 1)
    with database.write() as session:
        event_id = newest_event(session)
        session.execute(
            text("DROP TRIGGER audit_event_no_update")
            if database.is_sqlite
            else text("SET LOCAL session_replication_role = replica")
        )
        changed = update(AuditEvent).where(AuditEvent.id == event_id)
        session.execute(changed.values(new_value={"seconds": 0.5}))

    assert (f"event {event_id}", "it can have no place: put in") in found()


def newest_event(session):
    return session.scalar(select(func.max(AuditEvent.id)))


def test_a_recorded_head_without_hashes_is_named(database, found, accounts):
    with database.write() as session:
        row = session.scalars(select(AuditHead)).one()
        values = {
            "origin": row.origin,
            "size": row.size + 1,
            "root_sha256": "none",
            "frontier": ["none"],
            "note": row.note,
            "signed_at": NOW,
        }
        session.execute(insert(AuditHead).values(**values))

    assert f"recorded head of {row.size + 1}" in [where for where, _ in found()]


def test_the_head_of_another_history_is_named_where_ours_was_signed_as_a_whole(
    database, seal, found, accounts
):
    mine = KeptHead("mine", seal())
    text = f"{KEY.name}\n1\n{'A' * 43}=\n"
    forked = SignedNote(text, (KEY.sign(text),))

    [(where, what)] = found(KeptHead("a colleague's", format_note(forked)), mine)

    assert where == "a colleague's"
    assert "two histories" in what


def test_a_study_that_was_taken_from_a_project_past_the_log_is_named(
    database, seal, found, answered
):
    answered()
    seal()
    assert found() == []
    with database.write() as session:
        session.execute(delete(AnswerFacet))
        session.execute(delete(ProjectStudy))

    assert ("study 1", "it was given to default, which has it no more: deleted") in found()


def test_a_study_that_no_event_gave_to_a_project_is_named(database, seal, found, answered):
    answered()
    with database.write() as session:
        session.add(Project(name="lung", dates=DatePolicy.YEAR, created_at=NOW))
        session.flush()
        lung = session.scalars(select(Project.id).where(Project.name == "lung")).one()
        session.add(ProjectStudy(project_id=lung, study_id=1, rule="none", added_at=NOW))
    seal()

    assert ("study 1", "no event gave it to lung") in found()


def test_an_event_of_tomorrow_without_a_place_is_named(database, found, accounts, monkeypatch):
    with monkeypatch.context() as patch, database.write() as session:
        patch.setattr("medr1_pacs.db.audit.datetime", Tomorrow)
        add_event(session, "account.added", "account", 99)
    with database.read() as session:
        event_id = newest_event(session)

    assert any(where == f"event {event_id}" and "has not come" in what for where, what in found())


class Tomorrow(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=1)


@pytest.fixture
def changed(answered, bring):
    """Let research be shown something else of a study; returns its UID."""
    ds = make_instance()
    answered(ds)
    bring("Nodule or mass")
    bring("Emphysema or bullae")
    return str(ds.StudyInstanceUID)


def test_what_went_with_a_study_that_was_withdrawn_is_not_missed(
    changed, seal, found, ask_to_withdraw, withdrawer
):
    ask_to_withdraw(changed)
    withdrawer.carry_out()
    seal()

    assert found() == []


@pytest.mark.parametrize("falsify", [update(PastValue).values(was={}), delete(PastValue)])
def test_what_was_shown_before_is_compared_with_its_event(changed, database, seal, found, falsify):
    seal()
    with database.write() as session:
        event_id = session.scalar(select(func.max(PastValue.event_id)))
        session.execute(falsify)

    assert f"what event {event_id} kept" in [where for where, _ in found()]


def test_what_was_never_shown_is_named(database, seal, found, answered):
    answered()
    seal()
    with database.write() as session:
        was = {"truth": "put in"}
        row = PastValue(event_id=1, object_type="answer", object_id=1, was=was)
        session.add(row)

    assert ("what event 1 kept", "no such event keeps anything: put in") in found()
