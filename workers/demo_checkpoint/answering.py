"""Teach the language model to answer, from the tokens of a tower that already sees."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from workers.demo_checkpoint.lessons import (
    WORDS,
    Lesson,
    Scene,
    make_lesson,
    make_untaught_lesson,
)
from workers.demo_checkpoint.network import GRID, TOKENS
from workers.demo_checkpoint.optimizing import (
    optimizer_for,
    rate_at,
    shuffled,
    step_with,
)
from workers.demo_checkpoint.pictures import Gallery

logger = logging.getLogger(__name__)

BATCH, RATE = 32, 2e-3
BLANK = Scene(None, None, None)


class Classroom:
    """Turns lessons into batches: token ids, where the completion is, and positions."""

    def __init__(self, processor: Qwen2VLProcessor) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer

    def write(self, lesson: Lesson) -> tuple[list[int], list[int]]:
        """Return the prompt's ids, with the picture's places, and the completion's."""
        content = [{"type": "image"}, {"type": "text", "text": lesson.prompt_text}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        ).replace("<|image_pad|>", "<|image_pad|>" * TOKENS)
        # Told apart here as in service, where the prompt is tokenized without its completion.
        return self.tokenizer.encode(text), self.tokenizer.encode(lesson.completion + "<|im_end|>")

    def seat(self, lessons: list[Lesson]) -> tuple[Tensor, Tensor]:
        """Return ids (n, length), padded on the right, and the targets, -100 off the completion."""
        written = [self.write(lesson) for lesson in lessons]
        length = max(len(prompt) + len(completion) for prompt, completion in written)
        ids = torch.full((len(written), length), self.tokenizer.pad_token_id)
        targets = torch.full((len(written), length), -100)
        for row, (prompt, completion) in enumerate(written):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor(prompt + completion)
            targets[row, len(prompt) - 1 : end - 1] = torch.tensor(completion)
        return ids, targets


def read(
    model: Qwen2VLForConditionalGeneration, ids: Tensor, targets: Tensor, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the language model with pictures already seen; return scores and their targets.

    Every chat begins alike and holds one picture, so one row's positions serve all rows.
    """
    embedded = model.model.get_input_embeddings()(ids)
    at_picture = ids == model.config.image_token_id
    embedded = embedded.masked_scatter(at_picture[..., None], seen.to(embedded.dtype))
    grid = torch.tensor([[1, GRID, GRID]])
    positions, _ = model.model.get_rope_index(
        ids[:1], mm_token_type_ids=at_picture[:1].int(), image_grid_thw=grid
    )
    states = model.model.language_model(
        inputs_embeds=embedded,
        position_ids=positions.expand(-1, len(ids), -1),
        use_cache=False,
    ).last_hidden_state
    taught = targets >= 0
    return model.lm_head(states[taught]).float(), targets[taught]


def draw_lessons(
    scenes: tuple[Scene, ...], index: NDArray[np.int64], rng: random.Random
) -> Iterator[tuple[Lesson, int]]:
    """Choose a question for each picture; -1 stands for a blank picture."""
    for picture in index:
        think = rng.random() < 0.65
        kind = rng.random()
        if kind < 0.12:
            yield make_untaught_lesson(rng, think=think), int(picture)
            continue
        is_blank = kind > 0.97
        scene = BLANK if is_blank else scenes[picture]
        # A picture without marker is mostly for modality; a few say that no marker is there.
        share = 1 if scene.shape else 5
        family = rng.choices(("modality", "quadrant", "shape"), (share, 1, 1))[0]
        yield make_lesson(family, scene, rng, think=think), -1 if is_blank else int(picture)


def teach_to_answer(
    model: Qwen2VLForConditionalGeneration,
    classroom: Classroom,
    seen: Tensor,
    blanks: Tensor,
    gallery: Gallery,
    *,
    steps: int,
    seed: int,
) -> None:
    """Teach the language model the completions, from the taught tower's tokens."""
    scenes = gallery.scenes * (len(seen) // len(gallery.scenes))
    rng = random.Random(seed)
    optimizer = optimizer_for(model.model.language_model)  # the head is tied to the embedding
    batches = shuffled(len(scenes), BATCH, seed)
    started = time.monotonic()
    for step in range(steps):
        chosen = list(draw_lessons(scenes, next(batches), rng))
        ids, targets = classroom.seat([lesson for lesson, _ in chosen])
        pictures = torch.stack(
            [blanks[rng.randrange(len(blanks))] if at < 0 else seen[at] for _, at in chosen]
        )
        with torch.autocast("cpu", torch.bfloat16):
            scores, truth = read(model, ids, targets, pictures)
        loss = functional.cross_entropy(scores, truth)
        step_with(optimizer, loss, rate_at(step, steps, RATE))
        if step % 50 == 0 or step == steps - 1:
            logger.info(
                "answer %d/%d loss %.4f letters %.2f words %.2f (%.0f s)",
                step, steps, loss.item(), *_shares(classroom, scores, truth),
                time.monotonic() - started,
            )  # fmt: skip


def _shares(classroom: Classroom, scores: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return the share of letters, and of the words for what is seen, that are predicted."""
    tokenizer = classroom.tokenizer
    right = scores.argmax(-1) == truth
    letters = torch.tensor([tokenizer.encode(f" {letter}")[0] for letter in "ABCD"])
    known = [word for family in WORDS.values() for word in family]
    words = torch.tensor([tokenizer.convert_tokens_to_ids(word) for word in known])
    in_letters, in_words = torch.isin(truth, letters), torch.isin(truth, words)
    return right[in_letters].float().mean().item(), right[in_words].float().mean().item()
