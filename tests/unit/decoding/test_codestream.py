import imagecodecs
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from unit.decoding.helpers import GRAY8, htj2k, jpeg2000, lossless_jpeg, refusal, rle_frame


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "encode"),
    [
        (uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000, jpeg2000),
    ],
)
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    transfer_syntax_uid, encode, write_instance, monkeypatch
):
    path = write_instance(GRAY8, transfer_syntax_uid, encapsulate([encode(GRAY8)]), Columns=22)
    for name in ("jpeg_decode", "jpegls_decode", "jpeg2k_decode"):
        monkeypatch.delattr(imagecodecs, name)

    assert refusal(path) == "the compressed data is 17 x 23 x 1, the header says 17 x 22"


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "encode"),
    [
        (uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode),
        (uid.JPEGLosslessSV1, lossless_jpeg),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000Lossless, jpeg2000),
        (uid.HTJ2KLossless, htj2k),
        (uid.RLELossless, rle_frame),
    ],
)
def test_a_truncated_codestream_never_passes_for_the_whole(
    transfer_syntax_uid, encode, write_instance
):
    encoded = encode(GRAY8)
    for length in (1, 10, len(encoded) // 4, len(encoded) // 2, len(encoded) * 9 // 10):
        path = write_instance(GRAY8, transfer_syntax_uid, encapsulate([encoded[:length]]))
        refusal(path)
