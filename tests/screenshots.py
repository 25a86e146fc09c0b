"""Make the pictures of the pages that the documentation shows: `make screenshots`.

Of what the tests of `tests/browser` saw in the light, those that a page of docs/ shows, each with
as many colors as fit in its size.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

SIZE_MAX_BYTES = 80_000
COLORS = (256, 128, 64, 32, 16)


def shrink(picture: Image.Image) -> bytes:
    """Return a PNG with a palette: the most colors with which it is small enough, or the fewest."""
    encoded = b""
    for colors in COLORS:
        file = BytesIO()
        # Without dithering letters stay sharp and even areas small.
        reduced = picture.convert("RGB").quantize(colors, dither=Image.Dither.NONE)
        reduced.save(file, "PNG", optimize=True)
        encoded = file.getvalue()
        if len(encoded) <= SIZE_MAX_BYTES:
            break
    return encoded


def main(seen: Path, shown: Path) -> None:
    shown.mkdir(parents=True, exist_ok=True)
    pages = "".join(page.read_text("utf-8") for page in shown.parent.glob("*.md"))
    for name in sorted(set(re.findall(r"screenshots/([a-z-]+\.png)", pages))):
        with Image.open(seen / f"{name.removesuffix('.png')}-light.png") as picture:
            (shown / name).write_bytes(shrink(picture))
        print(f"{(shown / name).stat().st_size:7,} bytes  {shown / name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
