"""Events get their places once, in the order of commits, and heads that go on from the last one."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime

import pytest
from factories import NOON
from sqlalchemy import insert, select, text, update

from medr1_pacs.audit.keys import statement_text
from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import SignedNote, TreeHead, format_note, parse_note, verify_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.cli import wiring
from medr1_pacs.db.audit import add_event, add_event_now, canonical_time, new_salt
from medr1_pacs.db.sealing import count_leaves, count_unsealed, find_head
from medr1_pacs.db.tables import AuditEvent, AuditHead, AuditLeaf
from medr1_pacs.errors import AuditFilesUnusable, LogInconsistent, RestartRefused
from medr1_pacs.steps import audit_keys, sealing
from medr1_pacs.steps.audit_keys import restart_log, rotate_key
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.verifying import KeptHead, verify_database
from medr1_pacs.storage.audit_files import (
    HeadsFile,
    load_signing_key,
    make_signing_key,
    replace_signing_key,
)

KEY = SigningKey.generate("medr1-pacs/test")
on_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def heads(tmp_path):
    return HeadsFile(tmp_path / "audit-heads.jsonl")


@pytest.fixture
def make_sealer(database, heads):
    return lambda **how: Sealer(database, (KEY,), heads, **how)


@pytest.fixture
def rows(database):
    """All rows of a table, in their order."""

    def rows(table):
        with database.read() as session:
            order = table.seq if table is AuditLeaf else table.id
            return list(session.scalars(select(table).order_by(order)))

    return rows


@pytest.fixture
def happen(database):
    """Let something happen so many times, each in a transaction of its own."""

    def happen(number=1):
        for n in range(number):
            with database.write() as session:
                add_event(session, "study.created", "study", n + 1)

    return happen


def disable_guards(session):
    """Do as somebody does who owns the tables."""
    if session.get_bind().dialect.name == "sqlite":
        for table in ("audit_event", "audit_leaf", "audit_head"):
            for verb in ("update", "delete"):
                session.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
    else:
        session.execute(text("SET LOCAL session_replication_role = replica"))


@pytest.fixture
def put_in(database):
    """Put an event into the log as somebody does who writes the database; returns its id."""

    def put_in(**values):
        row = {
            "occurred_at": "2026-01-02 03:04:05.000000",
            "actor": "nobody",
            "action": "study.created",
            "object_type": "study",
            "salt": "0" * 32,
        }
        row |= {
            name: json.dumps(value) if isinstance(value, dict | list) else value
            for name, value in values.items()
        }
        names, parameters = ", ".join(row), ", ".join(f":{name}" for name in row)
        with database.write() as session:
            if not database.is_sqlite:
                for name in session.scalars(text(_CHECKS)).all():
                    session.execute(text(f"ALTER TABLE audit_event DROP CONSTRAINT {name}"))
            return session.execute(
                text(f"INSERT INTO audit_event ({names}) VALUES ({parameters}) RETURNING id"), row
            ).scalar_one()

    return put_in


_CHECKS = (
    "SELECT conname FROM pg_constraint WHERE conrelid = 'audit_event'::regclass AND contype = 'c'"
)


def size_of(note):
    return TreeHead.parse(parse_note(note).text).size


def test_every_event_gets_its_place_once(make_sealer, happen, rows):
    happen(3)
    sealer = make_sealer()
    sealer.seal()
    happen(2)
    sealer.seal()
    sealer.seal()

    assert [leaf.seq for leaf in rows(AuditLeaf)] == [0, 1, 2, 3, 4]
    assert [leaf.event_id for leaf in rows(AuditLeaf)] == [event.id for event in rows(AuditEvent)]


def test_the_head_is_the_root_of_all_places_and_is_signed_by_the_key(make_sealer, happen, rows):
    happen(5)

    note = make_sealer().seal(sign=True).head

    signed = parse_note(note)
    head = TreeHead.parse(signed.text)
    edge = Frontier()
    for leaf in rows(AuditLeaf):
        edge.add(bytes.fromhex(leaf.sha256))
    assert (head.origin, head.size, head.root) == (KEY.name, 5, edge.root())
    assert [one.key for one in verify_note(signed, [KEY.verifier])] == [KEY.verifier]


def test_a_backlog_of_many_batches_is_sealed_in_one_order(make_sealer, happen, rows, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 4)
    happen(11)
    sealer, sealed = make_sealer(), 0
    while (done := sealer.seal()).has_more:
        sealed += done.events
        assert done.head is None, "a head is of one moment, when nothing is left"
    sealed += done.events

    assert sealed == 11
    assert [leaf.event_id for leaf in rows(AuditLeaf)] == [each.id for each in rows(AuditEvent)]


def test_nothing_new_is_signed_once(make_sealer, happen, heads, rows):
    happen()
    sealer = make_sealer()
    first = sealer.current_head()

    assert sealer.current_head() == first
    assert make_sealer().current_head() == first
    assert len(rows(AuditHead)) == len(list(heads.iterate())) == 1


def test_a_head_is_signed_no_more_often_than_told(make_sealer, happen):
    sealer = make_sealer(interval_s=3600)
    happen()
    assert sealer.seal().head is not None
    happen()

    assert sealer.seal().head is None
    assert sealer.seal(sign=True).head is not None


def test_every_head_is_published(make_sealer, happen):
    published = []
    happen()

    note = make_sealer(publish=published.append).current_head()

    assert published == [note]


def test_an_empty_log_has_a_head(make_sealer):
    assert size_of(make_sealer().current_head()) == 0


@on_postgresql
def test_who_commits_late_comes_late_whatever_its_id(database, make_sealer, happen, rows):
    sealer = make_sealer()
    with database.write() as slow:
        add_event_now(slow, "study.retried", "study", 1)
        happen(2)
        sealer.seal()
        assert len(rows(AuditLeaf)) == 2
    sealer.seal()

    actions = {event.id: event.action for event in rows(AuditEvent)}
    placed = [actions[leaf.event_id] for leaf in rows(AuditLeaf)]
    assert placed == ["study.created", "study.created", "study.retried"]
    assert min(actions) == rows(AuditLeaf)[-1].event_id


@pytest.fixture
def at_once(monkeypatch):
    """Let no statement take longer than a moment between the id of an event and a transaction."""
    monkeypatch.setattr(sealing, "_SETTLED_S", 0.2)


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_who_commits_after_the_time_in_which_ids_settle_comes_next(
    database, make_sealer, happen, rows
):
    sealer = make_sealer()
    with database.write() as slow:
        event_id = add_event_now(slow, "study.retried", "study", 1)
        happen(2)
        sealer.seal()
        time.sleep(0.25)
    sealer.seal()

    assert [leaf.event_id for leaf in rows(AuditLeaf)][2:] == [event_id]


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_who_begins_while_the_sealer_looks_is_not_left_behind(
    database, make_sealer, happen, rows, monkeypatch
):
    sealer = make_sealer()
    with database.write() as slow:
        list_unsealed = sealing.list_unsealed

        def begin_and_list(*arguments, **how):
            monkeypatch.undo()
            add_event_now(slow, "study.retried", "study", 1)
            happen(2)
            return list_unsealed(*arguments, **how)

        monkeypatch.setattr(sealing, "list_unsealed", begin_and_list)
        sealer.seal()
        monkeypatch.setattr(sealing, "_SETTLED_S", 0.2)
        _seal_for_a_while(sealer)
    sealer.seal()

    assert {leaf.event_id for leaf in rows(AuditLeaf)} == {event.id for event in rows(AuditEvent)}


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_who_draws_an_id_before_it_has_a_transaction_is_not_left_behind(
    database, make_sealer, happen, rows
):
    sealer = make_sealer()
    happen()  # the first of 32 ids that are drawn without one
    with database.write() as slow:
        event_id = slow.scalar(text("SELECT nextval('audit_event_id_seq')"))
        happen(2)
        sealer.seal()
        slow.execute(insert(AuditEvent).values(**_EVENT, id=event_id))
        _seal_for_a_while(sealer)
    sealer.seal()

    assert [leaf.event_id for leaf in rows(AuditLeaf)][3:] == [event_id]


_EVENT = {
    "occurred_at": NOON,
    "actor": "service",
    "action": "study.retried",
    "object_type": "study",
    "salt": new_salt(),
}


def _seal_for_a_while(sealer):
    for _ in range(4):
        time.sleep(0.1)
        sealer.seal()


@on_postgresql
def test_what_is_committed_while_the_sealer_looks_waits_for_the_next_look(
    make_sealer, happen, rows, monkeypatch
):
    def happen_and_count(session):
        monkeypatch.undo()
        happen()
        return count_leaves(session)

    sealer = make_sealer()
    sealer.seal()
    happen()
    monkeypatch.setattr(sealing, "count_leaves", happen_and_count)
    sealer.seal()
    assert len(rows(AuditLeaf)) == 1
    sealer.seal()

    assert len(rows(AuditLeaf)) == 2


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_an_id_that_nobody_drew_leaves_none_below_it_behind(make_sealer, happen, rows, put_in):
    sealer = make_sealer()
    put_in(id=10**9)
    _seal_for_a_while(sealer)
    happen()
    sealer.seal()

    assert len(rows(AuditLeaf)) == 2


@pytest.mark.usefixtures("at_once")
def test_what_was_left_behind_has_its_place_once_all_is_looked_at(
    make_sealer, happen, rows, put_in, monkeypatch
):
    sealer = make_sealer()
    happen()
    _seal_for_a_while(sealer)
    put_in(id=-5)
    sealer.seal()
    assert len(rows(AuditLeaf)) == 1
    monkeypatch.setattr(sealing, "_LOOK_AT_ALL_S", 0.0)
    sealer.seal()

    assert len(rows(AuditLeaf)) == 2


@pytest.mark.parametrize("event_id", [0, -1, -(2**63)])
def test_an_event_below_all_others_has_its_place(make_sealer, happen, rows, put_in, event_id):
    happen()
    put_in(id=event_id)
    make_sealer().seal()

    assert [leaf.event_id for leaf in rows(AuditLeaf)] == [event_id, 1]


def test_two_who_seal_at_once_give_every_event_one_place(make_sealer, happen, rows):
    happen(60)
    threads = [threading.Thread(target=make_sealer().current_head) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [leaf.seq for leaf in rows(AuditLeaf)] == list(range(60))
    assert len({leaf.event_id for leaf in rows(AuditLeaf)}) == 60


# -- what somebody puts in -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"new_value": [1]},
        {"old_value": "7"},
        {"new_value": {"project": [1]}},
        {"new_value": {"project": True}},
        {"object_type": "prompt", "new_value": {"study": "x"}},
        {"object_type": "prompt", "new_value": {"study": True}},
        {"object_type": "prompt", "new_value": {"study": 2**70}},
        {"occurred_at": "0476-09-04 00:00:00.000000"},
    ],
)
def test_what_has_not_our_form_and_can_be_hashed_has_its_place(
    make_sealer, happen, rows, put_in, values
):
    put_in(**values)
    happen()
    make_sealer().current_head()

    leaf = rows(AuditLeaf)[0]
    assert (leaf.seq, leaf.study_id, leaf.project_id) == (0, None, None)
    assert len(rows(AuditLeaf)) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"new_value": {"a": 1.5}},
        {"salt": "zz"},
        pytest.param({"new_value": "[" * 5_000 + "]" * 5_000}, id="deep"),
    ],
)
def test_what_cannot_be_hashed_keeps_nothing_else_from_its_place(
    make_sealer, happen, rows, put_in, values
):
    _check_that_one_alone_is_passed_over(make_sealer, happen, rows, put_in(**values))


@on_sqlite
@pytest.mark.parametrize(
    "values",
    [
        {"new_value": "{"},
        {"occurred_at": "x"},
        {"object_id": "abc"},
        {"actor": b"\xff"},
    ],
)
def test_what_cannot_be_read_keeps_nothing_else_from_its_place(
    make_sealer, happen, rows, put_in, values
):
    _check_that_one_alone_is_passed_over(make_sealer, happen, rows, put_in(**values))


@on_sqlite
def test_bytes_that_are_no_text_keep_nothing_else_from_its_place(
    database, make_sealer, happen, rows, put_in
):
    event_id = put_in(reason="x")
    with database.write() as session:
        session.execute(text("DROP TRIGGER audit_event_no_update"))
        session.execute(text("UPDATE audit_event SET reason = CAST(x'ff' AS TEXT)"))
    _check_that_one_alone_is_passed_over(make_sealer, happen, rows, event_id)


@on_postgresql
@pytest.mark.parametrize("occurred_at", ["infinity", "-infinity", "12000-01-01", "0044-03-15 BC"])
def test_a_time_that_python_has_not_keeps_nothing_else_from_its_place(
    make_sealer, happen, rows, put_in, occurred_at
):
    _check_that_one_alone_is_passed_over(make_sealer, happen, rows, put_in(occurred_at=occurred_at))


def _check_that_one_alone_is_passed_over(make_sealer, happen, rows, event_id):
    happen(2)
    sealer = make_sealer()
    assert size_of(sealer.current_head()) == 2
    happen()
    assert size_of(sealer.current_head()) == 3

    placed = {leaf.event_id for leaf in rows(AuditLeaf)}
    assert (len(placed), event_id in placed) == (3, False)


def test_more_that_cannot_be_hashed_than_a_batch_keeps_nothing_else_from_its_place(
    make_sealer, happen, rows, put_in, monkeypatch, caplog
):
    monkeypatch.setattr(sealing, "BATCH", 4)
    put = [put_in(salt="zz") for _ in range(11)]
    happen(5)
    sealer = make_sealer()
    with caplog.at_level(logging.WARNING):
        assert size_of(sealer.current_head()) == 5
        happen()
        assert size_of(sealer.current_head()) == 6

    told = [event_id for record in caplog.records for event_id in record.event_ids]
    assert sorted(told) == put, "each is named once"
    assert "zz" not in caplog.text


@pytest.mark.parametrize(
    ("site", "occurred_at"),
    [("postgresql", "-infinity"), ("sqlite", "x")],
    indirect=["site"],
)
def test_what_waits_is_counted_where_its_time_cannot_be_read(database, put_in, occurred_at):
    put_in(occurred_at=occurred_at)

    with database.read() as session:
        waiting, since = count_unsealed(session)
    assert (waiting, since.year) == (1, 1)


def test_the_year_of_a_time_that_is_hashed_has_four_digits():
    assert canonical_time(datetime(476, 9, 4, tzinfo=UTC)) == "0476-09-04T00:00:00.000000Z"


# -- what nobody signs -----------------------------------------------------------------------------


def test_a_log_that_was_cut_off_is_not_signed(make_sealer, happen, database):
    happen(5)
    make_sealer().current_head()
    with database.write() as session:
        disable_guards(session)
        session.execute(text("DELETE FROM audit_leaf WHERE seq >= 3"))
        session.execute(
            text("DELETE FROM audit_event WHERE id IN (SELECT max(id) FROM audit_event)")
        )

    with pytest.raises(LogInconsistent, match=r"has 3 events, and its last head says 5"):
        make_sealer().seal()


def test_a_leaf_that_was_changed_is_not_signed_over(make_sealer, happen, database):
    happen(5)
    make_sealer().current_head()
    with database.write() as session:
        disable_guards(session)
        session.execute(text(f"UPDATE audit_leaf SET sha256 = '{'0' * 64}' WHERE seq = 2"))
        session.execute(text("DELETE FROM audit_head"))

    with pytest.raises(LogInconsistent, match="does not begin with what its last head says"):
        make_sealer().seal()


def test_what_was_recorded_of_a_head_is_believed_only_with_its_root(make_sealer, happen, database):
    happen(6)
    make_sealer().current_head()
    happen()
    with database.write() as session:
        disable_guards(session)
        head = find_head(session, KEY.name)
        session.execute(update(AuditHead).values(frontier=["0" * 64] * len(head.frontier)))

    with pytest.raises(LogInconsistent):
        make_sealer().seal()


def test_without_the_heads_outside_a_signed_log_is_not_signed_on(make_sealer, happen, heads):
    happen()
    make_sealer().current_head()
    heads.path.unlink()

    with pytest.raises(LogInconsistent, match="its heads are not in"):
        make_sealer().seal()


def test_another_key_does_not_sign_the_log_on(database, make_sealer, happen, heads):
    happen()
    make_sealer().current_head()
    stranger = Sealer(database, (SigningKey.generate(KEY.name),), heads)

    with pytest.raises(LogInconsistent, match="restore the key, or the heads"):
        stranger.seal()


# -- crashes ---------------------------------------------------------------------------------------


def test_a_head_that_is_outside_and_not_in_the_database_is_gone_on_from(
    make_sealer, happen, database, monkeypatch
):
    happen(3)
    monkeypatch.setattr(sealing, "add_head", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_sealer().current_head()
    monkeypatch.undo()
    happen(2)

    assert size_of(make_sealer().current_head()) == 5


def test_leaves_without_a_head_are_signed_by_the_next_one(make_sealer, happen, monkeypatch, heads):
    happen(3)
    monkeypatch.setattr(heads, "add", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_sealer().current_head()
    monkeypatch.undo()

    assert size_of(make_sealer().current_head()) == 3


def test_a_line_of_the_heads_that_a_crash_left_half_is_not_there(make_sealer, happen, heads):
    happen()
    first = make_sealer().current_head()
    with heads.path.open("ab") as file:
        file.write(b'{"signed_at": "2026-')
    happen()

    assert heads.read_last().note == first
    second = make_sealer().current_head()
    assert [head.note for head in heads.iterate()] == [first, second]


def test_what_waits_for_a_place_is_counted(make_sealer, happen, database):
    happen(2)
    with database.read() as session:
        waiting, since = count_unsealed(session)
    assert (waiting, since is not None) == (2, True)
    make_sealer().seal()

    with database.read() as session:
        assert count_unsealed(session) == (0, None)


# -- another key, another log ----------------------------------------------------------------------


@pytest.fixture
def key_path(tmp_path):
    path = tmp_path / "audit.key"
    make_signing_key(path, KEY)
    return path


def test_who_trusts_the_old_key_trusts_the_one_that_replaced_it(
    make_sealer, happen, database, heads, key_path
):
    happen()
    make_sealer().current_head()
    new = rotate_key(database, key_path, heads, actor="operator")
    happen()
    last = Sealer(database, (new,), heads).current_head()

    assert load_signing_key(key_path) == new != KEY
    for trusted in (KEY.verifier, new.verifier):
        report = verify_database(database, [trusted], [KeptHead("kept", last)])
        assert report.is_sound, report.findings
        assert report.head.size == size_of(last)


def test_who_sealed_before_a_key_was_replaced_signs_with_the_new_one(
    happen, database, heads, key_path
):
    running = Sealer(database, key_path, heads)
    happen()
    running.current_head()
    new = rotate_key(database, key_path, heads, actor="operator")
    happen()

    assert _signers(running.current_head(), KEY, new) == [new.verifier]
    report = verify_database(database, [KEY.verifier])
    assert report.is_sound, report.findings


def test_a_service_that_runs_need_not_be_restarted(site, happen, database):
    running = wiring.make_sealer(site, database)
    running.current_head()
    heads = HeadsFile(site.audit_heads_path)
    new = rotate_key(database, site.audit_key_path, heads, actor="operator")
    happen()

    assert _signers(running.current_head(), new) == [new.verifier]


def test_nobody_signs_with_a_key_once_it_is_replaced(happen, database, heads, key_path):
    stop = threading.Event()
    failures = []

    def sweep():
        running = Sealer(database, key_path, heads)
        while not stop.is_set():
            try:
                happen()
                running.seal(sign=True)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is said below
                failures.append(error)

    thread = threading.Thread(target=sweep)
    thread.start()
    time.sleep(0.3)
    new = rotate_key(database, key_path, heads, actor="operator")
    time.sleep(0.3)
    stop.set()
    thread.join()

    signers = [_signers(head.note, KEY, new) for head in heads.iterate()]
    both = signers.index([KEY.verifier, new.verifier])
    assert failures == []
    assert signers[:both] == [[KEY.verifier]] * both
    assert signers[both + 1 :] == [[new.verifier]] * (len(signers) - both - 1)
    assert 0 < both < len(signers) - 1


def test_a_crash_before_the_key_is_replaced_leaves_the_old_one_which_signs_on(
    happen, database, heads, key_path, monkeypatch
):
    happen()
    Sealer(database, key_path, heads).current_head()
    monkeypatch.setattr(audit_keys, "replace_signing_key", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rotate_key(database, key_path, heads, actor="operator")
    monkeypatch.undo()
    happen()

    assert _signers(Sealer(database, key_path, heads).current_head(), KEY) == [KEY.verifier]
    new = rotate_key(database, key_path, heads, actor="operator")
    assert load_signing_key(key_path) == new
    assert verify_database(database, [KEY.verifier]).is_sound


def test_a_key_that_is_there_before_the_head_of_its_change_signs_on(
    happen, database, heads, key_path
):
    happen()
    Sealer(database, key_path, heads).current_head()
    keys = [rotate_key(database, key_path, heads, actor="operator") for _ in range(2)]
    before, *_ = heads.path.read_bytes().splitlines(keepends=True)
    heads.path.write_bytes(before)
    happen()

    note = Sealer(database, key_path, heads).current_head()

    assert _signers(note, KEY, *keys) == [keys[-1].verifier]
    assert verify_database(database, [KEY.verifier]).is_sound


def test_a_key_that_was_replaced_does_not_sign_on_from_what_the_new_one_signed(
    happen, database, heads, key_path
):
    happen()
    Sealer(database, key_path, heads).current_head()
    rotate_key(database, key_path, heads, actor="operator")
    happen()
    Sealer(database, key_path, heads).current_head()
    replace_signing_key(key_path, KEY)  # from a backup

    with pytest.raises(LogInconsistent, match="restore the key"):
        Sealer(database, key_path, heads).current_head()


def test_a_change_of_keys_that_the_new_one_did_not_sign_leads_nowhere(
    happen, database, heads, key_path
):
    happen()
    Sealer(database, key_path, heads).current_head()
    new = SigningKey.generate(KEY.name)
    stranger = statement_text(KEY.verifier, new.verifier)
    statement = format_note(SignedNote(stranger, (KEY.sign(stranger),)))
    with database.write() as session:
        add_event(
            session, "log.key_rotated", "audit", None,
            old={"key": str(KEY.verifier)}, new={"statement": statement},
        )  # fmt: skip
        add_event(session, "log.key_rotated", "audit", None, new={"statement": 7})
    replace_signing_key(key_path, new)

    with pytest.raises(LogInconsistent, match="restore the key"):
        Sealer(database, key_path, heads).current_head()


def test_without_its_key_a_log_is_not_signed_on(happen, database, heads, key_path):
    sealer = Sealer(database, key_path, heads)
    sealer.current_head()
    key_path.unlink()
    happen()

    with pytest.raises(AuditFilesUnusable, match="the key of the audit log is missing"):
        sealer.seal()


def _signers(note, *keys):
    return [one.key for one in verify_note(parse_note(note), [key.verifier for key in keys])]


def test_a_log_that_goes_on_is_not_begun_again(make_sealer, happen, database, heads, key_path):
    happen(3)
    old = make_sealer().current_head()

    with pytest.raises(RestartRefused, match=r"goes on from its last head"):
        restart_log(database, key_path, heads, reason="To be safe", actor="operator")

    assert heads.read_last().note == old
    assert load_signing_key(key_path) == KEY


def test_a_log_that_begins_again_says_from_what_and_why(
    make_sealer, happen, database, heads, key_path, rows
):
    happen(3)
    old = make_sealer().current_head()
    with database.write() as session:
        disable_guards(session)
        session.execute(text("DELETE FROM audit_leaf WHERE seq = 2"))
    new = restart_log(database, key_path, heads, reason="Restored Monday", actor="operator")

    event = rows(AuditEvent)[-1]
    assert (event.action, event.reason) == ("log.restarted", "Restored Monday")
    assert event.old_value == {"head": old}
    assert new.name != KEY.name
    assert verify_database(database, [new.verifier]).is_sound
    kept = verify_database(database, [new.verifier], [KeptHead("mine", old)])
    assert not kept.is_sound


def test_a_head_by_a_key_that_was_replaced_is_named(happen, database, heads, key_path):
    happen()
    Sealer(database, key_path, heads).current_head()
    rotate_key(database, key_path, heads, actor="operator")
    happen()
    Sealer(database, key_path, heads).current_head()
    happen()
    note = Sealer(database, key_path, heads).current_head()
    text = parse_note(note).text
    stolen = KeptHead("a stolen key's", format_note(SignedNote(text, (KEY.sign(text),))))

    report = verify_database(database, [load_signing_key(key_path).verifier], [stolen])

    assert [(one.where, one.what) for one in report.findings] == [
        ("a stolen key's", "it is signed by a key that another one had replaced by then")
    ]
