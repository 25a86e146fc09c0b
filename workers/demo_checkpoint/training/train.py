"""Make the demo checkpoint: `python -m workers.demo_checkpoint.training.train --out DIR`.

    draw phantoms -> train the vision tower -> train the language model -> save

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from workers.demo_checkpoint.training.lessons import (
    KNOWN_WORDS,
    WORDS,
    Lesson,
    Scene,
    pick_lesson,
)
from workers.demo_checkpoint.training.network import (
    GRID,
    TOKENS,
    build_model,
    build_processor,
    cut_patches,
    embed_patches,
    encode_patches,
    normalize,
)
from workers.demo_checkpoint.training.pictures import (
    PictureSet,
    draw_pictures,
    make_blanks,
    vary,
)

logger = logging.getLogger(__name__)

FIRST_SEED = 10_000  # the demo sends seeds below it, measure.py draws far above: both unseen
SEEDS, UNMARKED = 640, 200  # pictures a modality, and those drawn once more without marker
VIEWS, BLANKS = 3, 256  # views of each picture, all but the first varied; blank pictures
VISION_STEPS, LANGUAGE_STEPS = 1500, 9000
VISION_BATCH, LANGUAGE_BATCH = 64, 32
PEAK_RATE = 1e-3
LOG_EVERY = 50  # steps

SCENE_CLASSES = tuple(len(words) + 1 for words in WORDS.values())  # 0 for none
CELL_CLASSES = len(WORDS["shape"]) + 1  # the shape of the marker in a token's own cell; 0 for none
EMBEDDING_NOISE = 0.05  # on embedded patches, whose values spread by about a half


# --- vision tower ---------------------------------------------------------------------------


@torch.no_grad()
def set_principal_components(visual: Any, drawn: PictureSet) -> None:
    """Give the patch embedding the principal components of the pictures' patches, and freeze it.

    From random weights it sees little but brightness for a long time, and no marker.
    """
    sample = drawn.pictures[:: max(1, len(drawn.scenes) // 400)]
    patches = normalize(cut_patches(sample)).flatten(0, 1)  # (n, 3*49*49)
    patches -= patches.mean(0)
    kernel = visual.patch_embed.proj.weight
    torch.manual_seed(0)  # the components are found from random directions
    _, spread, directions = torch.pca_lowrank(patches, kernel.shape[0] + 32, center=False, niter=4)
    variances = (spread**2 / len(patches))[: kernel.shape[0]]
    # Nearly whitened: detail varies a thousand times less than brightness, and matters more.
    filters = (directions[:, : kernel.shape[0]] / variances**0.4).T
    filters /= 2 * (variances**0.2).mean()
    halves = filters.reshape(-1, 3, 1, *kernel.shape[-2:]) / kernel.shape[2]
    kernel.copy_(halves.expand_as(kernel))
    kernel.requires_grad_(False)


@torch.no_grad()
def embed_views(visual: Any, pictures: NDArray[np.uint8], *, count: int, seed: int) -> Tensor:
    """Embed views of the pictures once for all: (count * n, 64, width) bfloat16.

    The first view is as it is: in service no picture is varied.
    """
    rng = np.random.default_rng(seed)
    embedded = []
    for view in range(count):
        for start in range(0, len(pictures), 64):
            some = pictures[start : start + 64]
            embedded.append(embed_patches(visual, vary(some, rng) if view else some).bfloat16())
    return torch.cat(embedded)


@torch.no_grad()
def encode_views(visual: Any, views: Tensor) -> Tensor:
    """Return the tower's tokens of embedded views: (n, 16, hidden)."""
    return torch.cat([encode_patches(visual, some.float()) for some in views.split(256)])


def classify(drawn: PictureSet) -> tuple[Tensor, Tensor]:
    """Return what the throw-away head should say, 0 for none.

    The scene's modality, quadrant and shape (n, 3), and the shape in each cell (n, 16).
    """
    scenes = torch.tensor([_scene_classes(scene) for scene in drawn.scenes])
    return scenes, torch.where(torch.from_numpy(drawn.covered), scenes[:, 2, None], 0)


def _scene_classes(scene: Scene) -> list[int]:
    return [WORDS[name].index(word) + 1 if word else 0 for name, word in scene.words.items()]


def vision_loss(scores: Tensor, scenes: Tensor, cells: Tensor) -> tuple[Tensor, list[float]]:
    """Compare a head's scores (n, 16, classes) with the scenes (n, 3) and the cells (n, 16).

    Every token is asked for the whole scene. What lies in its own cell is asked too: that is soon
    learned, and the rest grows from it. Also returns the shares right: of the scene's three
    classes, and of the cells that hold a marker.
    """
    scene_scores, cell_scores = scores.split((sum(SCENE_CLASSES), CELL_CLASSES), dim=-1)
    rarity = torch.tensor([1.0] + [4.0] * (CELL_CLASSES - 1))  # most cells hold no marker
    loss = functional.cross_entropy(cell_scores.flatten(0, 1), cells.flatten(), rarity) * 2
    shares = []
    for column, part in enumerate(scene_scores.split(SCENE_CLASSES, dim=-1)):
        truth = scenes[:, column]
        every_token = truth[:, None].expand(-1, TOKENS)
        loss = loss + functional.cross_entropy(part.flatten(0, 1), every_token.flatten())
        shares.append((part.mean(1).argmax(-1) == truth).float().mean().item())
    shares.append((cell_scores.argmax(-1) == cells)[cells > 0].float().mean().item())
    return loss, shares


def train_vision_tower(
    visual: Any, views: Tensor, blanks: Tensor, drawn: PictureSet, *, steps: int, seed: int
) -> None:
    """Teach every token of the tower the whole picture: its modality, its marker's place, shape."""
    scenes, cells = classify(drawn)
    head = nn.Linear(visual.config.hidden_size, sum(SCENE_CLASSES) + CELL_CLASSES)
    optimizer = build_optimizer(visual, head)
    batches = shuffled_batches(len(views), VISION_BATCH, seed)
    n_blanks = VISION_BATCH // 16
    started = time.monotonic()
    for step in range(steps):
        index = torch.from_numpy(next(batches))
        embedded = views[index]
        true_scenes, true_cells = scenes[index % len(scenes)], cells[index % len(scenes)]
        embedded[:n_blanks] = blanks[torch.arange(step, step + n_blanks) % len(blanks)]
        true_scenes[:n_blanks], true_cells[:n_blanks] = 0, 0
        noisy = embedded.float() + torch.randn(embedded.shape) * EMBEDDING_NOISE
        with torch.autocast("cpu", torch.bfloat16):
            scores = head(encode_patches(visual, noisy)).float()
        loss, shares = vision_loss(scores, true_scenes, true_cells)
        take_step(optimizer, loss, learning_rate_at(step, steps))
        if step % LOG_EVERY == 0 or step == steps - 1:
            logger.info(
                "vision %d/%d loss %.3f modality %.2f quadrant %.2f shape %.2f cell %.2f (%.0f s)",
                step, steps, loss.item(), *shares, time.monotonic() - started,
            )  # fmt: skip


# --- language model -------------------------------------------------------------------------


class LessonEncoder:
    """Turns lessons into token ids, and knows which ids are words and letters."""

    def __init__(self, processor: Qwen2VLProcessor) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.words = torch.tensor(self.tokenizer.convert_tokens_to_ids(list(KNOWN_WORDS)))
        self.letters = torch.tensor([self.tokenizer.encode(f" {letter}")[0] for letter in "ABCD"])

    def encode(self, lesson: Lesson) -> tuple[list[int], list[int]]:
        """Return the prompt's ids, with the picture's places, and the completion's."""
        content = [{"type": "image"}, {"type": "text", "text": lesson.prompt_text}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        ).replace("<|image_pad|>", "<|image_pad|>" * TOKENS)
        # Encoded apart as in service, where the prompt is tokenized without its completion.
        return self.tokenizer.encode(text), self.tokenizer.encode(lesson.completion + "<|im_end|>")

    def encode_batch(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
        """Return ids (n, length), padded on the right, and the targets, -100 off the completion."""
        encoded = [self.encode(lesson) for lesson in lessons]
        length = max(len(prompt) + len(completion) for prompt, completion in encoded)
        ids = torch.full((len(encoded), length), self.tokenizer.pad_token_id)
        targets = torch.full((len(encoded), length), -100)
        for row, (prompt, completion) in enumerate(encoded):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor(prompt + completion)
            targets[row, len(prompt) - 1 : end - 1] = torch.tensor(completion)
            if lessons[row].is_recital:
                targets[row, torch.isin(targets[row], self.words)] = -100
        return ids, targets

    def shares_right(self, scores: Tensor, truth: Tensor) -> tuple[float, float]:
        """Return the share of letters, and of the words for what is seen, that are predicted."""
        right = (scores.argmax(-1) == truth).float()
        letters, words = torch.isin(truth, self.letters), torch.isin(truth, self.words)
        return right[letters].mean().item(), right[words].mean().item()


def score_completions(
    model: Qwen2VLForConditionalGeneration, ids: Tensor, targets: Tensor, pictures: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the language model over the tokens of pictures; return scores and their targets.

    Every chat begins alike and holds one picture, so one row's positions serve all rows.
    """
    embedded = model.model.get_input_embeddings()(ids)
    is_picture = ids == model.config.image_token_id
    embedded = embedded.masked_scatter(is_picture[..., None], pictures.to(embedded.dtype))
    positions, _ = model.model.get_rope_index(
        ids[:1],
        mm_token_type_ids=is_picture[:1].int(),
        image_grid_thw=torch.tensor([[1, GRID, GRID]]),
    )
    states = model.model.language_model(
        inputs_embeds=embedded,
        position_ids=positions.expand(-1, len(ids), -1),
        use_cache=False,
    ).last_hidden_state
    is_target = targets >= 0
    return model.lm_head(states[is_target]).float(), targets[is_target]


def train_language_model(
    model: Qwen2VLForConditionalGeneration,
    encoder: LessonEncoder,
    tokens: Tensor,
    blank_tokens: Tensor,
    scenes: Sequence[Scene],
    *,
    steps: int,
    seed: int,
) -> None:
    """Teach the completions, from the trained tower's tokens (views * n, 16, hidden)."""
    rng = random.Random(seed)
    optimizer = build_optimizer(model.model.language_model)  # the head is tied to the embedding
    batches = shuffled_batches(len(tokens), LANGUAGE_BATCH, seed)
    started = time.monotonic()
    for step in range(steps):
        index = next(batches)
        lessons = [pick_lesson(scenes[at % len(scenes)], rng) for at in index]
        pictures = [
            blank_tokens[rng.randrange(len(blank_tokens))] if lesson.is_blank else tokens[at]
            for lesson, at in zip(lessons, index, strict=True)
        ]
        ids, targets = encoder.encode_batch(lessons)
        scores, truth = score_completions(model, ids, targets, torch.stack(pictures))
        loss = functional.cross_entropy(scores, truth)
        take_step(optimizer, loss, learning_rate_at(step, steps))
        if step % LOG_EVERY == 0 or step == steps - 1:
            logger.info(
                "language %d/%d loss %.4f letters %.2f words %.2f (%.0f s)",
                step, steps, loss.item(), *encoder.shares_right(scores, truth),
                time.monotonic() - started,
            )  # fmt: skip


# --- optimizer ------------------------------------------------------------------------------


def learning_rate_at(step: int, steps: int) -> float:
    """Warm up over the first twentieth, then fall along a cosine to a fiftieth of the peak."""
    warm = max(1, steps // 20)
    if step < warm:
        return PEAK_RATE * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def shuffled_batches(n: int, batch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of indices without end, each index once a round."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        yield from (order[start : start + batch] for start in range(0, n - batch + 1, batch))


def build_optimizer(*modules: nn.Module) -> torch.optim.AdamW:
    """Decay the matrices only."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def take_step(optimizer: torch.optim.AdamW, loss: Tensor, rate: float) -> None:
    """Take one step, with the gradient cut to a norm of 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate
    nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()


# --- the whole ------------------------------------------------------------------------------


def train(
    drawn: PictureSet, processor: Qwen2VLProcessor, *, seed: int, scale: float
) -> Qwen2VLForConditionalGeneration:
    """Train a new model on drawn pictures, for a share (`scale`) of the usual steps."""
    torch.manual_seed(seed)
    model = build_model(processor)
    visual = model.model.visual
    set_principal_components(visual, drawn)
    views = embed_views(visual, drawn.pictures, count=VIEWS, seed=seed)
    blank_pictures = make_blanks(BLANKS, np.random.default_rng(seed))
    blanks = embed_views(visual, blank_pictures, count=1, seed=seed)
    logger.info("%d views embedded", len(views))
    vision_steps, language_steps = round(VISION_STEPS * scale), round(LANGUAGE_STEPS * scale)
    train_vision_tower(visual, views, blanks, drawn, steps=vision_steps, seed=seed)
    train_language_model(
        model,
        LessonEncoder(processor),
        encode_views(visual, views),
        encode_views(visual, blanks),
        drawn.scenes,
        steps=language_steps,
        seed=seed,
    )
    return model


def save(model: Qwen2VLForConditionalGeneration, processor: Qwen2VLProcessor, out: Path) -> None:
    """Write the loadable folder. Stored in bfloat16, half the size; loaded as float32."""
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the weights to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps, to try out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(2)

    drawn = draw_pictures(range(FIRST_SEED, FIRST_SEED + SEEDS), unmarked=UNMARKED)
    logger.info("%d pictures drawn", len(drawn.scenes))
    processor = build_processor()
    model = train(drawn, processor, seed=arguments.seed, scale=arguments.scale)
    save(model, processor, arguments.out)
    logger.info("saved to %s", arguments.out)


if __name__ == "__main__":
    main()
