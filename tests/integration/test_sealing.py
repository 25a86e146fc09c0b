"""Events get their places once, in the order of commits, and heads that go on from the last one."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text, update

from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import Checkpoint, parse_note, verify_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.audit import add_event, add_event_now
from medr1_pacs.db.sealing import count_unsealed, find_head
from medr1_pacs.db.tables import AuditEvent, AuditHead, AuditLeaf
from medr1_pacs.errors import LogInconsistent
from medr1_pacs.steps import sealing
from medr1_pacs.steps.audit_keys import restart_log, rotate_key
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.verifying import KeptHead, verify_database
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key, make_signing_key

KEY = SigningKey.generate("medr1-pacs/test")
on_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


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


def size_of(note):
    return Checkpoint.parse(parse_note(note).text).size


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
    head = Checkpoint.parse(signed.text)
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


def test_two_who_seal_at_once_give_every_event_one_place(make_sealer, happen, rows):
    happen(60)
    threads = [threading.Thread(target=make_sealer().current_head) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [leaf.seq for leaf in rows(AuditLeaf)] == list(range(60))
    assert len({leaf.event_id for leaf in rows(AuditLeaf)}) == 60


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
