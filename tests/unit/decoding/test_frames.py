import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array
from unit.decoding.helpers import GRAY8, decode, htj2k, jpeg2000, lossless_jpeg, refusal, rle_frame

from medr1_pacs.errors import PixelDataUnusable

BUNDLED = Path(pydicom.__file__).parent / "data"

# Nobody decodes these: pydicom refuses them as well, or their header is nonsense on purpose.
BROKEN = {
    "badVR.dcm",
    "image_dfl.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "meta_missing_tsyntax.dcm",
    "MR_truncated.dcm",
    "nested_priv_SQ.dcm",
    "SC_rgb_jpeg.dcm",
}

# pydicom has no plugin here that reads these: JPEG-LS, 12 bits, lossless JPEG, and one JPEG 2000
# that Pillow takes for broken.
BEYOND_PYDICOM = {
    "GDCMJ2K_TextGBR.dcm",
    "JPEG-lossy.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
}


def has_pixels(path: Path) -> bool:
    try:
        return "PixelData" in dcmread(path)
    except (pydicom.errors.InvalidDicomError, IsADirectoryError):
        return False


WITH_PIXELS = {
    path.name: path
    for path in sorted(BUNDLED.rglob("*"))
    if path.suffix in ("", ".dcm") and path.is_file() and has_pixels(path)
}


def last_frame_index(path: Path) -> int:
    return int(dcmread(path).get("NumberOfFrames") or 1) - 1


@pytest.mark.parametrize("name", sorted(WITH_PIXELS.keys() - BROKEN - BEYOND_PYDICOM))
def test_every_bundled_frame_is_what_pydicom_makes_of_it(name, pool):
    path = WITH_PIXELS[name]
    frame_index = last_frame_index(path)

    decoded = pool.decode(path, frame_index)

    is_converted = decoded.photometric_interpretation == "RGB"
    expected = pixel_array(path, index=frame_index, raw=not is_converted)
    assert np.array_equal(decoded.stored_values, expected)
    assert decoded.stored_values.dtype == expected.dtype.newbyteorder("<")


@pytest.mark.parametrize("name", sorted(BEYOND_PYDICOM))
def test_a_bundled_frame_beyond_pydicom_has_the_size_its_header_says(name, pool):
    path = WITH_PIXELS[name]
    header = dcmread(path)

    decoded = pool.decode(path, last_frame_index(path))

    assert decoded.stored_values.shape[:2] == (header.Rows, header.Columns)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_bundled_file_is_refused(name, pool):
    with pytest.raises(PixelDataUnusable):
        pool.decode(WITH_PIXELS[name], 0)


def test_the_bundled_jpeg_ls_file_is_the_uncompressed_one(pool):
    compressed, plain = (
        pool.decode(BUNDLED / "test_files" / name, 0).stored_values
        for name in ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm")
    )

    assert np.array_equal(compressed, plain)


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "encode"),
    [
        (uid.JPEGLosslessSV1, lambda values: lossless_jpeg(values.view(np.uint16))),
        (uid.JPEGLSLossless, lambda values: imagecodecs.jpegls_encode(values.view(np.uint16))),
        (uid.JPEG2000Lossless, jpeg2000),
        (uid.JPEG2000Lossless, lambda values: jpeg2000(values.view(np.uint16))),
        (uid.HTJ2KLossless, htj2k),
        (uid.RLELossless, lambda values: rle_frame(values.view(np.uint16))),
    ],
)
def test_signed_values_keep_their_sign_whatever_the_codestream_says(
    transfer_syntax_uid, encode, write_instance
):
    values = np.array([[-32768, -1], [0, 32767]], np.int16).repeat(8, 0).repeat(8, 1)
    path = write_instance(values, transfer_syntax_uid, encapsulate([encode(values)]))

    assert np.array_equal(decode(path), values)


@pytest.mark.parametrize(
    ("high_bit", "is_signed", "word", "stored_value"),
    [
        (11, 0, 0xF123, 0x123),  # an old overlay above the value
        (11, 1, 0xF800, -2048),
        (11, 1, 0x07FF, 2047),
        (15, 0, 0x1234, 0x123),  # the value at the top of the word
        (15, 1, 0x800F, -2048),
        (99, 0, 0x0123, 0x123),  # a High Bit that cannot be
    ],
)
def test_only_the_stored_bits_count(high_bit, is_signed, word, stored_value, write_instance):
    path = write_instance(
        np.array([[word]], np.uint16),
        BitsStored=12,
        HighBit=high_bit,
        PixelRepresentation=is_signed,
    )

    assert decode(path).tolist() == [[stored_value]]


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("frame_index", [0, 2])
def test_a_frame_is_found_by_any_offset_table_or_none(table, frame_index, write_instance):
    frames = np.random.default_rng(2026).integers(0, 256, (3, 9, 9)).astype(np.uint8)
    encoded = [imagecodecs.jpegls_encode(frame) for frame in frames]
    elements: dict[str, object] = {"NumberOfFrames": 3}
    if table == "extended":
        # The frames lie in the file backwards: only who reads the table finds them.
        pixel_data, *tables = encapsulate_extended(encoded[::-1])
        offsets, lengths = (np.frombuffer(table, "<u8")[::-1].tobytes() for table in tables)
        elements |= {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    else:
        pixel_data = encapsulate(encoded, fragments_per_frame=2, has_bot=table == "basic")
    path = write_instance(frames[0], uid.JPEGLSLossless, pixel_data, **elements)

    assert np.array_equal(decode(path, frame_index), frames[frame_index])


def test_a_frame_that_does_not_exist_is_refused(write_instance):
    path = write_instance(GRAY8)

    assert refusal(path, 1) == refusal(path, -1) == "the instance has 1 frames"


def test_an_instance_without_pixel_data_is_refused(write_instance):
    path = write_instance(GRAY8)
    header = dcmread(path)
    del header.PixelData
    header.save_as(path)

    assert refusal(path) == "the instance has no Pixel Data"


def test_a_header_larger_than_its_pixel_data_is_refused_before_anything_is_allocated(
    write_instance,
):
    path = write_instance(GRAY8, Rows=60_000, Columns=60_000)

    assert "3,600,000,000 bytes, the limit is" in refusal(path)
    assert "bytes, its header needs 3,600,000,000" in refusal(path, max_frame_bytes=2**40)


def test_fragments_that_end_early_are_refused(write_instance):
    path = write_instance(
        GRAY8, uid.JPEGLSLossless, encapsulate([imagecodecs.jpegls_encode(GRAY8)])
    )
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xfe\xff\x00\xe0") + 4])

    assert refusal(path).startswith("its fragments are malformed")


def test_a_deflated_instance_is_refused_before_it_inflates(write_instance):
    path = write_instance(GRAY8)
    plain, deflated = uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian
    content = path.read_bytes().replace(
        struct.pack("<H", len(plain) + 1) + plain.encode() + b"\0",
        struct.pack("<H", len(deflated)) + deflated.encode(),
    )
    path.write_bytes(content)

    assert refusal(path) == f"Transfer Syntax {deflated} is not decoded"


def test_a_file_of_anything_else_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"not DICOM" * 100)

    assert refusal(path) == "the file is not a DICOM file"
