"""ask: the text of a prompt, exactly as Med-R1 was trained to read it.

    stem + ordered options -> problem -> user turn

The wording is the authors' own (their README and evaluation script), down to the missing space
after `A)`: a model fine-tuned by reinforcement on one wording is not asked in another.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Sequence

THINK_TEMPLATE = (
    "{problem} First output the thinking process in <think> </think> and final choice "
    "(A, B, C, D ...) in <answer> </answer> tags."
)
NO_THINK_TEMPLATE = (
    "{problem} Provide the correct single-letter choice (A, B, C, D,...) "
    "inside <answer>...</answer> tags."
)
LETTERS = string.ascii_uppercase


def build_problem(stem: str, options: Sequence[str]) -> str:
    """Join a stem and its options, in the order given: `stem A)x, B)y`."""
    return f"{stem} " + ", ".join(
        f"{letter}){option}" for letter, option in zip(LETTERS, options, strict=False)
    )


def build_prompt_text(stem: str, options: Sequence[str], *, think: bool) -> str:
    """Build the text of the user turn; the picture stands before it in the chat."""
    template = THINK_TEMPLATE if think else NO_THINK_TEMPLATE
    return template.format(problem=build_problem(stem, options))


def problem_of(prompt_text: str) -> str:
    """Return the problem in the text of a user turn, whichever way it was asked."""
    for template in (THINK_TEMPLATE, NO_THINK_TEMPLATE):
        around = template.removeprefix("{problem}")
        if prompt_text.endswith(around):
            return prompt_text.removesuffix(around)
    return prompt_text


def permute_options(
    question_id: str, version: int, sop_instance_uid: str, option_count: int
) -> tuple[int, ...]:
    """Return the order in which the options are shown: element *k* is the index, in the question
    file, of the option behind the *k*-th letter.

    Seeded from question, version and SOP Instance UID: the same picture always meets the same
    order, and over many pictures no letter is favoured.
    """
    seed = hashlib.sha256(f"{question_id}\n{version}\n{sop_instance_uid}".encode()).digest()
    order = list(range(option_count))
    random.Random(seed).shuffle(order)  # noqa: S311 - a reproducible order, not a secret
    return tuple(order)
