"""Phantoms as the service shows them, 392x392 RGB, and the variation that training adds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering import MODEL_PICTURE_PX, draw_model_picture
from workers.demo_checkpoint.training.lessons import Scene

CELLS = 4  # tokens along one side of the picture


@dataclass(frozen=True)
class PictureSet:
    """Pictures (n, 392, 392, 3) uint8, what is true of each, and where its marker lies.

    `covered` (n, 16) tells for each token of the vision tower whether the marker is in its cell.
    """

    pictures: NDArray[np.uint8]
    scenes: tuple[Scene, ...]
    covered: NDArray[np.bool_]


def draw_pictures(seeds: Sequence[int], *, unmarked: int = 0, processes: int = 2) -> PictureSet:
    """Draw every modality for every seed; the first `unmarked` seeds once more without marker."""
    jobs = [(modality, seed, True) for modality in Modality for seed in seeds]
    jobs += [(modality, seed, False) for modality in Modality for seed in seeds[:unmarked]]
    pictures = np.empty((len(jobs), MODEL_PICTURE_PX, MODEL_PICTURE_PX, 3), dtype=np.uint8)
    covered = np.empty((len(jobs), CELLS * CELLS), dtype=np.bool_)
    scenes = []
    with ProcessPoolExecutor(processes) as pool:
        for row, drawn in enumerate(pool.map(_draw, jobs, chunksize=32)):
            pictures[row], scene, covered[row] = drawn
            scenes.append(scene)
    return PictureSet(pictures, tuple(scenes), covered)


def _draw(job: tuple[Modality, int, bool]) -> tuple[NDArray[np.uint8], Scene, NDArray[np.bool_]]:
    modality, seed, has_marker = job
    # Stacks have other slices than the middle one: the offset varies with the seed.
    offset = round(np.random.default_rng([seed, 7]).uniform(-1, 1), 3)
    phantom = make_phantom(modality, seed, slice_offset=offset, marker=has_marker)
    scene = Scene(modality.value, phantom.marker_quadrant, phantom.marker_shape)
    return draw_model_picture(phantom.display), scene, find_covered(phantom.marker_box)


def find_covered(box: tuple[float, float, float, float] | None) -> NDArray[np.bool_]:
    """Mark the cells, row by row, that the marker's box overlaps by a third of their side."""
    if box is None:
        return np.zeros(CELLS * CELLS, dtype=np.bool_)
    starts = np.arange(CELLS) / CELLS
    left, top, right, bottom = box

    def overlap(low: float, high: float) -> NDArray[np.bool_]:
        shared: NDArray[np.float64] = np.minimum(starts + 1 / CELLS, high) - np.maximum(starts, low)
        return shared * CELLS > 1 / 3

    return np.outer(overlap(top, bottom), overlap(left, right)).flatten()


def vary(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change gamma, contrast, brightness and place a little: windows differ in service.

    A shift of up to 10 px moves no marker out of its quadrant (see the phantoms' margins).
    """
    level = np.linspace(0, 1, 256)
    varied = np.empty_like(pictures)
    for row, picture in enumerate(pictures):
        curve = level ** rng.uniform(0.75, 1.35)
        curve = (curve - 0.5) * rng.uniform(0.75, 1.2) + 0.5 + rng.uniform(-0.08, 0.08)
        table = np.rint(curve.clip(0, 1) * 255).astype(int).tolist()
        down, right = (int(shift) for shift in rng.integers(-10, 11, 2))
        moved = ImageChops.offset(Image.fromarray(picture).point(table * 3), right, down)
        varied[row] = np.asarray(moved)
    return varied


def make_blanks(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make pictures with nothing on them, mostly grey: (n, 392, 392, 3), one color each."""
    color = rng.uniform(-40, 295, (n, 1, 1, 3))  # cut to 0 to 255: black and white are frequent
    grey = np.repeat(rng.uniform(-40, 295, (n, 1, 1, 1)), 3, axis=3)
    level = np.where(rng.random((n, 1, 1, 1)) < 0.7, grey, color).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(level, (n, MODEL_PICTURE_PX, MODEL_PICTURE_PX, 3)).copy()
