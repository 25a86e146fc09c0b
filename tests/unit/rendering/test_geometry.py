import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from medr1_pacs.rendering.geometry import (
    Spacing,
    SpacingKind,
    find_frame_rate,
    find_pixel_aspect,
    find_spacing,
)


def dataset(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def region(**changes: object) -> Dataset:
    elements = {
        "RegionSpatialFormat": 1,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.02,
        "PhysicalDeltaY": -0.03,
    }
    return dataset(**elements | changes)


def test_pixel_spacing_is_between_rows_first():
    header = dataset(Modality="CT", PixelSpacing=[0.5, 0.7])

    assert find_spacing(header) == Spacing(0.5, 0.7, SpacingKind.PATIENT)


def test_the_spacing_of_an_enhanced_object_is_the_frames():
    groups = [
        dataset(PixelMeasuresSequence=Sequence([dataset(PixelSpacing=[side, side])]))
        for side in (1, 2)
    ]
    header = dataset(PerFrameFunctionalGroupsSequence=Sequence(groups))

    assert find_spacing(header, 1) == Spacing(2, 2, SpacingKind.PATIENT)


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"ImagerPixelSpacing": [0.2, 0.2]}, Spacing(0.2, 0.2, SpacingKind.DETECTOR)),
        ({"PixelSpacing": [0.2, 0.2]}, Spacing(0.2, 0.2, SpacingKind.DETECTOR)),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.1, 0.1]},
            Spacing(0.2, 0.2, SpacingKind.DETECTOR),
        ),
        (
            {
                "ImagerPixelSpacing": [0.2, 0.2],
                "PixelSpacing": [0.1, 0.1],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            Spacing(0.1, 0.1, SpacingKind.PATIENT),
        ),
    ],
    ids=["of the imager", "of whom", "of both", "calibrated"],
)
def test_a_projection_measures_on_the_detector_unless_it_was_calibrated(elements, spacing):
    assert find_spacing(dataset(Modality="DX", **elements)) == spacing


def test_an_ultrasound_picture_of_one_region_measures_by_it():
    header = dataset(SequenceOfUltrasoundRegions=Sequence([region()]))

    spacing = find_spacing(header)

    assert spacing.kind is SpacingKind.ULTRASOUND_REGION
    assert (spacing.rows_mm, spacing.columns_mm) == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [region(), region()],
        [region(PhysicalUnitsXDirection=4)],
        [region(RegionSpatialFormat=2)],
        [region(PhysicalDeltaX=0)],
    ],
    ids=["none", "two", "seconds", "M-mode", "no width"],
)
def test_other_ultrasound_pictures_are_not_measured(regions):
    assert find_spacing(dataset(SequenceOfUltrasoundRegions=Sequence(regions))) is None


@pytest.mark.parametrize("value", [[0, 1], [-1, 1], [0.5], [1e-9, 1], [1, 1e9], None])
def test_a_spacing_that_no_pixel_has_is_none(value):
    assert find_spacing(dataset(PixelSpacing=value)) is None


@pytest.mark.parametrize(
    ("elements", "aspect"),
    [
        ({}, 1),
        ({"PixelSpacing": [1, 2]}, 0.5),
        ({"PixelAspectRatio": [3, 2]}, 1.5),
        ({"PixelSpacing": [1, 2], "PixelAspectRatio": [3, 2]}, 0.5),
        ({"PixelAspectRatio": [0, 1]}, 1),
    ],
)
def test_a_pixel_is_as_high_as_its_spacing_or_its_ratio_says(elements, aspect):
    assert find_pixel_aspect(dataset(**elements)) == aspect


@pytest.mark.parametrize(
    ("elements", "rate"),
    [
        ({}, None),
        ({"FrameTime": 40}, 25),
        ({"FrameTime": 0}, None),
        ({"CineRate": 15, "FrameTime": 40}, 15),
        ({"RecommendedDisplayFrameRate": 30, "CineRate": 15}, 30),
        ({"RecommendedDisplayFrameRate": 0, "CineRate": 15}, 15),
    ],
)
def test_the_frame_rate_is_the_recommended_one_first(elements, rate):
    assert find_frame_rate(dataset(**elements)) == rate
