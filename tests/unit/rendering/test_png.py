from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medr1_pacs.rendering import encode_png


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels_and_nothing_else(shape):
    display = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)

    encoded = encode_png(display)

    with Image.open(BytesIO(encoded)) as picture:
        assert np.array_equal(np.asarray(picture), display)
        assert picture.info == {}


def test_equal_pictures_have_equal_bytes():
    display = np.full((20, 20, 3), 9, np.uint8)

    assert encode_png(display) == encode_png(display.copy())
