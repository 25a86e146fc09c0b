"""Teach the vision tower, on its own, what is on a picture."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES
from workers.demo_checkpoint.lessons import MODALITIES, Scene
from workers.demo_checkpoint.network import TOKENS, embed, normalise, see, to_patches
from workers.demo_checkpoint.optimizing import (
    optimizer_for,
    rate_at,
    shuffled,
    step_with,
)
from workers.demo_checkpoint.pictures import Gallery, make_blanks, vary

logger = logging.getLogger(__name__)

BATCH, RATE = 64, 1e-3
HEADS = (len(MODALITIES) + 1, len(MARKER_QUADRANTS) + 1, len(MARKER_SHAPES) + 1)  # + "none"
HERE = len(MARKER_SHAPES) + 1  # one more head: which marker lies in the token's own cell
GRAIN = 0.05  # noise on embedded patches, whose values spread by about a half


def label(scene: Scene) -> list[int]:
    """Return the classes of the throw-away head, 0 for none."""
    words = (scene.modality, scene.quadrant, scene.shape)
    names = (MODALITIES, MARKER_QUADRANTS, MARKER_SHAPES)
    return [known.index(word) + 1 if word else 0 for word, known in zip(words, names, strict=True)]


@torch.no_grad()
def open_eyes(visual: Any, gallery: Gallery) -> None:
    """Give the patch embedding the principal components of the pictures' patches, and freeze it.

    From random weights it sees little but brightness for a long time, and no marker.
    """
    some = gallery.pictures[:: max(1, len(gallery.scenes) // 400)]
    patches = normalise(to_patches(some)).flatten(0, 1)  # (n, 3*49*49)
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
    batches = shuffled(len(glances), BATCH, seed)
    n_blanks = BATCH // 16
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
        step_with(optimizer, loss, rate_at(step, steps, RATE))
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
