import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from medr1_pacs.rendering.lut import expand_segments, find_lut


def lut_item(descriptor: object, data: object, data_vr: str = "OW") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if min(descriptor) >= 0 else "SS", descriptor)
    item.add_new("LUTData", data_vr, data)
    return item


def find(item: Dataset, **options: bool):
    return find_lut(item, "LUTDescriptor", "LUTData", **options)


def test_values_outside_a_table_take_its_ends():
    lut = find(lut_item([3, 10, 16], struct.pack("<3H", 100, 200, 300)))

    outputs = lut.apply(np.array([-5, 9, 10, 11, 12, 13, 60000]))

    assert outputs.tolist() == [100, 100, 100, 200, 300, 300, 300]


def test_a_table_may_begin_below_zero():
    lut = find(lut_item([2, -1, 8], [7, 9], "US"))

    assert lut.apply(np.array([-1.2, -0.4])).tolist() == [7, 9]


def test_a_count_of_zero_means_65536_entries():
    lut = find(lut_item([0, 0, 16], np.arange(65536, dtype="<u2").tobytes()))

    assert lut.apply(np.array([0, 65535])).tolist() == [0, 65535]


def test_eight_bit_entries_may_come_packed_two_in_a_word():
    lut = find(lut_item([3, 0, 8], b"\x01\x02\x03\x00"))

    assert lut.entries.tolist() == [1, 2, 3]


def test_entries_of_a_big_endian_file_are_read_as_such():
    lut = find(lut_item([2, 0, 16], struct.pack(">2H", 1, 2)), is_little_endian=False)

    assert lut.entries.tolist() == [1, 2]


def test_entries_that_exceed_the_descriptors_bits_are_taken_as_sixteen_bits():
    assert find(lut_item([2, 0, 8], struct.pack("<2H", 0, 65535))).bits == 16


@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        lut_item([4, 0, 16], struct.pack("<2H", 1, 2)),
        lut_item([2, 0, 0], struct.pack("<2H", 1, 2)),
        lut_item([2, 0], struct.pack("<2H", 1, 2)),
        lut_item([2, 0, 16], "no table", "LO"),
    ],
    ids=["absent", "short", "no bits", "short descriptor", "text"],
)
def test_a_table_that_contradicts_itself_is_none(item):
    assert find(item) is None


def test_discrete_and_linear_segments_expand():
    # two discrete entries, then a line of four up to 50 (PS3.3 C.7.9.2.1 and C.7.9.2.2)
    words = [0, 2, 7, 10, 1, 4, 50]

    assert expand_segments(words, 6, bytes_per_word=2).tolist() == [7, 10, 20, 30, 40, 50]


def test_an_indirect_segment_repeats_segments_at_a_byte_offset():
    # the line at word 3, byte 6, is drawn again from where the first one ended
    words = [0, 1, 0, 1, 2, 10, 2, 1, 6, 0]

    assert expand_segments(words, 5, bytes_per_word=2).tolist() == [0, 5, 10, 10, 10]


def test_an_indirect_segment_in_eight_bit_words_has_a_four_byte_offset():
    words = [0, 2, 1, 9, 2, 1, 0, 0, 0, 0]

    assert expand_segments(words, 4, bytes_per_word=1).tolist() == [1, 9, 1, 9]


@pytest.mark.parametrize("words", [[1, 4, 50], [9, 1, 1], [2, 1, 0, 0], [0, 1]])
def test_malformed_segments_expand_to_too_few_entries(words):
    assert len(expand_segments(words, 4, bytes_per_word=2)) < 4


@given(st.lists(st.integers(0, 3) | st.integers(0, 65535), max_size=40), st.sampled_from([1, 2]))
def test_no_segments_expand_beyond_the_count(words, bytes_per_word):
    words = [word & 0xFF for word in words] if bytes_per_word == 1 else words

    assert len(expand_segments(words, 256, bytes_per_word=bytes_per_word)) <= 256
