"""Refused contexts: what is kept of them, and how few records tell of many associations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

from factories import NOON
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context

from medr1_pacs.listener.refusals import RefusalLog, find_refused_contexts
from medr1_pacs.records.received import AssociationRecord, RefusedContext

CT = RefusedContext(CTImageStorage, (ExplicitVRLittleEndian,))


def make_association(proposed, *, accepted=()):
    """An association whose contexts have the ids 1, 3, 5, ...; `accepted`: their positions."""
    for position, context in enumerate(proposed):
        context.context_id = 2 * position + 1
    return SimpleNamespace(
        requestor=SimpleNamespace(requested_contexts=proposed),
        accepted_contexts=[c for n, c in enumerate(proposed) if n in accepted],
        rejected_contexts=[c for n, c in enumerate(proposed) if n not in accepted],
    )


def make_record(**changes):
    record = AssociationRecord(
        "t" * 16, "SCANNER", "MEDR1", "10.0.0.1", NOON, closed_at=NOON, refused_contexts=(CT,)
    )
    return replace(record, **changes)


def test_a_sop_class_that_was_not_given_at_all_comes_first():
    proposed = [
        build_context(CTImageStorage, "1.2.3"),
        build_context(CTImageStorage),
        build_context(MRImageStorage, "1.2.3"),
    ]

    found = find_refused_contexts(make_association(proposed, accepted=[1]))

    assert [context.sop_class_uid for context in found] == [MRImageStorage, CTImageStorage]


def test_not_more_than_32_contexts_and_32_syntaxes_of_each_are_kept():
    many = [f"1.2.3.{n}" for n in range(100)]
    proposed = [build_context(f"1.2.4.{n}", many) for n in range(100)]

    found = find_refused_contexts(make_association(proposed))

    assert len(found) == 32
    assert {len(context.transfer_syntax_uids) for context in found} == {32}


def test_what_is_no_uid_is_not_quoted():
    proposed = [SimpleNamespace(abstract_syntax="Doe^Jane", transfer_syntax=["1." * 40, "1.2.3"])]

    assert find_refused_contexts(make_association(proposed)) == (
        RefusedContext("no UID", ("no UID", "1.2.3")),
    )


def test_associations_that_are_refused_the_same_on_one_day_are_one_record():
    log = RefusalLog()
    for minute in range(3):
        log.note(make_record(token=f"{minute}" * 16, closed_at=NOON + timedelta(minutes=minute)))

    (record,) = log.unwritten().values()

    assert (record.token, record.times) == ("0" * 16, 3)
    assert (record.opened_at, record.closed_at) == (NOON, NOON + timedelta(minutes=2))


def test_the_next_day_begins_another_record():
    log = RefusalLog()
    log.note(make_record())
    log.note(make_record(token="u" * 16, closed_at=NOON + timedelta(days=1)))

    assert [record.times for record in log.unwritten().values()] == [1, 1]


def test_a_record_that_changed_while_it_was_written_is_written_again():
    log = RefusalLog()
    log.note(make_record())
    being_written = log.unwritten()
    log.note(make_record())
    log.written(being_written)
    assert [record.times for record in log.unwritten().values()] == [2]

    log.written(log.unwritten())

    assert log.unwritten() == {}


def test_senders_that_make_up_titles_fill_no_table():
    log = RefusalLog()
    for number in range(1000):
        log.note(make_record(calling_ae_title=f"AE{number}"))

    assert len(log.unwritten()) == 256


def test_yesterdays_records_make_room_once_they_are_written():
    log = RefusalLog()
    for number in range(256):
        log.note(make_record(calling_ae_title=f"AE{number}"))
    log.written(log.unwritten())

    log.note(make_record(closed_at=NOON + timedelta(days=1)))

    assert len(log.unwritten()) == 1
