"""The size of the demo checkpoint, and its vision tower as training runs it.

The classes are transformers' own Qwen2-VL; `embed` and `see` compute what its vision tower
computes, over a batch of equal pictures and several times faster on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import (
    GenerationConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from workers.demo_checkpoint.tokenizer import MERGE, PATCH_PX

GRID = 392 // PATCH_PX  # patches along one side of the pinned picture
TOKENS = (GRID // MERGE) ** 2  # what the language model sees of one picture
HIDDEN = 128


def build_model(processor: Qwen2VLProcessor) -> Qwen2VLForConditionalGeneration:
    """Make an untrained model of about 3.7 million parameters."""
    token_id = processor.tokenizer.convert_tokens_to_ids
    end, pad = token_id("<|im_end|>"), token_id("<|endoftext|>")
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": -(-len(processor.tokenizer) // 64) * 64,
            "hidden_size": HIDDEN,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": pad,
            "eos_token_id": end,
            "pad_token_id": pad,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 3,
            "embed_dim": 128,
            "hidden_size": HIDDEN,
            "num_heads": 4,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
        },
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        do_sample=False, bos_token_id=pad, eos_token_id=[end, pad], pad_token_id=pad
    )
    return model


def to_patches(pictures: NDArray[np.uint8]) -> Tensor:
    """Cut pictures (n, 392, 392, 3) into patches (n, 64, 3*49*49), 2x2 neighbours together."""
    side = GRID // MERGE
    cut = torch.from_numpy(pictures).reshape(-1, side, MERGE, PATCH_PX, side, MERGE, PATCH_PX, 3)
    return cut.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(len(pictures), GRID * GRID, -1)


def normalise(patches: Tensor) -> Tensor:
    """Turn patches of uint8 into what the processor hands to the vision tower."""
    mean, std = (
        torch.tensor(values).repeat_interleave(PATCH_PX**2)
        for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (patches.float() - 255 * mean) / (255 * std)


def embed(visual: Any, pictures: NDArray[np.uint8]) -> Tensor:
    """Run the patch embedding on pictures (n, 392, 392, 3) -> (n, 64, width).

    Its kernel is as large as its stride: a matrix product. A still picture is repeated in time, so
    the two halves of the kernel may be added beforehand.
    """
    kernel = visual.patch_embed.proj.weight.sum(2).flatten(1)
    return functional.linear(normalise(to_patches(pictures)), kernel)


def see(visual: Any, states: Tensor) -> Tensor:
    """Run the rest of the vision tower on embedded patches -> tokens (n, 16, hidden)."""
    n, patches, width = states.shape
    cos, sin = visual.rotary_pos_emb(states, _places())
    cos, sin = cos.repeat(n, 1), sin.repeat(n, 1)
    for block in visual.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(states)).reshape(n * patches, 3, attention.num_heads, -1)
        q, k, v = qkv.unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
        q, k, v = (part.reshape(n, patches, *part.shape[1:]).transpose(1, 2) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        states = states + attention.proj(mixed.transpose(1, 2).reshape(n, patches, width))
        states = states + block.mlp(block.norm2(states))
    merged: Tensor = visual.merger(states.reshape(-1, width))
    return merged.reshape(n, TOKENS, -1)


def _places() -> Tensor:
    """Return the (row, column) of every patch, in the order of `to_patches`."""
    line = torch.arange(GRID).reshape(GRID // MERGE, MERGE)
    grid = (GRID // MERGE, GRID // MERGE, MERGE, MERGE)
    rows, columns = line[:, None, :, None].expand(grid), line[None, :, None, :].expand(grid)
    return torch.stack((rows.flatten(), columns.flatten()), -1)
