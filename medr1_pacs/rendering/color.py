"""Colour frames -> RGB, 8 bits a sample (PS3.3 C.7.6.3.1.2).

A colour object has no VOI: its values are the display values, after a palette or a change of
colour space.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.rendering.functional_groups import find_number
from medr1_pacs.rendering.lut import LookupTable, find_lut

# PS3.3 C.7.6.3.1.2, YBR_FULL, solved for R, G and B; the rows are R, G, B, the columns Y, Cb, Cr.
_YBR_FULL_TO_RGB = np.array(
    [[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], dtype=np.float32
)
_DEFINED_TERMS = frozenset(
    {
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB"),
        *("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"),
    }
)
_CHROMA_ZERO = np.array([0, 128, 128], dtype=np.float32)


def quote_defined_term(photometric_interpretation: str) -> str:
    """Quote a term of PS3.3 C.7.6.3.1.2; anything else could be text that names a patient."""
    if photometric_interpretation in _DEFINED_TERMS:
        return repr(photometric_interpretation)
    return "(not a term of the standard)"


def draw_color(
    stored_values: np.ndarray, header: Dataset, photometric_interpretation: str
) -> np.ndarray:
    """Draw a frame of three samples a pixel.

    Parameters
    ----------
    stored_values
        ``(rows, columns, 3)`` unsigned, whatever Planar Configuration the object had; chroma of
        YBR_FULL_422 at full resolution.
    photometric_interpretation
        Of `stored_values`; a decoder may have changed it from the header's.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns, 3)`` uint8, RGB.

    Raises
    ------
    PixelDataUnusable
        The colour space is not one that the standard still allows.
    """
    bits_stored = int(find_number(header, "BitsStored") or 8 * stored_values.dtype.itemsize)
    values = to_eight_bits(stored_values, min(bits_stored, 8 * stored_values.dtype.itemsize))
    # YBR_ICT and YBR_RCT are undone inside JPEG 2000; a label left over still means RGB.
    if photometric_interpretation in ("RGB", "YBR_ICT", "YBR_RCT"):
        return values
    if photometric_interpretation in ("YBR_FULL", "YBR_FULL_422"):
        rgb = (values - _CHROMA_ZERO) @ _YBR_FULL_TO_RGB.T
        return _clip_to_uint8(np.rint(rgb))
    raise PixelDataUnusable(
        f"Photometric Interpretation {quote_defined_term(photometric_interpretation)} with three"
        " samples a pixel cannot be drawn"
    )


def draw_palette(stored_values: np.ndarray, header: Dataset) -> np.ndarray:
    """Draw a PALETTE COLOR frame through its three lookup tables (PS3.3 C.7.6.3.1.5, C.7.9).

    Parameters
    ----------
    stored_values
        ``(rows, columns)`` integers.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns, 3)`` uint8, RGB.

    Raises
    ------
    PixelDataUnusable
        A table is missing or shorter than its descriptor says.
    """
    channels = []
    for name in ("Red", "Green", "Blue"):
        lut = _find_palette(header, name)
        if lut is None:
            raise PixelDataUnusable(
                f"the {name} Palette Color Lookup Table is missing or malformed"
            )
        channels.append(to_eight_bits(lut.apply(stored_values), lut.bits))
    return np.dstack(channels)


def _find_palette(header: Dataset, name: str) -> LookupTable | None:
    descriptor = f"{name}PaletteColorLookupTableDescriptor"
    plain = f"{name}PaletteColorLookupTableData"
    is_little_endian = header.original_encoding[1] is not False
    return find_lut(header, descriptor, plain, is_little_endian=is_little_endian) or find_lut(
        header, descriptor, f"Segmented{plain}", segmented=True, is_little_endian=is_little_endian
    )


def to_eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale unsigned values of 1 to 32 bits to uint8: the top eight bits, or up to 255."""
    if bits > 8:
        values = values >> (bits - 8)
    elif bits < 8:
        values = values.astype(np.uint16) * 255 // ((1 << bits) - 1)
    return _clip_to_uint8(values)


def _clip_to_uint8(values: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(values, 0, 255).astype(np.uint8)
    return clipped
