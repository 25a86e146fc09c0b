"""What a sender is refused although it is admitted, over real associations."""

from __future__ import annotations

import pytest
from factories import make_instance
from pydicom.uid import (
    MPEG2MPML,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.sop_class import ModalityPerformedProcedureStep
from servers import wait_until

from medr1_pacs.db.associations import list_refused_contexts
from medr1_pacs.db.tables import Association

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

PRIVATE_SOP_CLASS = "1.2.826.0.1.3680043.10.77.1"


@pytest.fixture
def refused(database):
    """What the page of refusals shows."""

    def refused():
        with database.read() as session:
            return list_refused_contexts(session)

    return refused


@pytest.fixture
def ask(associate):
    """Ask for an association, and release it."""

    def ask(listener, *syntaxes, **options):
        association = associate(listener, *syntaxes, **options)
        association.release()
        return association

    return ask


def test_a_sender_that_is_refused_its_sop_class_is_named_with_it(
    store, listen, ask, write_rows, refused
):
    listener = listen(store, write_rows)

    ask(listener, ExplicitVRLittleEndian, sop_class=ModalityPerformedProcedureStep)

    wait_until(refused, "the refusal is recorded")
    (listing,) = refused()
    assert (listing.calling_ae_title, listing.called_ae_title) == ("SCANNER", "MEDR1")
    assert listing.peer_address == "127.0.0.1"
    assert listing.sop_class == "Modality Performed Procedure Step SOP Class"
    assert listing.transfer_syntaxes == ("Explicit VR Little Endian",)
    assert listing.times == 1


@sqlite
def test_all_the_syntaxes_of_a_refused_context_are_told(store, listen, ask, write_rows, refused):
    ask(
        listen(store, write_rows),
        [ExplicitVRLittleEndian, ImplicitVRLittleEndian],
        sop_class=PRIVATE_SOP_CLASS,
    )

    wait_until(refused, "the refusal is recorded")
    (listing,) = refused()
    assert listing.sop_class == PRIVATE_SOP_CLASS
    assert listing.transfer_syntax_uids == (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@sqlite
def test_a_syntax_is_refused_where_its_sop_class_is_not(store, listen, associate, write_rows, rows):
    association = associate(
        listen(store, write_rows), ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian
    )
    association.send_c_store(make_instance())

    wait_until(lambda: rows(Association), "the association is recorded")
    (row,) = rows(Association)
    assert row.refused_contexts == [[CTImageStorage, [DeflatedExplicitVRLittleEndian]]]
    assert row.instances == 1


@sqlite
def test_an_association_that_is_given_all_it_asks_for_says_nothing(
    store, listen, associate, write_rows, rows, refused
):
    associate(listen(store, write_rows)).send_c_store(make_instance())

    wait_until(lambda: rows(Association), "the association is recorded")
    assert rows(Association)[0].refused_contexts is None
    assert refused() == []


@sqlite
def test_a_sender_that_asks_again_and_again_is_one_row_with_how_often(
    store, listen, ask, write_rows, rows, refused
):
    listener = listen(store, write_rows)
    for _ in range(3):
        ask(listener, sop_class=PRIVATE_SOP_CLASS)
        wait_until(refused, "it is recorded")

    wait_until(lambda: refused()[0].times == 3, "all are counted")
    (row,) = rows(Association)
    assert (row.times, row.instances) == (3, 0)
    assert row.opened_at < row.closed_at


@sqlite
def test_another_sender_or_other_contexts_are_another_row(
    store, listen, ask, write_rows, rows, refused
):
    listener = listen(store, write_rows)
    ask(listener, sop_class=PRIVATE_SOP_CLASS)
    ask(listener, sop_class=PRIVATE_SOP_CLASS, ae_title="OTHER")
    ask(listener, MPEG2MPML)

    wait_until(lambda: len(rows(Association)) == 3, "each is recorded")
    assert {(listing.calling_ae_title, listing.sop_class_uid) for listing in refused()} == {
        ("SCANNER", PRIVATE_SOP_CLASS),
        ("OTHER", PRIVATE_SOP_CLASS),
        ("SCANNER", CTImageStorage),
    }


@sqlite
def test_refusals_are_recorded_once_the_database_is_back(
    store, listen, ask, write_rows, rows, refused
):
    is_away = [True]

    def write(records):
        if is_away[0]:
            raise ConnectionError("the database does not answer")
        write_rows(records)

    listener = listen(store, write)
    for _ in range(2):
        ask(listener, sop_class=PRIVATE_SOP_CLASS)
    is_away[0] = False

    wait_until(lambda: refused() and refused()[0].times == 2, "both are counted")
    assert len(rows(Association)) == 1


@sqlite
def test_a_sender_counts_once_an_association_however_many_contexts_it_proposes(
    store, listen, ask, write_rows, refused
):
    ask(
        listen(store, write_rows),
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        sop_class=PRIVATE_SOP_CLASS,
    )

    wait_until(refused, "the refusal is recorded")
    (listing,) = refused()
    assert listing.times == 1
    assert listing.transfer_syntax_uids == (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
