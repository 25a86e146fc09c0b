"""Measure the demo checkpoint: `python -m workers.demo_checkpoint.measure`.

Phantoms of seeds that training never drew, options shuffled anew, asked the way the service asks:
the processor, left-padded batches, greedy `generate` in float32. Exits 1 below what the model card
promises.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.prompts import LETTERS, build_prompt_text
from medr1_pacs.records import Modality
from workers.demo_checkpoint import WEIGHTS_DIR
from workers.demo_checkpoint.lessons import (
    BLANK,
    NO_MARKER,
    NOT_OFFERED,
    STEMS,
    UNTAUGHT,
    WORDS,
    make_held_out_lesson,
    pick_options,
)
from workers.demo_checkpoint.pictures import pin_picture

FIRST_SEED = 1_000_000
PROMISED = {"modality": 0.95, "quadrant": 0.80, "shape": 0.80}
"""Family -> share right, thinking, that the model card promises."""
ANSWER = re.compile(r"<answer>\s*(\w+)\s*</answer>")

Ask = Callable[[list[Image.Image], list[str]], list[str]]


@dataclass(frozen=True)
class Trial:
    """One question about one picture, and the letter that is right.

    Where no letter can be, `says` is what the reasoning must admit.
    """

    family: str
    picture: Image.Image
    prompt_text: str
    letter: str | None = None
    says: str = ""


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927)."""
    z = 1.959964
    center = (right + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(right * (n - right) / n + z * z / 4)
    return center - half, center + half


def make_trials(seeds: Sequence[int], *, think: bool) -> Iterator[Trial]:
    """Ask the demo bank's three questions, four options each, of every modality and seed."""
    for seed in seeds:
        for modality in Modality:
            rng = random.Random(f"{seed} {modality.value}")
            phantom = make_phantom(modality, seed)
            picture = pin_picture(phantom.display)
            words = {
                "modality": modality.value,
                "quadrant": phantom.marker_quadrant,
                "shape": phantom.marker_shape,
            }
            for family, word in words.items():
                options = pick_options(family, word, 4, rng)
                letter = LETTERS[options.index(str(word))]
                text = build_prompt_text(STEMS[family][0], options, think=think)
                yield Trial(family, picture, text, letter)


def make_unmarked_trials(seeds: Sequence[int]) -> Iterator[Trial]:
    """Ask for the modality of pictures without marker: it must not be read off the marker."""
    for seed in seeds:
        for modality in Modality:
            rng = random.Random(f"unmarked {seed} {modality.value}")
            picture = pin_picture(make_phantom(modality, seed, marker=False).display)
            options = pick_options("modality", modality.value, 4, rng)
            letter = LETTERS[options.index(modality.value)]
            text = _ask("modality", options)
            yield Trial("modality without marker", picture, text, letter)


def make_guess_trials(seeds: Sequence[int]) -> Iterator[Trial]:
    """Ask what it cannot know: it must say so. The untaught questions are new to it."""
    for seed in seeds:
        for number, modality in enumerate(Modality):
            rng = random.Random(f"guess {seed} {modality.value}")
            marked = pin_picture(make_phantom(modality, seed).display)
            plain = pin_picture(make_phantom(modality, seed, marker=False).display)
            lesson = make_held_out_lesson(seed + number, rng, think=True)
            yield Trial("untaught question", marked, lesson.prompt_text, says=UNTAUGHT)
            family = rng.choice(("quadrant", "shape"))
            text = _ask(family, pick_options(family, None, 4, rng))
            yield Trial("no marker there", plain, text, says=NO_MARKER)
            others = rng.sample([name for name in WORDS["modality"] if name != modality.value], 4)
            yield Trial("modality not offered", marked, _ask("modality", others), says=NOT_OFFERED)
            level = rng.randrange(256)
            blank = Image.new("RGB", plain.size, (level, level, level))
            text = _ask("modality", pick_options("modality", modality.value, 4, rng))
            yield Trial("blank picture", blank, text, says=BLANK)


def _ask(family: str, options: Sequence[str]) -> str:
    return build_prompt_text(STEMS[family][0], options, think=True)


def load(weights: Path) -> Ask:
    """Load a folder of weights and return a function that answers a batch."""
    processor = AutoProcessor.from_pretrained(weights)
    model = Qwen2VLForConditionalGeneration.from_pretrained(weights, dtype=torch.float32).eval()

    def ask(pictures: list[Image.Image], texts: list[str]) -> list[str]:
        chats = [
            processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for text in texts
        ]
        inputs = processor(
            text=chats, images=pictures, padding=True, padding_side="left", return_tensors="pt"
        )
        with torch.no_grad():
            generated = model.generate(**inputs, max_new_tokens=256, do_sample=False)
        completions = generated[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = processor.batch_decode(completions, skip_special_tokens=True)
        return answers

    return ask


def is_right(trial: Trial, answer: str) -> bool:
    """Return whether the letter matches exactly, or the reasoning admits what it must."""
    if trial.letter is None:
        return trial.says in answer
    found = ANSWER.search(answer)
    return found is not None and found[1] == trial.letter


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    parser.add_argument("--seeds", type=int, default=40, help="pictures of each modality")
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    ask = load(arguments.weights)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)

    shares: dict[str, float] = {}
    groups = {
        "thinking": [*make_trials(seeds, think=True), *make_unmarked_trials(seeds)],
        "not thinking": list(make_trials(seeds, think=False)),
        "admits that it guesses": list(make_guess_trials(seeds)),
    }
    for group, trials in groups.items():
        started = time.monotonic()
        answers: list[str] = []
        for at in range(0, len(trials), arguments.batch):
            batch = trials[at : at + arguments.batch]
            answers += ask([t.picture for t in batch], [t.prompt_text for t in batch])
        seconds = (time.monotonic() - started) / len(trials)
        print(f"{group} ({seconds:.2f} s a question)")
        for family in dict.fromkeys(trial.family for trial in trials):
            marks = [
                (trial, is_right(trial, answer))
                for trial, answer in zip(trials, answers, strict=True)
                if trial.family == family
            ]
            n, right = len(marks), sum(mark for _, mark in marks)
            low, high = wilson_interval(right, n)
            chance = ", chance 0.250" if marks[0][0].letter else ""
            print(f"  {family}: {right}/{n} = {right / n:.3f} [{low:.3f}, {high:.3f}]{chance}")
            if group == "thinking":
                shares[family] = right / n
    short = {family: least for family, least in PROMISED.items() if shares[family] < least}
    for family, least in short.items():
        print(f"{family}: {shares[family]:.3f} is below the promised {least}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
