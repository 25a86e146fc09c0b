"""Turn the stored pixel values of one frame into the picture that a reader and the model see.

    stored values -> modality values -> VOI -> presentation -> uint8 -> the pinned model picture

    functional_groups.py  where a frame's elements are: per frame, shared, or top level
    lut.py                lookup tables in an object, linear and segmented
    modality_lut.py       stored values -> modality values (HU for CT)
    padding.py            which stored values are no picture
    voi.py                modality values -> display values, by window or VOI LUT
    presentation.py       MONOCHROME1 and INVERSE
    color.py              PALETTE COLOR, YBR and RGB -> RGB
    resize.py             display values -> the model's picture
    png.py                uint8 -> PNG bytes
    frame.py              the steps above in their order, and the recipe that names them
    geometry.py           how large a pixel is, and how fast frames follow each other
    orientation.py        which side of the patient each edge is
    reader_frame.py       stored values -> what a reader's browser windows, equal to frame.py
    reader_message.py     that as bytes

Pure functions: no files, no database, no settings, and the Dataset is never written to.
"""

from medr1_pacs.rendering.frame import RENDERER_VERSION, DisplayFrame, recipe_of, render_frame
from medr1_pacs.rendering.png import encode_png, hash_pixels
from medr1_pacs.rendering.reader_frame import ReaderFrame, build_reader_frame
from medr1_pacs.rendering.reader_message import encode_frame
from medr1_pacs.rendering.resize import MODEL_PICTURE_PX, draw_model_picture

__all__ = [
    "MODEL_PICTURE_PX",
    "RENDERER_VERSION",
    "DisplayFrame",
    "ReaderFrame",
    "build_reader_frame",
    "draw_model_picture",
    "encode_frame",
    "encode_png",
    "hash_pixels",
    "recipe_of",
    "render_frame",
]
