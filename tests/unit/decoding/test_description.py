import pytest
from unit.decoding.helpers import GRAY8, refusal


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
