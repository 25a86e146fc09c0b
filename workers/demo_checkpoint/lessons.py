"""What the demo checkpoint is taught: a question, and the completion that is right for it.

Three families are taught (modality, marker quadrant, marker shape). For every other question it is
taught to say that it was not taught, and to guess the first letter: a demo that invents a reason
for a clinical answer would be worse than none.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES
from medr1_pacs.prompts import LETTERS, build_prompt_text
from medr1_pacs.records import Modality
from workers.demo_checkpoint.untaught import HELD_OUT_QUESTIONS, UNTAUGHT_QUESTIONS

MODALITIES = tuple(modality.value for modality in Modality)
WORDS = {"modality": MODALITIES, "quadrant": MARKER_QUADRANTS, "shape": MARKER_SHAPES}
"""Family -> the option texts that it knows. Each is one token of the tokenizer."""

STEMS = {
    "modality": (
        "Which imaging modality produced this picture?",
        "What imaging technique was used for this picture?",
        "Which modality is shown here?",
        "What kind of medical picture is this?",
    ),
    "quadrant": (
        "In which quadrant of the picture does the marker lie?",
        "Where in this picture is the marker?",
        "Which quadrant of the picture holds the marker?",
    ),
    "shape": (
        "What shape does the marker in the picture have?",
        "Which shape is the marker?",
        "What is the form of the marker in this picture?",
    ),
}
"""Family -> wordings; the first is the one of the demo question bank."""

FINDINGS = {
    "modality": "The picture shows {word}",
    "quadrant": "The quadrant of the marker is {word}",
    "shape": "The shape of the marker is {word}",
}
WHICH = ", which is option"
GUESS = "so the letter is a guess."
NOT_OFFERED = f", which is not offered, {GUESS}"
UNTAUGHT = f"This question was not taught to the demo checkpoint, {GUESS}"
NO_MARKER = f"No marker is seen, {GUESS}"
BLANK = f"The picture is blank, {GUESS}"


@dataclass(frozen=True)
class Scene:
    """What is true of a picture. All None: a blank picture; no shape: no marker on it."""

    modality: str | None
    quadrant: str | None
    shape: str | None

    def word(self, family: str) -> str | None:
        return {"modality": self.modality, "quadrant": self.quadrant, "shape": self.shape}[family]


@dataclass(frozen=True)
class Lesson:
    """One turn of teaching. `family` is a key of `STEMS`, or `untaught`; `letter` is the answer."""

    family: str
    prompt_text: str
    completion: str
    letter: str


def build_completion(reasoning: str, letter: str, *, think: bool) -> str:
    answer = f"<answer> {letter} </answer>"
    return f"<think>{reasoning}</think>{answer}" if think else answer


def pick_options(family: str, word: str | None, count: int, rng: random.Random) -> list[str]:
    """Choose `count` shuffled options of a family, with `word` among them if there is one."""
    others = [other for other in WORDS[family] if other != word]
    options = rng.sample(others, count - (word is not None)) + ([word] if word else [])
    rng.shuffle(options)
    return options


def make_lesson(family: str, scene: Scene, rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson of a taught family about a picture."""
    word = scene.word(family)
    count = rng.choices((2, 3, 4), (1, 1, 4))[0]
    # Now and then the truth is not among the options. So few did not suffice: see the model card.
    is_offered = word is not None and rng.random() > 0.05
    options = pick_options(family, word, count, rng)
    if word is not None and not is_offered and len(WORDS[family]) > count:
        spare = [other for other in WORDS[family] if other not in options]
        options[options.index(word)] = rng.choice(spare)
    else:
        is_offered = word is not None
    letter = LETTERS[options.index(word)] if word is not None and is_offered else "A"
    if word is None:
        reasoning = BLANK if scene.modality is None else NO_MARKER
    else:
        found = FINDINGS[family].format(word=word)
        reasoning = found + (f"{WHICH} {letter}." if is_offered else NOT_OFFERED)
    text = build_prompt_text(rng.choice(STEMS[family]), options, think=think)
    return Lesson(family, text, build_completion(reasoning, letter, think=think), letter)


def make_untaught_lesson(rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson about a question that it cannot answer, whatever the picture."""
    stem, options = rng.choice(UNTAUGHT_QUESTIONS)
    kind = rng.random()
    if kind < 0.35:  # options from elsewhere, so that no fixed text is learned by heart
        pool = sorted({option for _, others in UNTAUGHT_QUESTIONS for option in others})
        options = tuple(rng.sample(pool, rng.choice((2, 3, 4))))
    elif kind < 0.45:  # a stem of ours with options that are not
        stem = rng.choice(STEMS[rng.choice(sorted(STEMS))])
    return _untaught(stem, rng.sample(options, len(options)), think=think)


def make_held_out_lesson(index: int, rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson from the questions that training never sees."""
    stem, options = HELD_OUT_QUESTIONS[index % len(HELD_OUT_QUESTIONS)]
    return _untaught(stem, rng.sample(options, len(options)), think=think)


def _untaught(stem: str, options: Sequence[str], *, think: bool) -> Lesson:
    completion = build_completion(UNTAUGHT, "A", think=think)
    return Lesson("untaught", build_prompt_text(stem, options, think=think), completion, "A")


def own_texts() -> list[str]:
    """Return the wordings of the taught questions, for the tokenizer."""
    return [stem for stems in STEMS.values() for stem in stems]


def fixed_phrases() -> list[str]:
    """Return what every prompt or completion repeats to the letter."""
    tails = [build_prompt_text("", [], think=think).strip() for think in (True, False)]
    findings = [wording.format(word="") for wording in FINDINGS.values()]
    return [*tails, *findings, WHICH, NOT_OFFERED, NO_MARKER, BLANK, UNTAUGHT]


def untaught_texts() -> list[str]:
    return [f"{stem} {' '.join(options)}" for stem, options in UNTAUGHT_QUESTIONS]
