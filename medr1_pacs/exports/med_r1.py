"""Lists as Med-R1 is trained and evaluated with: `image`, `problem`, `solution`.

One list a modality, as its authors publish them. `image` is a path from the folder of the list;
`problem` is the question with its options as it was asked, without the prompt around it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

FOLDER = "med-r1"
PICTURES = "images"


def list_name(modality: str) -> str:
    """Return the name of a modality's list."""
    return f"{modality}.json"


def picture_name(png_sha256: str) -> str:
    """Return the path of a picture from the folder of the list."""
    return f"{PICTURES}/{png_sha256}.png"


def right_letter(options: Sequence[str], truth: str | None) -> str | None:
    """Return the letter of the truth among options as offered; None: it is not among them."""
    if truth is None or truth not in options:
        return None
    return chr(ord("A") + list(options).index(truth))


def item(image: str, problem: str, letter: str) -> str:
    """Return one item of a list, as JSON without what parts it from the next."""
    return json.dumps(
        {"image": image, "problem": problem, "solution": f"<answer> {letter} </answer>"},
        ensure_ascii=False,
    )
