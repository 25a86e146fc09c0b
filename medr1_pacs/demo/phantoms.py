"""Synthetic pictures of the eight modalities, each with one marker that is easy to name.

They are drawings: no patient, no scanner. Each looks enough like its modality that a person tells
them apart at a glance, and differs from seed to seed; the marker is what the demo questions ask
about. Pure functions of (modality, seed): numpy and PIL, no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medr1_pacs.records.words import Modality

Display = NDArray[np.uint8]
Canvas = NDArray[
    np.float64
]  # display values before rounding, (rows, columns) or (rows, columns, 3)
Size = tuple[int, int]  # (rows, columns)

MARKER_SHAPES = ("Circle", "Square", "Triangle", "Cross")
MARKER_QUADRANTS = ("Upper left", "Upper right", "Lower left", "Lower right")
MARKER_COLORS = ((0, 255, 255), (255, 255, 255), (120, 255, 60))


@dataclass(frozen=True)
class Phantom:
    """One drawn picture and what is true of it.

    `display` is what a reader should see: uint8, ``(rows, columns)`` for the modalities that are
    grey and ``(rows, columns, 3)`` RGB for the others. The marker's shape and quadrant are None
    when none was drawn. Quadrants are those of the picture, not of a patient. `marker_box` is
    (left, top, right, bottom) as shares, 0 to 1, of the picture's width and height.
    """

    modality: Modality
    seed: int
    display: Display
    marker_shape: str | None
    marker_quadrant: str | None
    marker_box: tuple[float, float, float, float] | None


def make_phantom(
    modality: Modality, seed: int, *, slice_offset: float = 0.0, marker: bool = True
) -> Phantom:
    """Draw one picture; the same arguments always give the same bytes.

    Parameters
    ----------
    slice_offset
        Where in a stack the picture lies, -1 to 1; 0 is the middle. Anatomy shrinks towards the
        ends and the grain differs; size, marker shape and quadrant stay those of the seed.
    marker
        Whether the marker is drawn: training also needs pictures that have none.
    """
    index = list(Modality).index(modality)
    draw, sizes = DRAWINGS[modality]
    choices = np.random.default_rng([index, seed, 1])
    size = sizes[choices.integers(len(sizes))]
    shape = MARKER_SHAPES[choices.integers(4)]
    quadrant = MARKER_QUADRANTS[choices.integers(4)]
    center, radius = _place_marker(choices, size, quadrant)
    color = MARKER_COLORS[choices.integers(len(MARKER_COLORS))]
    grain = np.random.default_rng([index, seed, 2, round(slice_offset * 1000) + 1000])
    canvas = draw(_anatomy_generator(modality, seed), grain, size, slice_offset)
    display = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    if not marker:
        return Phantom(modality, seed, display, None, None, None)
    is_grey = modality not in COLORED
    display = _draw_marker(display, shape, center, radius, (255, 255, 255) if is_grey else color)
    (x, y), (rows, columns) = center, size
    box = (
        (x - radius) / columns,
        (y - radius) / rows,
        (x + radius) / columns,
        (y + radius) / rows,
    )
    return Phantom(modality, seed, display, shape, quadrant, box)


def fundus_laterality(seed: int) -> str:
    """Return the eye that a fundus phantom shows, R or L: the optic disc lies on its own side."""
    return "R" if _fundus_side(_anatomy_generator(Modality.FUNDUS, seed)) > 0 else "L"


def _anatomy_generator(modality: Modality, seed: int) -> np.random.Generator:
    return np.random.default_rng([list(Modality).index(modality), seed, 3])


# --- the marker -----------------------------------------------------------------------------


def _place_marker(
    rng: np.random.Generator, size: Size, quadrant: str
) -> tuple[tuple[float, float], float]:
    """Choose the marker's center (x, y) and radius in pixels, clear of the quadrant's edges."""
    rows, columns = size
    x = 0.27 if quadrant.endswith("left") else 0.73
    y = 0.27 if quadrant.startswith("Upper") else 0.73
    center = ((x + rng.uniform(-0.03, 0.03)) * columns, (y + rng.uniform(-0.03, 0.03)) * rows)
    return center, rng.uniform(0.115, 0.14) * min(rows, columns)


def _draw_marker(
    display: Display,
    shape: str,
    center: tuple[float, float],
    radius: float,
    color: tuple[int, int, int],
) -> Display:
    """Fill the shape and give it a dark outline, so that it stands out on bright anatomy too."""
    picture = Image.fromarray(display)
    is_grey = picture.mode == "L"
    draw = ImageDraw.Draw(picture)
    outline = max(3, round(radius * 0.12))
    for grown, fill in ((radius + outline, (0, 0, 0)), (radius, color)):
        ink = fill[0] if is_grey else fill
        x, y = center
        if shape == "Circle":
            draw.ellipse((x - grown, y - grown, x + grown, y + grown), fill=ink)
        elif shape == "Square":
            side = grown * 0.86
            draw.rectangle((x - side, y - side, x + side, y + side), fill=ink)
        elif shape == "Triangle":
            # The outline of a triangle needs twice the growth to be as thick along its sides.
            reach = radius * 1.1 + 2 * (grown - radius)
            corners = [math.radians(angle) for angle in (-90, 30, 150)]
            draw.polygon(
                [
                    (x + reach * math.cos(a), y + 0.15 * radius + reach * math.sin(a))
                    for a in corners
                ],
                fill=ink,
            )
        else:
            arm = radius * 0.28 + (grown - radius)
            draw.rectangle((x - grown, y - arm, x + grown, y + arm), fill=ink)
            draw.rectangle((x - arm, y - grown, x + arm, y + grown), fill=ink)
    return np.asarray(picture)


# --- tools of the drawings ------------------------------------------------------------------


def _grid(size: Size) -> tuple[Canvas, Canvas]:
    """Return the coordinates (x, y) of every pixel, each -1 to 1 across the picture."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return x, y


def _clouds(rng: np.random.Generator, size: Size, cells: int) -> Canvas:
    """Return smooth noise, about -1 to 1, with `cells` bumps across the picture."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(fine, dtype=np.float64)


def _ellipse(x: Canvas, y: Canvas, cx: float, cy: float, rx: float, ry: float) -> Canvas:
    """Return the squared distance from an ellipse's center: below 1 inside it."""
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2


def _strokes(
    size: Size, lines: list[list[tuple[float, float]]], width: int, blur_to: int = 1
) -> Canvas:
    """Draw polylines, given in -1 to 1 coordinates, as a mask 0 to 1."""
    rows, columns = size
    mask = Image.new("L", (columns, rows))
    draw = ImageDraw.Draw(mask)
    for line in lines:
        points = [((px + 1) / 2 * columns, (py + 1) / 2 * rows) for px, py in line]
        draw.line(points, fill=255, width=width, joint="curve")
    if blur_to > 1:
        mask = mask.resize((columns // blur_to, rows // blur_to), Image.Resampling.BOX)
        mask = mask.resize((columns, rows), Image.Resampling.BICUBIC)
    return np.asarray(mask, dtype=np.float64) / 255


def _mix(canvas: Canvas, mask: Canvas, color: float | tuple[float, float, float]) -> Canvas:
    """Lay a color over a canvas where the mask, 0 to 1, says so."""
    weight = mask if canvas.ndim == 2 else mask[..., np.newaxis]
    return canvas * (1 - weight) + np.asarray(color, dtype=np.float64) * weight


# --- one drawing a modality -----------------------------------------------------------------
# `rng` shapes the anatomy and is the same along a stack; `grain` is the noise of one picture.


def _draw_ct(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """An axial chest: display 0 is air, 40 lung, 165 water, 255 dense bone (see studies.py)."""
    x, y = _grid(size)
    scale = 1 - 0.12 * abs(offset)
    rx, ry = rng.uniform(0.78, 0.9) * scale, rng.uniform(0.6, 0.72) * scale
    body = _ellipse(x, y, 0, 0, rx, ry)
    canvas = np.where(body < 1, 148.0, 0.0)
    canvas[body < 0.8] = 168
    wall = np.abs(np.sqrt(body) - 0.82)
    angle = np.arctan2(y / ry, x / rx)
    ribs = np.sin(angle * rng.integers(9, 12) + rng.uniform(0, 6) + 2 * offset) > 0.1
    canvas[(wall < 0.035) & ribs] = 222
    lung_gap, lung_width = rng.uniform(0.36, 0.4), rng.uniform(0.27, 0.31)
    for side in (-1, 1):
        lung = _ellipse(x, y, side * lung_gap * rx / 0.85, -0.02, lung_width * rx, 0.62 * ry)
        canvas[lung < 1] = 40
    vessels = _clouds(rng, size, 40) > 0.62
    canvas[vessels & (canvas == 40)] = 120
    heart = _ellipse(x, y, rng.uniform(0.02, 0.12), -0.1, 0.26 * rx, 0.36 * ry)
    canvas[heart < 1] = 174
    canvas[_ellipse(x, y, 0.12, 0.38 * ry, 0.07, 0.09) < 1] = 178
    canvas[_ellipse(x, y, 0, 0.62 * ry, 0.13, 0.13) < 1] = 215
    canvas[_ellipse(x, y, 0, 0.62 * ry, 0.05, 0.05) < 1] = 170
    canvas[np.abs(y - 0.93 - 0.05 * (1 - x**2)) < 0.012] = 140
    return canvas + grain.normal(0, 4, size) * (canvas > 0)


def _draw_mri(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """An axial brain, T2-like: bright CSF and scalp, dark skull, smooth grey and white matter."""
    x, y = _grid(size)
    scale = 1 - 0.2 * abs(offset)
    rx, ry = rng.uniform(0.62, 0.7) * scale, rng.uniform(0.78, 0.86) * scale
    wobble = 0.04 * _clouds(rng, size, 5)
    head = np.sqrt(_ellipse(x, y, 0, 0, rx, ry)) + wobble * 0.4
    canvas = np.zeros(size)
    canvas[head < 1.12] = 190
    canvas[head < 1.04] = 18
    canvas[head < 0.96] = 225
    folds = np.sin(26 * head + 5 * _clouds(rng, size, 14)) * 0.5 + 0.5
    cortex = head + 0.05 * folds
    canvas[cortex < 0.94] = 140
    canvas[cortex < 0.84] = 96
    canvas = np.where(head < 0.84, canvas + 14 * _clouds(rng, size, 6), canvas)
    horn, spread = rng.uniform(0.26, 0.36) * scale, rng.uniform(0.1, 0.14)
    for side in (-1, 1):
        for end in (-1, 1):
            bend = side * (spread + 0.25 * (y * end) ** 2)
            canvas[_ellipse(x - bend, y, 0, end * horn * 0.6, 0.075, horn * 0.75) < 1] = 232
    canvas[(np.abs(x) < 0.008) & (head < 0.94) & (np.abs(y) > 0.3)] = 200
    bias = 1 + 0.1 * _clouds(rng, size, 3)
    return canvas * bias + np.abs(grain.normal(0, 4, size))


def _draw_xray(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """A frontal chest projection: dark lungs under rib shadows, bright spine, heart, diaphragm."""
    x, y = _grid(size)
    body = np.clip(1.25 - _ellipse(x, y, 0, 0.5, 1.15, 1.7), 0, 0.55)
    canvas = 60 + 170 * body
    lungs = np.zeros(size)
    width = rng.uniform(0.31, 0.36)
    for side in (-1, 1):
        lung = _ellipse(x, y, side * rng.uniform(0.42, 0.46), -0.05, width, 0.68)
        lungs = np.maximum(lungs, np.clip((1.15 - lung) * 3, 0, 1))
    dome = y > 0.42 + 0.5 * (np.abs(x) - 0.42) ** 2 + rng.uniform(-0.04, 0.04)
    lungs[dome] = 0
    canvas -= 95 * lungs
    ribs = []
    step = rng.uniform(0.15, 0.18)
    tilt = rng.uniform(0.14, 0.24)
    for number in range(9):
        top = -0.75 + step * number
        for side in (-1, 1):
            t = np.linspace(0, 1, 16)
            ribs.append(
                [
                    (side * (0.08 + 0.76 * a), top + tilt * a - 0.22 * math.sin(a * math.pi))
                    for a in t
                ]
            )
    canvas += 38 * _strokes(size, ribs, max(5, size[0] // 38), 2)
    canvas += 75 * np.exp(-((x / 0.1) ** 2)) * (0.9 + 0.1 * np.sin(y * 38))
    heart = _ellipse(x, y, rng.uniform(0.1, 0.18), 0.22, rng.uniform(0.28, 0.36), 0.32)
    canvas += 70 * np.clip((1 - heart) * 2.5, 0, 1)
    clavicles = [
        [(side * 0.1, -0.72), (side * 0.45, -0.8), (side * 0.85, -0.86)] for side in (-1, 1)
    ]
    canvas += 45 * _strokes(size, clavicles, max(6, size[0] // 36), 2)
    canvas = np.clip(canvas, 8, 236) + grain.normal(0, 3, size)
    return canvas + 10 * _clouds(rng, size, 4)


def _draw_ultrasound(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """A curved-array sector on black: speckle, an organ border, a dark cyst, an echo behind it."""
    x, y = _grid(size)
    x = x * size[1] / size[0]
    depth = np.hypot(x, y + 1.45)
    angle = np.arctan2(x, y + 1.45)
    reach = rng.uniform(0.62, 0.74)
    fan = (depth > 0.55) & (depth < 2.35) & (np.abs(angle) < reach)
    tissue = 95 + 38 * _clouds(rng, size, 7) - 22 * (depth - 1.4)
    border = rng.uniform(1.2, 1.7) + 0.12 * np.sin(angle * rng.uniform(2, 4) + rng.uniform(0, 6))
    tissue += 100 * np.exp(-(((depth - border) / 0.03) ** 2))
    tissue += 60 * np.exp(-(((depth - 0.62) / 0.05) ** 2))
    cx, cy = rng.uniform(-0.4, 0.4), rng.uniform(-0.1, 0.4)
    radius = rng.uniform(0.16, 0.26) * (1 - 0.2 * abs(offset))
    cyst = _ellipse(x, y, cx, cy, radius * 1.25, radius)
    shadow = (np.abs(angle - math.atan2(cx, cy + 1.45)) < radius / 2.2) & (depth > cy + 1.45)
    tissue = np.where(shadow, tissue * 1.25, tissue)
    tissue = np.where(cyst < 1, 14.0, tissue)
    cells = (size[0] // 2, size[1] // 2)
    speckle = grain.rayleigh(0.8, cells)
    fine = Image.fromarray(speckle.astype(np.float32)).resize((size[1], size[0]))
    canvas = np.where(fan, np.clip(tissue, 6, 230) * np.asarray(fine), 0.0)
    return np.repeat(canvas[..., np.newaxis], 3, axis=2)


def _draw_dermoscopy(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """Skin with one pigmented, irregular lesion, its network, and a few hairs."""
    x, y = _grid(size)
    tone = rng.uniform(0.86, 1.05)
    canvas = np.empty((*size, 3))
    canvas[:] = np.array((224, 176, 152)) * tone
    canvas += 10 * _clouds(rng, size, 5)[..., np.newaxis]
    cx, cy = rng.uniform(-0.15, 0.15, 2)
    angle = np.arctan2(y - cy, x - cx)
    edge = rng.uniform(0.42, 0.58) * (
        1 + sum(rng.uniform(0.02, 0.12) * np.sin(k * angle + rng.uniform(0, 6)) for k in (2, 3, 5))
    )
    lesion = np.clip((edge - np.hypot(x - cx, y - cy)) * 7, 0, 1)
    brown = (rng.uniform(95, 130), rng.uniform(58, 80), rng.uniform(38, 58))
    canvas = _mix(canvas, lesion * 0.9, brown)
    network = np.clip(_clouds(rng, size, 36) * 1.6, 0, 1) * lesion
    canvas = _mix(canvas, network * 0.5, (50, 28, 22))
    canvas = _mix(canvas, np.clip(_clouds(rng, size, 6), 0, 1) * lesion * 0.5, (150, 95, 70))
    hairs = []
    for _ in range(rng.integers(2, 7)):
        px, py, bend = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-0.6, 0.6)
        turn = rng.uniform(0, 6)
        hairs.append(
            [
                (px + t * math.cos(turn + bend * t), py + t * math.sin(turn + bend * t))
                for t in np.linspace(0, 0.9, 9)
            ]
        )
    canvas = _mix(canvas, _strokes(size, hairs, 2) * 0.75, (45, 32, 30))
    canvas *= (1 - 0.16 * np.clip(np.hypot(x, y) - 0.7, 0, 1))[..., np.newaxis]
    return canvas + grain.normal(0, 3, (*size, 1))


def _draw_fundus(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """An orange disc on black with optic disc, macula, and vessels that leave the optic disc."""
    x, y = _grid(size)
    x = x * size[1] / size[0]
    side = _fundus_side(rng)
    distance = np.hypot(x, y) / rng.uniform(0.9, 0.97)
    canvas = np.empty((*size, 3))
    canvas[:] = (rng.uniform(175, 215), rng.uniform(75, 105), rng.uniform(25, 50))
    canvas *= (1.05 - 0.35 * distance**2 + 0.06 * _clouds(rng, size, 6))[..., np.newaxis]
    dx, dy = side * rng.uniform(0.4, 0.5), rng.uniform(-0.08, 0.08)
    macula = np.exp(-(((x + side * 0.12) ** 2 + (y - dy) ** 2) / 0.03))
    canvas = _mix(canvas, macula * 0.5, (95, 32, 15))
    ratio = size[0] / size[1]  # strokes are drawn in picture coordinates, x was stretched
    vessels = []
    for toward in np.linspace(0.35, 5.93, 11) + rng.uniform(-0.2, 0.2, 11):
        px, py, heading = dx, dy, toward
        line = [(px * ratio, py)]
        for _ in range(14):
            heading += rng.normal(0, 0.13) - 0.05 * math.sin(heading) * side
            px, py = px + 0.1 * math.cos(heading), py + 0.1 * math.sin(heading)
            line.append((px * ratio, py))
        vessels.append(line)
    canvas = _mix(canvas, _strokes(size, vessels[::2], 6) * 0.75, (105, 22, 18))
    canvas = _mix(canvas, _strokes(size, vessels[1::2], 4) * 0.7, (150, 40, 28))
    optic_disc = np.clip((0.17 - np.hypot(x - dx, (y - dy) * 0.9)) * 25, 0, 1)
    canvas = _mix(canvas, optic_disc * 0.85, (250, 215, 140))
    canvas += grain.normal(0, 3, (*size, 1))
    return np.where((distance < 1)[..., np.newaxis], canvas, 0.0)


def _fundus_side(rng: np.random.Generator) -> int:
    """Choose where the optic disc lies, -1 left or 1 right; the generator's first use."""
    return int(rng.choice((-1, 1)))


def _draw_oct(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """A retinal B-scan: bright horizontal layers with a foveal pit, fading choroid, speckle."""
    x, y = _grid(size)
    tilt, curve = rng.uniform(-0.1, 0.1), rng.uniform(-0.12, 0.18)
    base = rng.uniform(0.12, 0.28) + tilt * x + curve * x**2  # the pigment epithelium
    pit = rng.uniform(0.16, 0.26) * (1 - 0.7 * abs(offset))
    thickness = 0.5 - pit * np.exp(-(((x - rng.uniform(-0.15, 0.15)) / 0.24) ** 2))
    height = (base - y) / thickness  # 0 at the epithelium, 1 at the inner surface
    canvas = np.full(size, 24.0)
    for low, high, value in (
        (0.86, 1.0, 185),
        (0.66, 0.86, 120),
        (0.5, 0.66, 75),
        (0.36, 0.5, 130),
        (0.14, 0.36, 62),
        (0.08, 0.14, 165),
        (-0.06, 0.08, 215),
    ):
        canvas[(height >= low) & (height < high)] = value
    below = height < -0.06
    choroid = 120 * np.exp((height + 0.06) * 1.9) * (1 + 0.45 * _clouds(rng, size, 22))
    canvas = np.where(below, np.maximum(choroid, 16), canvas)
    return canvas * grain.gamma(7, 1 / 7, size) + 6 * grain.random(size)


def _draw_microscopy(
    rng: np.random.Generator, grain: np.random.Generator, size: Size, offset: float
) -> Canvas:
    """H&E: pink stroma, purple nuclei in rings around pale glands."""
    rows, columns = size
    canvas = np.empty((rows, columns, 3))
    canvas[:] = (rng.uniform(222, 240), rng.uniform(160, 185), rng.uniform(195, 215))
    canvas = _mix(canvas, np.clip(_clouds(rng, size, 14), 0, 1) * 0.6, (205, 120, 170))
    canvas = _mix(canvas, np.clip(-_clouds(rng, size, 9), 0, 1) * 0.5, (246, 226, 236))
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)

    def nucleus(px: float, py: float) -> None:
        a, b = rng.uniform(4, 8), rng.uniform(4, 8)
        shade = rng.uniform(-14, 14)
        ink = (round(92 + shade), round(52 + shade), round(132 + shade))
        draw.ellipse((px - a, py - b, px + a, py + b), fill=ink)

    for _ in range(rng.integers(5, 9)):
        px, py, radius = rng.uniform(0, columns), rng.uniform(0, rows), rng.uniform(22, 48)
        box = (px - radius, py - radius, px + radius, py + radius)
        draw.ellipse(box, fill=(208, 150, 192))
        inner = radius * 0.55
        draw.ellipse((px - inner, py - inner, px + inner, py + inner), fill=(248, 240, 246))
        for turn in np.arange(0, 2 * math.pi, 13 / radius):
            nucleus(px + 0.85 * radius * math.cos(turn), py + 0.85 * radius * math.sin(turn))
    for _ in range(rng.integers(110, 190)):
        nucleus(rng.uniform(0, columns), rng.uniform(0, rows))
    return np.asarray(picture, dtype=np.float64) + grain.normal(0, 4, (*size, 1))


Drawing = Callable[[np.random.Generator, np.random.Generator, Size, float], Canvas]
DRAWINGS: dict[Modality, tuple[Drawing, tuple[Size, ...]]] = {
    Modality.CT: (_draw_ct, ((384, 384), (320, 320), (400, 400))),
    Modality.MRI: (_draw_mri, ((320, 320), (320, 288), (384, 320))),
    Modality.XRAY: (_draw_xray, ((448, 384), (400, 400), (384, 448))),
    Modality.ULTRASOUND: (_draw_ultrasound, ((360, 480), (384, 448), (400, 400))),
    Modality.DERMOSCOPY: (_draw_dermoscopy, ((384, 512), (360, 480), (400, 400))),
    Modality.FUNDUS: (_draw_fundus, ((400, 400), (384, 448), (384, 480))),
    Modality.OCT: (_draw_oct, ((320, 480), (384, 448), (320, 400))),
    Modality.MICROSCOPY: (_draw_microscopy, ((384, 384), (320, 320), (384, 384))),
}
"""Modality -> (its drawing, the sizes that it comes in)."""

COLORED = frozenset(
    {Modality.ULTRASOUND, Modality.DERMOSCOPY, Modality.FUNDUS, Modality.MICROSCOPY}
)
"""Drawn as RGB. Ultrasound is grey on its RGB canvas, as scanners send it."""
