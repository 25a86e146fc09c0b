import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pydicom
import pytest
import rle.utils
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array

from medr1_pacs.decoding import DecoderPool, child
from medr1_pacs.decoding import pool as pool_module
from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.errors import PixelDataUnusable, StorageUnavailable, TransientError

MAX_FRAME_BYTES = 64 * 1024**2
BUNDLED = Path(pydicom.__file__).parent / "data"
RANDOM = np.random.default_rng(2026)

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


def has_pixels(path: Path) -> bool:
    try:
        return "PixelData" in dcmread(path)
    except (pydicom.errors.InvalidDicomError, IsADirectoryError):
        return False


WITH_PIXELS = [
    path
    for path in sorted(BUNDLED.rglob("*"))
    if path.suffix in ("", ".dcm") and path.is_file() and has_pixels(path)
]


@pytest.fixture(scope="module")
def pool():
    with DecoderPool() as pool:
        yield pool


@pytest.fixture
def write_instance(tmp_path):
    """Write an instance of `stored_values`, the pixel data already encoded; return its path."""

    def write(
        stored_values: np.ndarray,
        transfer_syntax_uid: str = uid.ExplicitVRLittleEndian,
        pixel_data: bytes | None = None,
        pixel_data_vr: str = "",
        **elements: object,
    ) -> Path:
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = transfer_syntax_uid
        header.SOPClassUID = uid.SecondaryCaptureImageStorage
        header.SOPInstanceUID = "1.2.3"
        header.PatientName = "Nobody^Must^See"
        header.Rows, header.Columns = stored_values.shape[:2]
        header.SamplesPerPixel = stored_values.shape[2] if stored_values.ndim == 3 else 1
        color = stored_values.ndim == 3
        header.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
        header.PlanarConfiguration = 0
        header.BitsAllocated = header.BitsStored = 8 * stored_values.dtype.itemsize
        header.PixelRepresentation = int(stored_values.dtype.kind == "i")
        header.PixelData = stored_values.tobytes() if pixel_data is None else pixel_data
        header["PixelData"].VR = pixel_data_vr or ("OB" if header.BitsAllocated == 8 else "OW")
        for keyword, value in elements.items():
            setattr(header, keyword, value)
        path = tmp_path / "instance.dcm"
        syntax = uid.UID(transfer_syntax_uid)
        dcmwrite(
            path,
            header,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            force_encoding=True,
        )
        content = path.read_bytes()
        path.write_bytes(
            b"\0" * 128 + b"DICM" + content if content[128:132] != b"DICM" else content
        )
        return path

    return write


def decode(path: Path, frame_index: int = 0) -> np.ndarray:
    return decode_frame(path, frame_index, MAX_FRAME_BYTES).stored_values


def refusal(path: Path, frame_index: int = 0, max_frame_bytes: int = MAX_FRAME_BYTES) -> str:
    with pytest.raises(PixelDataUnusable) as refused:
        decode_frame(path, frame_index, max_frame_bytes)
    return str(refused.value)


# --- pydicom's bundled files


@pytest.mark.parametrize("path", WITH_PIXELS, ids=lambda path: path.name)
def test_every_bundled_frame_is_what_pydicom_makes_of_it(path, pool):
    if path.name in BROKEN:
        with pytest.raises(PixelDataUnusable):
            pool.decode(path, 0)
        return
    frame_index = int(dcmread(path).get("NumberOfFrames") or 1) - 1

    decoded = pool.decode(path, frame_index)

    try:
        is_converted = decoded.photometric_interpretation == "RGB"
        expected = pixel_array(path, index=frame_index, raw=not is_converted)
    except RuntimeError:  # no pydicom plugin here for the syntax: JPEG-LS, 12 bits, lossless JPEG
        header = dcmread(path)
        assert decoded.stored_values.shape[:2] == (header.Rows, header.Columns)
        return
    assert np.array_equal(decoded.stored_values, expected)
    assert decoded.stored_values.dtype == expected.dtype.newbyteorder("<")


def test_the_bundled_jpeg_ls_file_is_the_uncompressed_one(pool):
    compressed, plain = (
        pool.decode(BUNDLED / "test_files" / name, 0).stored_values
        for name in ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm")
    )

    assert np.array_equal(compressed, plain)


# --- compressed transfer syntaxes

GRAY8 = RANDOM.integers(0, 256, (17, 23)).astype(np.uint8)
GRAY12 = RANDOM.integers(0, 4096, (17, 23)).astype(np.uint16)
GRAY16 = RANDOM.integers(0, 65536, (17, 23)).astype(np.uint16)
RGB8 = RANDOM.integers(0, 256, (17, 23, 3)).astype(np.uint8)


def lossless_jpeg(values: np.ndarray, predictor: int = 1) -> bytes:
    color = "RGB" if values.ndim == 3 else None
    return imagecodecs.jpeg8_encode(
        values,
        lossless=True,
        predictor=predictor,
        colorspace=color,
        outcolorspace=color,
        bitspersample=12 if values is GRAY12 else 8 * values.dtype.itemsize,
    )


def jpeg2000(values: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(values, reversible=True, codecformat="j2k")


def htj2k(values: np.ndarray) -> bytes:
    return imagecodecs.htj2k_encode(values, reversible=True)


def rle_frame(values: np.ndarray) -> bytes:
    rows, columns, samples = (*values.shape, 1)[:3]
    return rle.utils.encode_pixel_data(
        values.tobytes(),
        byteorder="<",
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=8 * values.dtype.itemsize,
    )


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


def test_a_twelve_bit_sign_is_extended_in_jpeg_ls(write_instance):
    values = np.array([[-2048, -1], [0, 2047]], np.int16)
    encoded = imagecodecs.jpegls_encode((values & 0xFFF).astype(np.uint16))
    path = write_instance(values, uid.JPEGLSLossless, encapsulate([encoded]), BitsStored=12)

    assert np.array_equal(decode(path), values)


# --- colour in JPEG

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


# --- uncompressed transfer syntaxes


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_native_values_are_read_as_they_are(syntax, write_instance):
    assert np.array_equal(decode(write_instance(GRAY16, syntax)), GRAY16)


def test_big_endian_values_are_swapped(write_instance):
    path = write_instance(GRAY16, uid.ExplicitVRBigEndian, GRAY16.astype(">u2").tobytes())

    assert np.array_equal(decode(path), GRAY16)


def test_bytes_in_big_endian_words_are_found_where_a_frame_begins_inside_a_word(write_instance):
    frames = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    swapped = frames.reshape(-1).view(np.uint16).byteswap().tobytes()
    path = write_instance(
        frames[0], uid.ExplicitVRBigEndian, swapped, NumberOfFrames=2, pixel_data_vr="OW"
    )

    assert [decode(path, index).tolist() for index in (0, 1)] == frames.tolist()


def test_planar_colour_is_brought_to_pixels(write_instance):
    planes = np.moveaxis(RGB8, -1, 0).tobytes()

    path = write_instance(RGB8, pixel_data=planes + b"\0", PlanarConfiguration=1)

    assert np.array_equal(decode(path), RGB8)


@pytest.mark.parametrize("frame_index", [0, 1, 2])
def test_single_bit_frames_need_not_begin_on_a_byte(frame_index, write_instance):
    frames = RANDOM.integers(0, 2, (3, 5, 7)).astype(np.uint8)
    packed = np.packbits(frames, bitorder="little").tobytes()
    path = write_instance(
        frames[0], pixel_data=packed, NumberOfFrames=3, BitsAllocated=1, BitsStored=1
    )

    assert np.array_equal(decode(path, frame_index), frames[frame_index])


def test_uncompressed_4_2_2_gets_its_chroma_back(write_instance):
    path = write_instance(
        np.zeros((1, 2, 3), np.uint8),
        pixel_data=bytes([1, 2, 30, 40]),
        PhotometricInterpretation="YBR_FULL_422",
    )

    decoded = decode_frame(path, 0, MAX_FRAME_BYTES)

    assert decoded.stored_values.tolist() == [[[1, 30, 40], [2, 30, 40]]]
    assert decoded.photometric_interpretation == "YBR_FULL"


def test_4_2_2_that_is_stored_in_full_is_read_in_full(write_instance):
    path = write_instance(RGB8[:, :22], PhotometricInterpretation="YBR_FULL_422")

    assert np.array_equal(decode(path), RGB8[:, :22])


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


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_float_pixel_data_is_read(keyword, dtype, write_instance):
    values = np.array([[0.5, -1.5], [np.pi, 1e10]], dtype)
    path = write_instance(values)
    header = dcmread(path)
    del header.PixelData
    setattr(header, keyword, values.tobytes())
    header.save_as(path)

    assert np.array_equal(decode(path), values)


# --- one frame of many


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("frame_index", [0, 2])
def test_a_frame_is_found_by_any_offset_table_or_none(table, frame_index, write_instance):
    frames = RANDOM.integers(0, 256, (3, 9, 9)).astype(np.uint8)
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


def test_the_first_frame_of_a_huge_file_costs_one_frame(pool, write_instance):
    frame = np.full((512, 512), 7, np.uint16)
    path = write_instance(frame, NumberOfFrames=20_000)
    content = path.read_bytes()
    start = len(content) - frame.nbytes
    path.write_bytes(
        content[: start - 4] + struct.pack("<I", frame.nbytes * 8_000) + frame.tobytes()
    )
    path.write_bytes(path.read_bytes().replace(b"20000 ", b"8000  "))
    os.truncate(path, start + frame.nbytes * 8_000)  # 4 GiB, of which the disk holds one frame

    started = time.monotonic()
    assert np.array_equal(pool.decode(path, 0).stored_values, frame)
    assert pool.decode(path, 7_999).stored_values.max() == 0
    assert time.monotonic() - started < 5


# --- what cannot be decoded


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


def test_a_file_that_ends_inside_its_pixel_data_is_refused(write_instance):
    path = write_instance(GRAY16)
    os.truncate(path, path.stat().st_size - 10)

    assert refusal(path) == "the file ends inside its Pixel Data"


def test_fragments_that_end_early_are_refused(write_instance):
    path = write_instance(
        GRAY8, uid.JPEGLSLossless, encapsulate([imagecodecs.jpegls_encode(GRAY8)])
    )
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xfe\xff\x00\xe0") + 4])

    assert refusal(path).startswith("its fragments are malformed")


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Rows": 0}, "Rows is 0"),
        ({"Columns": None}, "Columns is missing"),
        ({"SamplesPerPixel": 4}, "Samples per Pixel is 4"),
        ({"BitsAllocated": 12}, "Bits Allocated is 12"),
        ({"BitsStored": 9}, "Bits Stored is 9"),
        ({"NumberOfFrames": -1}, "Number of Frames is -1"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_by_name(elements, reason, write_instance):
    assert reason in refusal(write_instance(GRAY8, **elements))


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


# --- the pool


def children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if is_decoder(process)]


def is_decoder(process: psutil.Process) -> bool:
    try:
        return "medr1_pacs.decoding.child" in process.cmdline()
    except psutil.Error:  # it ended between the listing and the question
        return False


@pytest.fixture
def own_pool():
    """Only this test's children are to be seen: the module's pool hides behind `before`."""
    before = {child.pid for child in children()}

    def the_child() -> psutil.Process:
        (child,) = (child for child in children() if child.pid not in before)
        return child

    def is_gone() -> bool:
        return {child.pid for child in children()} <= before

    return the_child, is_gone


def test_a_child_starts_when_needed_is_kept_warm_and_goes_with_the_pool(own_pool, write_instance):
    the_child, is_gone = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        assert is_gone()
        pool.decode(path, 0)
        first = the_child().pid
        pool.decode(path, 0)
        assert the_child().pid == first

    assert is_gone()


def test_a_refusal_names_the_frame_and_leaves_the_child_alive(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        with pytest.raises(PixelDataUnusable, match=r"^frame 3: the instance has 1 frames$"):
            pool.decode(path, 2)
        pid = the_child().pid
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)
        assert the_child().pid == pid


class Panic(BaseException):
    """A panic of the Rust RLE decoder is no Exception either."""


@pytest.mark.parametrize("failure", [RuntimeError("Nobody^Must^See"), Panic("Nobody^Must^See")])
def test_a_failure_nobody_foresaw_becomes_a_reply_that_quotes_nothing(failure, monkeypatch):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(child, "decode_frame", fail)

    reply, frame = child.answer({"path": "x", "frame_index": 0, "max_frame_bytes": 1})

    assert reply == {"error": f"the decoder failed with {type(failure).__name__}"}
    assert len(frame) == 0


def test_a_decoder_that_hangs_is_ended_and_replaced(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool(timeout_s=0.3) as pool:
        pool.decode(path, 0)
        the_child().suspend()
        with pytest.raises(PixelDataUnusable, match=r"ended after 0\.3 s"):
            pool.decode(path, 0)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_a_decoder_killed_in_the_middle_costs_one_frame(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        pool.decode(path, 0)
        child = the_child()
        child.suspend()
        killer = threading.Timer(0.2, child.kill)
        killer.start()
        with pytest.raises(PixelDataUnusable, match="died of SIGKILL"):
            pool.decode(path, 0)
        killer.join()
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_an_interrupted_frame_is_never_taken_for_the_next_one(write_instance, monkeypatch):
    path = write_instance(GRAY8)
    header = dcmread(path)
    header.NumberOfFrames, header.PixelData = 2, GRAY8.tobytes() + (255 - GRAY8).tobytes()
    header.save_as(path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with DecoderPool() as pool:
        pool.decode(path, 0)
        with monkeypatch.context() as patch:
            patch.setattr(pool_module, "_read_reply", interrupt)
            with pytest.raises(KeyboardInterrupt):
                pool.decode(path, 0)
        assert np.array_equal(pool.decode(path, 1).stored_values, 255 - GRAY8)


def test_a_child_that_died_while_idle_costs_nothing(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        pool.decode(path, 0)
        child = the_child()
        child.kill()
        # Left unreaped for the pool to find: psutil's wait() would take its exit status.
        while child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_a_frame_that_needs_more_memory_than_the_limit_is_refused(write_instance):
    path = write_instance(GRAY8)
    large = write_instance(GRAY8, Rows=30_000, Columns=30_000)
    content = large.read_bytes()
    start = len(content) - GRAY8.nbytes - 1  # padded to an even length
    large.write_bytes(content[: start - 4] + struct.pack("<I", 900_000_000))
    os.truncate(large, start + 900_000_000)

    limits = {"memory_bytes": 700 * 1024**2, "max_frame_bytes": 1024**3}
    with DecoderPool(**limits) as pool:
        with pytest.raises(PixelDataUnusable, match="more memory than a decoder may have"):
            pool.decode(large, 0)
        path.write_bytes(content.replace(struct.pack("<H", 30_000), struct.pack("<H", 1)))
        assert pool.decode(path, 0).stored_values.shape == (1, 1)


def test_a_child_that_cannot_start_is_tried_again_later(write_instance, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with (
        DecoderPool() as pool,
        pytest.raises(TransientError, match="could not be started: it ended with status 1"),
    ):
        pool.decode(write_instance(GRAY8), 0)


def test_a_file_that_cannot_be_read_is_the_storages_fault(pool, tmp_path):
    with pytest.raises(StorageUnavailable, match="No such file"):
        pool.decode(tmp_path / "absent.dcm", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_does_not_spoil_a_frame(number, own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        pool.decode(path, 0)
        child = the_child()
        child.send_signal(number)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)
        assert the_child().pid == child.pid


def test_children_see_no_setting_of_the_service(own_pool, write_instance, monkeypatch):
    the_child, _ = own_pool
    monkeypatch.setenv("MEDR1_VAULT_URL", "postgresql://user:secret@host/vault")

    with DecoderPool() as pool:
        pool.decode(write_instance(GRAY8), 0)
        assert not [name for name in the_child().environ() if name.startswith("MEDR1_")]


def test_threads_share_the_children(pool, write_instance):
    path = write_instance(GRAY16)
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(pool.decode(path, 0).stored_values))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 4
    assert all(np.array_equal(result, GRAY16) for result in results)


def test_no_child_outlives_a_parent_that_is_killed(write_instance):
    script = (
        "import sys, time, psutil; from pathlib import Path\n"
        "from medr1_pacs.decoding import DecoderPool\n"
        "pool = DecoderPool(); pool.decode(Path(sys.argv[1]), 0)\n"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(write_instance(GRAY8))],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
