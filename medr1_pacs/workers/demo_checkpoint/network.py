"""The size of the demo checkpoint, and its vision tower as training runs it.

The classes are transformers' own Qwen2-VL; `see` computes what the vision tower computes, over a
batch of equal pictures and several times faster on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    GenerationConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from medr1_pacs.workers.demo_checkpoint.tokenizer import MERGE, PATCH_PX

GRID = 392 // PATCH_PX  # patches along one side of the pinned picture
TOKENS = (GRID // MERGE) ** 2  # what the language model sees of one picture
HIDDEN = 192


def build_model(processor: Qwen2VLProcessor) -> Qwen2VLForConditionalGeneration:
    """Make an untrained model of about 3.5 million parameters."""
    token_id = processor.tokenizer.convert_tokens_to_ids
    end, pad = token_id("<|im_end|>"), token_id("<|endoftext|>")
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": -(-len(processor.tokenizer) // 64) * 64,
            "hidden_size": HIDDEN,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
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
            "depth": 4,
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


def to_patches(pictures: Tensor) -> Tensor:
    """Cut pictures (n, 3, 392, 392) into patches (n, 196, 3*28*28), 2x2 neighbours together."""
    side = GRID // MERGE
    cut = pictures.reshape(-1, 3, side, MERGE, PATCH_PX, side, MERGE, PATCH_PX)
    return cut.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(len(pictures), GRID * GRID, -1)


def see(visual: nn.Module, pictures: Tensor) -> Tensor:
    """Run the vision tower on normalised pictures (n, 3, 392, 392) -> tokens (n, 49, hidden)."""
    # The patch embedding's kernel is as large as its stride: a matrix product. A still picture is
    # repeated in time, so the two halves of the kernel may be added beforehand.
    kernel = visual.patch_embed.proj.weight.sum(2).flatten(1)
    states = functional.linear(to_patches(pictures), kernel)  # (n, 196, width)
    cell = torch.arange(GRID * GRID).reshape(GRID // MERGE, GRID // MERGE, MERGE, MERGE)
    at = torch.arange(GRID).reshape(GRID // MERGE, MERGE)
    rows = at[:, None, :, None].expand_as(cell).flatten()
    columns = at[None, :, None, :].expand_as(cell).flatten()
    cos, sin = visual.rotary_pos_emb(states, torch.stack((rows, columns), -1))
    for block in visual.blocks:
        attention = block.attn
        n, patches, width = states.shape
        qkv = attention.qkv(block.norm1(states)).reshape(n * patches, 3, attention.num_heads, -1)
        q, k, v = qkv.unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, cos.repeat(n, 1), sin.repeat(n, 1))
        heads = [
            part.reshape(n, patches, attention.num_heads, -1).transpose(1, 2) for part in (q, k, v)
        ]
        mixed = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2].to(heads[0]))
        states = states + attention.proj(mixed.transpose(1, 2).reshape(n, patches, width))
        states = states + block.mlp(block.norm2(states))
    merged: Tensor = visual.merger(states.reshape(-1, states.shape[-1]))
    return merged.reshape(len(pictures), TOKENS, -1)
