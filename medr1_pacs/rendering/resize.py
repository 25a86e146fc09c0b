"""The model's picture: pinned here once, so that no processor resizes it again."""

from __future__ import annotations

import numpy as np
from PIL import Image

TRAINED_PICTURE_PX = 384
"""Width and height to which Med-R1's authors squash every picture, whatever its aspect ratio."""

MODEL_PICTURE_PX = 392
"""The nearest multiple of Qwen2-VL's 28-pixel grid: 14 x 14 vision tokens."""


def draw_model_picture(display: np.ndarray) -> np.ndarray:
    """Squash a display frame as Med-R1 was trained, then bring it to the model's grid.

    Parameters
    ----------
    display
        ``(rows, columns)`` or ``(rows, columns, 3)`` uint8.

    Returns
    -------
    numpy.ndarray
        ``(392, 392, 3)`` uint8, RGB; both steps are Pillow's bicubic.
    """
    picture = Image.fromarray(display).convert("RGB")
    for side_px in (TRAINED_PICTURE_PX, MODEL_PICTURE_PX):
        picture = picture.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(picture)
