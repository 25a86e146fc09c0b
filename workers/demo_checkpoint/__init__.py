"""A tiny Qwen2-VL that can do the demo questions on a machine without GPU. Not Med-R1.

lessons     what it is taught: questions, and the completion that is right for each
untaught    the questions that it must not pretend to answer
pictures    the phantoms as the service shows them, varied for training
tokenizer   its own small tokenizer, in the shape of Qwen2-VL's
network     its size, and the batched vision tower that training uses
seeing      the first half of the training: the vision tower
answering   the second half: the language model
optimizing  what both halves share
train       makes weights/ (about twenty minutes on two cores)
measure     how often it is right on phantoms that it has never seen
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS_DIR = Path(__file__).parent / "weights"
"""The loadable folder: config, safetensors, tokenizer, processor."""
