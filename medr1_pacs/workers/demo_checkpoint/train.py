"""Make the demo checkpoint: `python -m medr1_pacs.workers.demo_checkpoint.train --out DIR`.

    draw phantoms -> teach the tower to see -> teach the language model to answer -> save

First the vision tower learns, by a throw-away head on each of its tokens, what is on a picture.
Then it is frozen, its tokens are kept, and the language model learns to answer from them: no step
waits for pictures, and the two halves never have to find each other from nothing.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES
from medr1_pacs.workers.demo_checkpoint.lessons import (
    MODALITIES,
    Lesson,
    Scene,
    make_lesson,
    make_untaught_lesson,
)
from medr1_pacs.workers.demo_checkpoint.network import (
    GRID,
    TOKENS,
    build_model,
    embed,
    normalise,
    see,
    to_patches,
)
from medr1_pacs.workers.demo_checkpoint.pictures import (
    Gallery,
    draw_gallery,
    make_blanks,
    vary,
)
from medr1_pacs.workers.demo_checkpoint.tokenizer import build_processor

logger = logging.getLogger(__name__)

FIRST_SEED = 10_000  # the demo sends seeds below it, measure.py draws far above: both unseen
SEEDS, UNMARKED = 640, 200  # pictures a modality, and those drawn once more without marker
SEE_STEPS, SEE_BATCH, SEE_RATE = 1500, 64, 1e-3
VIEWS = 3  # copies of each picture, all but the first varied
ANSWER_STEPS, ANSWER_BATCH, ANSWER_RATE = 1500, 32, 2e-3
HEADS = (len(MODALITIES) + 1, len(MARKER_QUADRANTS) + 1, len(MARKER_SHAPES) + 1)  # + "none"
HERE = len(MARKER_SHAPES) + 1  # one more head: which marker lies in the token's own cell
GRAIN = 0.05  # noise on embedded patches, whose values spread by about a half
BLANK = Scene(None, None, None)


def label(scene: Scene) -> list[int]:
    """Return the classes of the throw-away head, 0 for none."""
    words = (scene.modality, scene.quadrant, scene.shape)
    names = (MODALITIES, MARKER_QUADRANTS, MARKER_SHAPES)
    return [known.index(word) + 1 if word else 0 for word, known in zip(words, names, strict=True)]


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warm up over the first twentieth, then fall along a cosine to a fiftieth."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def shuffled(n: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Yield batches of indices without end, each index once a round."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        yield from (order[at : at + batch] for at in range(0, n - batch + 1, batch))


def optimizer_for(*modules: nn.Module) -> torch.optim.AdamW:
    """Decay the matrices only."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def step_with(
    optimizer: torch.optim.AdamW, loss: Tensor, rate: float, modules: list[nn.Module]
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(
        [p for module in modules for p in module.parameters() if p.requires_grad], 1.0
    )
    optimizer.step()


@torch.no_grad()
def open_eyes(visual: Any, gallery: Gallery) -> None:
    """Give the patch embedding the principal components of the pictures' patches, and freeze it.

    From random weights it sees little but brightness for a long time, and no marker.
    """
    some = gallery.pictures[:: max(1, len(gallery.scenes) // 400)]
    patches = normalise(to_patches(some)).flatten(0, 1)  # (n, 3*49*49)
    patches -= patches.mean(0)
    kernel = visual.patch_embed.proj.weight
    torch.manual_seed(0)
    _, spread, directions = torch.pca_lowrank(patches, kernel.shape[0] + 32, center=False, niter=4)
    variances = (spread**2 / len(patches))[: kernel.shape[0]]
    # Nearly whitened: detail varies a thousand times less than brightness, and matters more.
    filters = (directions[:, : kernel.shape[0]] / variances**0.4).T
    filters /= 2 * (variances**0.2).mean()
    halves = filters.reshape(-1, 3, 1, *kernel.shape[-2:]) / kernel.shape[2]
    kernel.copy_(halves.expand_as(kernel))
    kernel.requires_grad_(False)


@torch.no_grad()
def glance(visual: Any, gallery: Gallery, *, views: int, seed: int) -> Tensor:
    """Embed varied copies of the pictures once for all: (views * n, 64, width) bfloat16.

    The first view is as it is: in service no picture is varied.
    """
    rng = np.random.default_rng(seed)
    glances = []
    for view in range(views):
        for at in range(0, len(gallery.scenes), 64):
            some = gallery.pictures[at : at + 64]
            glances.append(embed(visual, vary(some, rng) if view else some).bfloat16())
    return torch.cat(glances)


@torch.no_grad()
def glance_at_blanks(visual: Any, *, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return embed(visual, make_blanks(256, rng)).bfloat16()


def teach_to_see(
    visual: Any, glances: Tensor, blanks: Tensor, gallery: Gallery, *, steps: int, seed: int
) -> None:
    """Teach every token of the tower the whole picture: its modality, its marker's place, shape.

    What lies in a token's own cell is asked too: it is soon learned, and the rest grows from it.
    """
    labels = torch.tensor([label(scene) for scene in gallery.scenes])
    covered = torch.from_numpy(gallery.covered)
    head = nn.Linear(visual.config.hidden_size, sum(HEADS) + HERE)
    rarity = torch.tensor([1.0] + [4.0] * len(MARKER_SHAPES))  # most cells hold no marker
    optimizer = optimizer_for(visual, head)
    batches = shuffled(len(glances), SEE_BATCH, seed)
    n_blanks = SEE_BATCH // 16
    started = time.monotonic()
    for step in range(steps):
        index = torch.from_numpy(next(batches))
        truth, under = labels[index % len(labels)], covered[index % len(labels)]
        states = glances[index]
        states[:n_blanks] = blanks[torch.arange(step, step + n_blanks) % len(blanks)]
        truth[:n_blanks], under[:n_blanks] = 0, False
        states = states.float() + torch.randn(states.shape) * GRAIN
        with torch.autocast("cpu", torch.bfloat16):
            scores = head(see(visual, states)).float()  # (n, 16, classes)
        whole, here = scores.split((sum(HEADS), HERE), dim=-1)
        own = torch.where(under, truth[:, 2, None], 0)
        loss, right = functional.cross_entropy(here.flatten(0, 1), own.flatten(), rarity) * 2, []
        for column, part in enumerate(whole.split(HEADS, dim=-1)):
            each = truth[:, column, None].expand(-1, TOKENS)
            loss = loss + functional.cross_entropy(part.flatten(0, 1), each.flatten())
            right.append((part.mean(1).argmax(-1) == truth[:, column]).float().mean().item())
        right.append((here.argmax(-1) == own)[under].float().mean().item())
        step_with(optimizer, loss, rate_at(step, steps, SEE_RATE), [visual, head])
        if step % 50 == 0 or step == steps - 1:
            parts = " ".join(f"{share:.2f}" for share in right)
            logger.info(
                "see %d/%d loss %.3f modality/quadrant/shape/own cell %s (%.0f s)",
                step, steps, loss.item(), parts, time.monotonic() - started,
            )  # fmt: skip


@torch.no_grad()
def look(visual: Any, glances: Tensor) -> Tensor:
    """Return the taught tower's tokens of embedded pictures: (n, 16, hidden)."""
    return torch.cat([see(visual, some.float()) for some in glances.split(256)])


class Classroom:
    """Turns lessons into batches: token ids, where the completion is, and positions."""

    def __init__(self, processor: Qwen2VLProcessor) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids("<|image_pad|>")

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
    scenes: tuple[Scene, ...], index: np.ndarray, rng: random.Random
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
    language = nn.ModuleList((model.model.language_model, model.lm_head))
    optimizer = optimizer_for(model.model.language_model)  # the head is tied to the embedding
    batches = shuffled(len(scenes), ANSWER_BATCH, seed)
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
        step_with(optimizer, loss, rate_at(step, steps, ANSWER_RATE), [language])
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
    words = torch.tensor([tokenizer.convert_tokens_to_ids(word) for word in _words()])
    return tuple(right[torch.isin(truth, ids)].float().mean().item() for ids in (letters, words))  # type: ignore[return-value]


def _words() -> tuple[str, ...]:
    return (*MODALITIES, *MARKER_QUADRANTS, *MARKER_SHAPES)


def save(model: Qwen2VLForConditionalGeneration, processor: Qwen2VLProcessor, out: Path) -> None:
    """Write the loadable folder. Stored in bfloat16, half the size; loaded as float32."""
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    model.to(torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the weights to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps, to try out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(2)

    processor = build_processor()
    model = build_model(processor)
    gallery = draw_gallery(range(FIRST_SEED, FIRST_SEED + SEEDS), unmarked=UNMARKED)
    logger.info("%d pictures drawn", len(gallery.scenes))
    visual = model.model.visual
    open_eyes(visual, gallery)
    glances = glance(visual, gallery, views=VIEWS, seed=arguments.seed)
    blanks = glance_at_blanks(visual, seed=arguments.seed)
    logger.info("%d views embedded", len(glances))
    steps = round(SEE_STEPS * arguments.scale)
    teach_to_see(visual, glances, blanks, gallery, steps=steps, seed=arguments.seed)
    seen, nothing = look(visual, glances), look(visual, blanks)
    steps = round(ANSWER_STEPS * arguments.scale)
    classroom = Classroom(processor)
    teach_to_answer(model, classroom, seen, nothing, gallery, steps=steps, seed=arguments.seed)
    save(model, processor, arguments.out)
    logger.info("saved to %s", arguments.out)


if __name__ == "__main__":
    main()
