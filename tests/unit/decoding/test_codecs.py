import struct

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from unit.decoding.helpers import (
    GRAY8,
    GRAY12,
    GRAY16,
    MAX_FRAME_BYTES,
    RGB8,
    decode,
    htj2k,
    jpeg2000,
    lossless_jpeg,
    rle_frame,
)

from medr1_pacs.decoding.frames import decode_frame

FLAT_RED = np.full((16, 16, 3), (200, 30, 60), np.uint8)


def baseline(values: np.ndarray, codestream_color: str) -> bytes:
    return imagecodecs.jpeg8_encode(
        values, 100, colorspace="RGB", outcolorspace=codestream_color, subsampling="444"
    )


def without_marker(encoded: bytes, marker: int) -> bytes:
    """Cut the first segment of this marker out of a JPEG stream."""
    start = encoded.index(bytes([0xFF, marker]))
    (length,) = struct.unpack_from(">H", encoded, start + 2)
    return encoded[:start] + encoded[start + 2 + length :]


@pytest.mark.parametrize("values", [GRAY8, GRAY12, GRAY16, RGB8], ids=["8", "12", "16", "RGB"])
@pytest.mark.parametrize(
    ("transfer_syntax_uid", "encode"),
    [
        (uid.JPEGLossless, lambda values: lossless_jpeg(values, predictor=6)),
        (uid.JPEGLosslessSV1, lossless_jpeg),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEGLSNearLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000Lossless, jpeg2000),
        (uid.JPEG2000, jpeg2000),
        (uid.HTJ2KLossless, htj2k),
        (uid.HTJ2KLosslessRPCL, htj2k),
        (uid.HTJ2K, htj2k),
        (uid.RLELossless, rle_frame),
    ],
    ids=lambda value: uid.UID(value).keyword if isinstance(value, str) else "",
)
def test_lossless_compression_loses_nothing(values, transfer_syntax_uid, encode, write_instance):
    path = write_instance(values, transfer_syntax_uid, encapsulate([encode(values)]))

    assert np.array_equal(decode(path), values)


def test_extended_jpeg_has_twelve_bits(write_instance):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 32
    encoded = imagecodecs.jpeg8_encode(smooth, 95, bitspersample=12)
    path = write_instance(smooth, uid.JPEGExtended12Bit, encapsulate([encoded]), BitsStored=12)

    decoded = decode(path)

    assert decoded.max() > 255
    assert np.abs(decoded.astype(int) - smooth).max() <= 16


def test_a_twelve_bit_sign_is_extended_in_jpeg_ls(write_instance):
    values = np.array([[-2048, -1], [0, 2047]], np.int16)
    encoded = imagecodecs.jpegls_encode((values & 0xFFF).astype(np.uint16))
    path = write_instance(values, uid.JPEGLSLossless, encapsulate([encoded]), BitsStored=12)

    assert np.array_equal(decode(path), values)


@pytest.mark.parametrize("photometric_interpretation", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_a_jfif_stream_becomes_rgb_even_where_the_header_says_it_is(
    photometric_interpretation, write_instance
):
    path = write_instance(
        FLAT_RED,
        uid.JPEGBaseline8Bit,
        encapsulate([baseline(FLAT_RED, "YCBCR")]),
        PhotometricInterpretation=photometric_interpretation,
    )

    decoded = decode_frame(path, 0, MAX_FRAME_BYTES)

    assert decoded.photometric_interpretation == "RGB"
    assert np.abs(decoded.stored_values.astype(int) - FLAT_RED).max() <= 3


def test_a_bare_stream_of_ybr_becomes_rgb(write_instance):
    bare = without_marker(baseline(FLAT_RED, "YCBCR"), 0xE0)
    path = write_instance(
        FLAT_RED,
        uid.JPEGBaseline8Bit,
        encapsulate([bare]),
        PhotometricInterpretation="YBR_FULL_422",
    )

    assert np.abs(decode(path).astype(int) - FLAT_RED).max() <= 3


def test_an_adobe_marker_of_ybr_wins_over_a_header_of_rgb(write_instance):
    bare = without_marker(baseline(FLAT_RED, "YCBCR"), 0xE0)
    adobe = struct.pack(">HH5s3HB", 0xFFEE, 14, b"Adobe", 100, 0, 0, 1)
    path = write_instance(
        FLAT_RED, uid.JPEGBaseline8Bit, encapsulate([bare[:2] + adobe + bare[2:]])
    )

    assert np.abs(decode(path).astype(int) - FLAT_RED).max() <= 3


@pytest.mark.parametrize("keep_adobe", [True, False])
def test_a_stream_of_rgb_is_not_converted(keep_adobe, write_instance):
    encoded = baseline(FLAT_RED, "RGB")
    encoded = encoded if keep_adobe else without_marker(encoded, 0xEE)
    path = write_instance(FLAT_RED, uid.JPEGBaseline8Bit, encapsulate([encoded]))

    decoded = decode_frame(path, 0, MAX_FRAME_BYTES)

    assert decoded.photometric_interpretation == "RGB"
    assert np.abs(decoded.stored_values.astype(int) - FLAT_RED).max() <= 3


def test_an_adobe_marker_without_transform_leaves_the_colours_to_the_header(write_instance):
    path = write_instance(
        FLAT_RED,
        uid.JPEGBaseline8Bit,
        encapsulate([baseline(FLAT_RED, "RGB")]),
        PhotometricInterpretation="YBR_FULL",
    )

    decoded = decode_frame(path, 0, MAX_FRAME_BYTES)

    assert decoded.photometric_interpretation == "YBR_FULL"
    assert np.abs(decoded.stored_values.astype(int) - FLAT_RED).max() <= 3


def test_ybr_that_no_codec_converts_stays_ybr(write_instance):
    path = write_instance(
        RGB8,
        uid.JPEGLSLossless,
        encapsulate([imagecodecs.jpegls_encode(RGB8)]),
        PhotometricInterpretation="YBR_FULL",
    )

    decoded = decode_frame(path, 0, MAX_FRAME_BYTES)

    assert decoded.photometric_interpretation == "YBR_FULL"
    assert np.array_equal(decoded.stored_values, RGB8)


@pytest.mark.parametrize("photometric_interpretation", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_jpeg_2000_undoes_its_own_colour_transform(photometric_interpretation, write_instance):
    path = write_instance(
        RGB8,
        uid.JPEG2000Lossless,
        encapsulate([jpeg2000(RGB8)]),
        PhotometricInterpretation=photometric_interpretation,
    )

    assert decode_frame(path, 0, MAX_FRAME_BYTES).photometric_interpretation == "RGB"
