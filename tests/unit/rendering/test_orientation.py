import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from medr1_pacs.rendering.orientation import Orientation, find_orientation


def dataset(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("cosines", "sides"),
    [
        ([1, 0, 0, 0, 1, 0], Orientation("R", "L", "A", "P")),
        ([0, 1, 0, 0, 0, -1], Orientation("A", "P", "H", "F")),
        ([1, 0, 0, 0, 0, -1], Orientation("R", "L", "H", "F")),
        ([0.8, 0.6, 0, 0, 0, -1], Orientation("RA", "LP", "H", "F")),
        ([0.99, 0.14, 0, 0, 0, -1], Orientation("R", "L", "H", "F")),
    ],
    ids=["axial", "sagittal", "coronal", "oblique", "nearly coronal"],
)
def test_the_cosines_name_the_sides(cosines, sides):
    assert find_orientation(dataset(ImageOrientationPatient=cosines)) == sides


def test_the_sides_of_an_enhanced_object_are_the_frames():
    groups = [
        dataset(PlaneOrientationSequence=Sequence([dataset(ImageOrientationPatient=cosines)]))
        for cosines in ([1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0])
    ]
    header = dataset(PerFrameFunctionalGroupsSequence=Sequence(groups))

    assert find_orientation(header, 1) == Orientation("L", "R", "A", "P")


def test_a_projection_names_its_sides():
    header = dataset(PatientOrientation=["L", "FP"])

    assert find_orientation(header) == Orientation("R", "L", "HA", "FP")


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]},
        {"PatientOrientation": ["L"]},
        {"PatientOrientation": ["L", "DOE"]},
        {"PatientOrientation": ["L", "F"], "AnatomicalOrientationType": "QUADRUPED"},
    ],
    ids=["silent", "half", "no direction", "one word", "no sides", "an animal"],
)
def test_sides_that_are_not_said_are_none(elements):
    assert find_orientation(dataset(**elements)) is None
