import os
import struct
import time

import numpy as np
import pytest
from pydicom import dcmread, uid
from unit.decoding.helpers import GRAY16, MAX_FRAME_BYTES, RGB8, decode, refusal

from medr1_pacs.decoding.frames import decode_frame


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
    frames = np.random.default_rng(2026).integers(0, 2, (3, 5, 7)).astype(np.uint8)
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


def test_a_file_that_ends_inside_its_pixel_data_is_refused(write_instance):
    path = write_instance(GRAY16)
    os.truncate(path, path.stat().st_size - 10)

    assert refusal(path) == "the file ends inside its Pixel Data"
