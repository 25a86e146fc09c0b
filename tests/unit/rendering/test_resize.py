import numpy as np
import pytest
from PIL import Image

from medr1_pacs.rendering import MODEL_PICTURE_PX, draw_model_picture


@pytest.mark.parametrize("shape", [(1, 1), (10, 700), (512, 512), (60, 80, 3)])
def test_every_frame_becomes_a_square_rgb_picture_on_the_grid(shape):
    picture = draw_model_picture(np.zeros(shape, np.uint8))

    assert (picture.shape, picture.dtype) == ((392, 392, 3), np.uint8)
    assert MODEL_PICTURE_PX % 28 == 0


def test_the_picture_is_squashed_to_384_before_it_is_brought_to_392():
    frame = np.random.default_rng(1).integers(0, 256, (300, 500)).astype(np.uint8)

    squashed = Image.fromarray(frame).convert("RGB").resize((384, 384), Image.Resampling.BICUBIC)
    expected = squashed.resize((392, 392), Image.Resampling.BICUBIC)

    assert np.array_equal(draw_model_picture(frame), np.asarray(expected))


def test_the_left_half_stays_on_the_left():
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[:, :10, 0] = 255

    picture = draw_model_picture(frame)

    assert picture[200, 50].tolist() == [255, 0, 0]
    assert picture[200, 340].tolist() == [0, 0, 0]
