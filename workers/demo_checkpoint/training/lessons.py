"""What the demo checkpoint is taught: a prompt, and the completion that is right for it.

Three families are taught (modality, marker quadrant, marker shape). For every other question it is
taught to say that it was not taught, and to guess the first letter: a demo that invents a reason
for a clinical answer would be worse than none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import yaml

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES
from medr1_pacs.prompts import LETTERS, build_prompt_text
from medr1_pacs.records.words import Modality

MODALITIES = tuple(modality.value for modality in Modality)
WORDS = {"modality": MODALITIES, "quadrant": MARKER_QUADRANTS, "shape": MARKER_SHAPES}
"""Family -> the option texts that it knows. Each is one token of the tokenizer."""
KNOWN_WORDS = tuple(word for words in WORDS.values() for word in words)

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
RECITAL_STEM = "Which option is which?"

FINDINGS = {
    "modality": "The picture shows {word}",
    "quadrant": "The quadrant of the marker is {word}",
    "shape": "The shape of the marker is {word}",
}
WHICH_IS_OPTION = ", which is option"
GUESS = "so the letter is a guess."
NOT_OFFERED = f", which is not offered, {GUESS}"
UNTAUGHT = f"This question was not taught to the demo checkpoint, {GUESS}"
NO_MARKER = f"No marker is seen, {GUESS}"
BLANK = f"The picture is blank, {GUESS}"


class Question(NamedTuple):
    """A stem and its options, in the order of the file."""

    stem: str
    options: tuple[str, ...]


def _load_questions() -> dict[str, tuple[Question, ...]]:
    tables = yaml.safe_load(Path(__file__).with_name("untaught.yaml").read_text("utf-8"))
    return {
        name: tuple(Question(row["stem"], tuple(row["options"])) for row in rows)
        for name, rows in tables.items()
    }


_QUESTIONS = _load_questions()
UNTAUGHT_QUESTIONS, HELD_OUT_QUESTIONS = _QUESTIONS["untaught"], _QUESTIONS["held_out"]


@dataclass(frozen=True)
class Scene:
    """What is true of a picture. All None: a blank picture; no shape: no marker on it."""

    modality: str | None
    quadrant: str | None
    shape: str | None

    @property
    def words(self) -> Mapping[str, str | None]:
        """Family -> the true word, in the order of `WORDS`."""
        return {"modality": self.modality, "quadrant": self.quadrant, "shape": self.shape}


BLANK_SCENE = Scene(None, None, None)


@dataclass(frozen=True)
class Lesson:
    """One prompt and the completion that is right for it.

    `is_blank` asks for a blank picture instead of the one at hand. The words of a recital
    (`is_recital`) come in no order that could be foretold, so they are no targets.
    """

    prompt_text: str
    completion: str
    is_blank: bool = False
    is_recital: bool = False


# --- prompts and completions ----------------------------------------------------------------


def pick_option_count(rng: random.Random) -> int:
    return rng.choices((2, 3, 4), (1, 1, 4))[0]


def pick_options(family: str, word: str | None, count: int, rng: random.Random) -> list[str]:
    """Choose `count` shuffled options of a family, with `word` among them if there is one."""
    others = [other for other in WORDS[family] if other != word]
    options = rng.sample(others, count - (word is not None)) + ([word] if word else [])
    rng.shuffle(options)
    return options


def build_completion(reasoning: str, letter: str, *, think: bool) -> str:
    answer = f"<answer> {letter} </answer>"
    return f"<think>{reasoning}</think>{answer}" if think else answer


def say_which(word: str, options: Sequence[str]) -> str:
    """Continue a sentence that ends in `word` by its letter, or by its not being offered."""
    if word not in options:
        return NOT_OFFERED
    return f"{WHICH_IS_OPTION} {LETTERS[options.index(word)]}."


def build_reasoning(family: str, scene: Scene, options: Sequence[str]) -> tuple[str, str]:
    """Return the sentence that is right for a picture, and the letter: A where it is a guess."""
    word = scene.words[family]
    if word is None:
        return (BLANK if scene == BLANK_SCENE else NO_MARKER), "A"
    letter = LETTERS[options.index(word)] if word in options else "A"
    return FINDINGS[family].format(word=word) + say_which(word, options), letter


# --- lessons --------------------------------------------------------------------------------


def pick_lesson(scene: Scene, rng: random.Random) -> Lesson:
    """Choose what to ask of a picture."""
    share = rng.random()
    if share < 0.15:
        return make_recital(rng)
    if share < 0.25:
        return make_naming(rng.choice(sorted(WORDS)) if scene.shape else "modality", scene, rng)
    think = rng.random() < 0.5
    share = rng.random()
    if share < 0.12:
        return make_untaught_lesson(rng, think=think)
    is_blank = share > 0.97
    if is_blank:
        scene = BLANK_SCENE
    # A picture without marker is mostly for modality; a few say that no marker is there.
    weight = 1 if scene.shape else 5
    family = rng.choices(("modality", "quadrant", "shape"), (weight, 1, 1))[0]
    return replace(make_lesson(family, scene, rng, think=think), is_blank=is_blank)


def make_lesson(family: str, scene: Scene, rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson of a taught family about a picture, now and then without the true option."""
    word = scene.words[family]
    count = pick_option_count(rng)
    is_withheld = word is not None and rng.random() <= 0.15
    options = pick_options(family, word, count, rng)
    spare = [other for other in WORDS[family] if other not in options]
    if word is not None and is_withheld and spare:
        options[options.index(word)] = rng.choice(spare)
    reasoning, letter = build_reasoning(family, scene, options)
    text = build_prompt_text(rng.choice(STEMS[family]), options, think=think)
    return Lesson(text, build_completion(reasoning, letter, think=think))


def make_recital(rng: random.Random) -> Lesson:
    """Make a lesson that needs no picture: go through words, and say which option each one is.

    A recital binds words to letters several times in the very phrases of the other lessons.
    Without it that binding is learned late, and some runs never learn it.
    """
    pool = KNOWN_WORDS if rng.random() < 0.5 else WORDS[rng.choice(sorted(WORDS))]
    options = rng.sample(pool, pick_option_count(rng))
    spare = [word for word in pool if word not in options]
    words = options + rng.sample(spare, min(len(spare), rng.choice((0, 1, 2))))
    rng.shuffle(words)
    said = " ".join(word + say_which(word, options) for word in words)
    return Lesson(build_prompt_text(RECITAL_STEM, options, think=True), said, is_recital=True)


def make_naming(family: str, scene: Scene, rng: random.Random) -> Lesson:
    """Make a lesson without options: say at once what is seen, where else a letter would stand.

    Without thinking the word is never written; to look up its letter it must be known all the same.
    """
    word = scene.words[family] or "A"
    text = build_prompt_text(rng.choice(STEMS[family]), [], think=False)
    return Lesson(text, f"<answer>{word} </answer>")


def make_untaught_lesson(rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson about a question that it cannot answer, whatever the picture."""
    stem, options = rng.choice(UNTAUGHT_QUESTIONS)
    share = rng.random()
    if share < 0.35:  # options from elsewhere, so that no fixed text is learned by heart
        pool = sorted({option for _, others in UNTAUGHT_QUESTIONS for option in others})
        options = tuple(rng.sample(pool, rng.choice((2, 3, 4))))
    elif share < 0.45:  # a stem of ours with options that are not
        stem = rng.choice(STEMS[rng.choice(sorted(STEMS))])
    text = build_prompt_text(stem, rng.sample(options, len(options)), think=think)
    return Lesson(text, build_completion(UNTAUGHT, "A", think=think))


# --- what the tokenizer is made from --------------------------------------------------------


def taught_texts() -> list[str]:
    """Return the wordings of the taught questions."""
    return [RECITAL_STEM, *(stem for stems in STEMS.values() for stem in stems)]


def untaught_texts() -> list[str]:
    return [f"{stem} {' '.join(options)}" for stem, options in UNTAUGHT_QUESTIONS]


def fixed_phrases() -> list[str]:
    """Return what every prompt or completion repeats to the letter."""
    tails = [build_prompt_text("", [], think=think).strip() for think in (True, False)]
    findings = [wording.format(word="") for wording in FINDINGS.values()]
    return [*tails, *findings, WHICH_IS_OPTION, NOT_OFFERED, NO_MARKER, BLANK, UNTAUGHT]
