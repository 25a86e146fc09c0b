"""Files are taken in the transfer syntaxes that a sender may use, and in no others."""

import pytest
from factories import make_instance
from pydicom.uid import (
    HEVCMP51,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
)

from medr1_pacs.errors import InstanceUnreadable
from medr1_pacs.listener.contexts import supported_contexts
from medr1_pacs.part10 import FileMeta, encode_file_meta
from medr1_pacs.steps.receiving import ingest_file


@pytest.fixture
def ingest(store, tmp_path):
    def ingest(transfer_syntax_uid: str):
        ds = make_instance()
        meta = FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax_uid, "CT1", "")
        path = tmp_path / "file.dcm"
        path.write_bytes(encode_file_meta(meta) + b"a data set")
        return ingest_file(store, path, called_ae_title="MEDR1")

    return ingest


@pytest.mark.parametrize("transfer_syntax_uid", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_a_file_in_an_accepted_transfer_syntax_is_kept(ingest, store, transfer_syntax_uid):
    ingest(transfer_syntax_uid)

    assert len(store.incoming(9)) == 1


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "named", "remedy"),
    [
        (MPEG2MPML, "MPEG2 Main Profile", "Explicit VR Little Endian"),
        (HEVCMP51, "HEVC", "Explicit VR Little Endian"),
        (UID("1.2.840.113619.5.2"), "1.2.840.113619.5.2", "Explicit VR Little Endian"),
        (DeflatedExplicitVRLittleEndian, "Deflated", "dcmconv [+]te IN OUT"),
    ],
)
def test_a_file_in_another_is_refused_with_its_name_and_the_remedy(
    ingest, store, transfer_syntax_uid, named, remedy
):
    with pytest.raises(InstanceUnreadable, match=rf"{named}.* is not accepted; .*{remedy}"):
        ingest(transfer_syntax_uid)

    assert store.incoming(9) == []


def test_a_file_is_taken_in_what_a_sender_may_use(ingest):
    image = next(
        c for c in supported_contexts() if c.abstract_syntax == make_instance().SOPClassUID
    )

    for transfer_syntax_uid in image.transfer_syntax:
        ingest(transfer_syntax_uid)
