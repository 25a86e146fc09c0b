"""Measure the demo checkpoint: `python -m workers.demo_checkpoint.training.measure`.

Phantoms of seeds that training never drew, options shuffled anew, answered by the service's own
engine and parsed by its own rule. Exits 1 below what the model card promises.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medr1_pacs.answers import parse_generation
from medr1_pacs.checkpoints import ConfiguredCheckpoint
from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.prompts import LETTERS, build_prompt_text
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Modality
from medr1_pacs.records.work import ModelOutput, ModelPrompt
from medr1_pacs.rendering import draw_model_picture, encode_png
from medr1_pacs.steps.answering import Engine
from workers.demo_checkpoint.training.lessons import (
    BLANK,
    HELD_OUT_QUESTIONS,
    NO_MARKER,
    NOT_OFFERED,
    STEMS,
    UNTAUGHT,
    WORDS,
    pick_options,
)
from workers.engines.in_process import InProcessEngine

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
FIRST_SEED = 1_000_000
OPTION_COUNT = 4
MAX_NEW_TOKENS = 256
BATCH_SIZE = 32
PROMISED = {"modality": 0.95, "quadrant": 0.80, "shape": 0.80}
"""Family -> share right, thinking or not, that the model card promises."""


@dataclass(frozen=True)
class Trial:
    """One prompt, and the letter that is right.

    Where no letter can be, `says` is what the reasoning must admit.
    """

    family: str
    prompt: ModelPrompt
    letter: str | None = None
    says: str = ""


@dataclass(frozen=True)
class Score:
    """How many of a family's trials came out right."""

    right: int
    n: int

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of the share (Wilson 1927)."""
        z, n = 1.959964, self.n
        center = (self.right + z * z / 2) / (n + z * z)
        spread = math.sqrt(self.right * (n - self.right) / n + z * z / 4)
        half = z / (n + z * z) * spread
        return center - half, center + half


# --- trials ---------------------------------------------------------------------------------


def make_trials(seeds: Sequence[int], *, think: bool) -> Iterator[Trial]:
    """Ask the demo bank's three questions, four options each, of every modality and seed."""
    for seed in seeds:
        for modality in Modality:
            rng = random.Random(f"{seed} {modality.value}")
            phantom = make_phantom(modality, seed)
            png = draw_png(phantom.display)
            words = (modality.value, phantom.marker_quadrant, phantom.marker_shape)
            for family, word in zip(WORDS, words, strict=True):
                options = pick_options(family, word, OPTION_COUNT, rng)
                letter = LETTERS[options.index(str(word))]
                yield Trial(family, build_prompt(png, family, options, think=think), letter)


def make_unmarked_trials(seeds: Sequence[int]) -> Iterator[Trial]:
    """Ask for the modality of pictures without marker: it must not be read off the marker."""
    for seed in seeds:
        for modality in Modality:
            rng = random.Random(f"unmarked {seed} {modality.value}")
            png = draw_png(make_phantom(modality, seed, marker=False).display)
            options = pick_options("modality", modality.value, OPTION_COUNT, rng)
            prompt = build_prompt(png, "modality", options)
            yield Trial("modality without marker", prompt, LETTERS[options.index(modality.value)])


def make_guess_trials(seeds: Sequence[int]) -> Iterator[Trial]:
    """Ask what it cannot know: it must say so. The untaught questions are new to it."""
    for seed in seeds:
        for number, modality in enumerate(Modality):
            rng = random.Random(f"guess {seed} {modality.value}")
            marked = draw_png(make_phantom(modality, seed).display)
            unmarked = draw_png(make_phantom(modality, seed, marker=False).display)

            stem, answers = HELD_OUT_QUESTIONS[(seed + number) % len(HELD_OUT_QUESTIONS)]
            text = build_prompt_text(stem, rng.sample(answers, len(answers)), think=True)
            prompt = ModelPrompt(text, marked, Decoding(True, MAX_NEW_TOKENS))
            yield Trial("untaught question", prompt, says=UNTAUGHT)

            family = rng.choice(("quadrant", "shape"))
            options = pick_options(family, None, OPTION_COUNT, rng)
            prompt = build_prompt(unmarked, family, options)
            yield Trial("no marker there", prompt, says=NO_MARKER)

            others = [name for name in WORDS["modality"] if name != modality.value]
            prompt = build_prompt(marked, "modality", rng.sample(others, OPTION_COUNT))
            yield Trial("modality not offered", prompt, says=NOT_OFFERED)

            blank = draw_png(np.full((1, 1), rng.randrange(256), dtype=np.uint8))
            options = pick_options("modality", modality.value, OPTION_COUNT, rng)
            yield Trial("blank picture", build_prompt(blank, "modality", options), says=BLANK)


def build_prompt(
    png: bytes, family: str, options: Sequence[str], *, think: bool = True
) -> ModelPrompt:
    text = build_prompt_text(STEMS[family][0], options, think=think)
    return ModelPrompt(text, png, Decoding(think, MAX_NEW_TOKENS))


def draw_png(display: NDArray[np.uint8]) -> bytes:
    return encode_png(draw_model_picture(display))


# --- answers --------------------------------------------------------------------------------


def answer(engine: Engine, trials: Sequence[Trial]) -> Iterator[ModelOutput]:
    """Answer trials in the engine's own batches, in order."""
    for start in range(0, len(trials), engine.batch_size):
        batch = trials[start : start + engine.batch_size]
        yield from engine.generate([trial.prompt for trial in batch])


def is_right(trial: Trial, output: ModelOutput) -> bool:
    """Return whether the letter matches exactly, or the reasoning admits what it must."""
    parsed = parse_generation(output.raw_output, OPTION_COUNT, output.finish_reason)
    if trial.letter is None:
        return trial.says in (parsed.reasoning or "")
    return parsed.choice == trial.letter


def measure(engine: Engine, group: str, trials: Sequence[Trial]) -> dict[str, Score]:
    """Answer a group of trials and print, family by family, how many came out right."""
    outputs = list(answer(engine, trials))
    seconds = sum(output.seconds for output in outputs) / len(outputs)
    print(f"{group} ({seconds:.2f} s a question)", flush=True)
    marks: dict[str, list[bool]] = {}
    for trial, output in zip(trials, outputs, strict=True):
        marks.setdefault(trial.family, []).append(is_right(trial, output))
    scores = {family: Score(sum(right), len(right)) for family, right in marks.items()}
    for family, score in scores.items():
        low, high = score.interval
        print(
            f"  {family}: {score.right}/{score.n} = {score.share:.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--seeds", type=int, default=40, help="pictures of each modality")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    engine = InProcessEngine(
        ConfiguredCheckpoint("demo", arguments.weights, "", is_demo=True), batch_size=BATCH_SIZE
    )
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)

    groups = {
        "thinking": [*make_trials(seeds, think=True), *make_unmarked_trials(seeds)],
        "not thinking": list(make_trials(seeds, think=False)),
        "admits that it guesses": list(make_guess_trials(seeds)),
    }
    short = False
    for group, trials in groups.items():
        for family, score in measure(engine, group, trials).items():
            least = PROMISED.get(family, 0.0)
            if score.share < least:
                short = True
                print(f"{family}, {group}: below the promised {least}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
