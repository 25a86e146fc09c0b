import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from medr1_pacs.rendering.functional_groups import find_items, find_macro, find_number

MACRO = "PixelValueTransformationSequence"


def groups(slope: float) -> Dataset:
    item, group = Dataset(), Dataset()
    item.RescaleSlope = slope
    setattr(group, MACRO, [item])
    return group


def slope_of(header: Dataset, frame_index: int) -> float | None:
    return find_number(find_macro(header, frame_index, MACRO), "RescaleSlope")


def test_a_frames_own_group_wins_over_the_shared_one_and_the_top_level():
    header = Dataset()
    header.RescaleSlope = 1
    header.SharedFunctionalGroupsSequence = [groups(2)]
    header.PerFrameFunctionalGroupsSequence = [groups(3), groups(4)]

    assert [slope_of(header, 0), slope_of(header, 1)] == [3, 4]


def test_the_shared_group_stands_in_for_a_frame_without_the_macro():
    header = Dataset()
    header.SharedFunctionalGroupsSequence = [groups(2)]
    header.PerFrameFunctionalGroupsSequence = [Dataset()]

    assert slope_of(header, 0) == 2
    assert slope_of(header, 7) == 2


def test_a_classic_object_answers_from_its_top_level():
    header = Dataset()
    header.RescaleSlope = 1

    assert slope_of(header, 0) == 1


def test_values_that_are_no_number_count_as_absent():
    header = Dataset()
    header.add_new("WindowCenter", "LO", "forty")
    header.RescaleSlope = None
    header.add_new("RescaleIntercept", "FD", float("nan"))

    keywords = ("WindowCenter", "RescaleSlope", "RescaleIntercept", "WindowWidth")
    assert [find_number(header, keyword) for keyword in keywords] == [None] * 4


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [("WindowCenter", "DS", b"4O"), ("PixelPaddingValue", "US", b"abc"), ("Rows", "??", b"ab")],
)
def test_bytes_that_do_not_convert_count_as_absent(keyword, vr, value):
    header = Dataset()
    tag = Tag(keyword)
    header[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)

    assert find_number(header, keyword) is None


def test_the_first_of_several_values_is_taken():
    header = Dataset()
    header.WindowCenter = [40, 300]

    assert find_number(header, "WindowCenter") == 40


def test_an_element_that_is_no_sequence_has_no_items():
    header = Dataset()
    header.add_new("ModalityLUTSequence", "LO", "not a sequence")

    assert find_items(header, "ModalityLUTSequence") == []
