import numpy as np
import pytest

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES, make_phantom
from medr1_pacs.records.words import Modality

every_modality = pytest.mark.parametrize("modality", list(Modality))


@every_modality
def test_a_seed_always_draws_the_same_picture(modality):
    first, again, other = (make_phantom(modality, seed) for seed in (3, 3, 4))

    assert np.array_equal(first.display, again.display)
    assert first.marker_box == again.marker_box
    assert first.display.shape != other.display.shape or np.any(first.display != other.display)


@every_modality
def test_a_picture_is_eight_bit_and_of_readable_size(modality):
    display = make_phantom(modality, 5).display

    assert display.dtype == np.uint8
    assert all(256 <= side <= 512 for side in display.shape[:2])


@every_modality
@pytest.mark.parametrize("seed", range(6))
def test_the_marker_lies_wholly_inside_its_quadrant(modality, seed):
    phantom = make_phantom(modality, seed)
    plain = make_phantom(modality, seed, marker=False)

    changed = np.atleast_3d(phantom.display != plain.display).any(axis=2)
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    vertical = "Upper" if rows.max() < height / 2 else "Lower"
    horizontal = "left" if columns.max() < width / 2 else "right"
    assert phantom.marker_quadrant == f"{vertical} {horizontal}"
    assert rows.min() >= height / 2 or vertical == "Upper"
    assert columns.min() >= width / 2 or horizontal == "left"


@every_modality
def test_the_marker_box_frames_what_the_marker_changes(modality):
    phantom = make_phantom(modality, 8)
    plain = make_phantom(modality, 8, marker=False)

    changed = np.atleast_3d(phantom.display != plain.display).any(axis=2)
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    left, top, right, bottom = phantom.marker_box
    assert columns.min() / width == pytest.approx(left, abs=0.04)
    assert columns.max() / width == pytest.approx(right, abs=0.04)
    assert rows.min() / height == pytest.approx(top, abs=0.04)
    assert rows.max() / height == pytest.approx(bottom, abs=0.04)


def test_seeds_reach_every_shape_and_quadrant():
    phantoms = [make_phantom(Modality.MRI, seed) for seed in range(40)]

    assert {phantom.marker_shape for phantom in phantoms} == set(MARKER_SHAPES)
    assert {phantom.marker_quadrant for phantom in phantoms} == set(MARKER_QUADRANTS)


def test_slices_of_a_stack_differ_but_keep_the_marker():
    middle = make_phantom(Modality.CT, 2)
    end = make_phantom(Modality.CT, 2, slice_offset=1.0)

    assert np.any(middle.display != end.display)
    assert (middle.marker_shape, middle.marker_box) == (end.marker_shape, end.marker_box)


def test_a_phantom_without_marker_states_none():
    phantom = make_phantom(Modality.OCT, 1, marker=False)

    assert (phantom.marker_shape, phantom.marker_quadrant, phantom.marker_box) == (None,) * 3
