"""Which end of the grayscale is bright (PS3.3 C.7.6.3.1.2 and C.11.6)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import find_value


def apply_presentation(
    display: np.ndarray, header: Dataset, photometric_interpretation: str
) -> np.ndarray:
    """Invert display values (uint8, any shape) where `is_inverted` says so."""
    return 255 - display if is_inverted(header, photometric_interpretation) else display


def is_inverted(header: Dataset, photometric_interpretation: str) -> bool:
    """Tell whether low values are bright: MONOCHROME1, or Presentation LUT Shape INVERSE.

    Digital X-ray objects say both of the same picture, so both together invert once.
    """
    shape = find_value(header, "PresentationLUTShape")
    return photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"
