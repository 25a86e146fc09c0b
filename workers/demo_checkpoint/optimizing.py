"""The parts of a training loop that both halves of the training share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warm up over the first twentieth, then fall along a cosine to a fiftieth."""
    warm = max(1, steps // 20)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def shuffled(n: int, batch: int, seed: int) -> Iterator[NDArray[np.int64]]:
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


def step_with(optimizer: torch.optim.AdamW, loss: Tensor, rate: float) -> None:
    """Take one step, with the gradient cut to a norm of 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate
    nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()
