"""The demo checkpoint before training: its processor, its size, its first weights.

The classes are transformers' own Qwen2-VL around a small vocabulary. `embed_patches` and
`encode_patches` compute what its vision tower computes, over a batch of equal pictures and several
times faster on a CPU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from medr1_pacs.rendering import MODEL_PICTURE_PX
from workers.demo_checkpoint.training import lessons
from workers.demo_checkpoint.training.pictures import CELLS

MERGE = 2  # patches along one side of a token
GRID = CELLS * MERGE  # patches along one side of the picture
PATCH_PX = MODEL_PICTURE_PX // GRID  # 49: no processor resizes the picture
TOKENS = CELLS**2  # what the language model sees of one picture
HIDDEN = 128
ROPE_THETA = 10_000.0

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ROLES = {
    "unk_token": "<|endoftext|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
}
SYSTEM = "system\nYou are a helpful assistant."
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
VOCABULARY_SIZE = 1152

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Yields what Qwen2-VL's own template yields for one picture and one text."""


# --- tokenizer and processor ----------------------------------------------------------------


def build_tokenizer() -> Qwen2Tokenizer:
    """Build a byte-level tokenizer, so that any text encodes; always the same.

    The words that the demo questions offer are one token each: a model this small finds a word
    again only if it looks the same in the option and in the reasoning. So are the sentences that
    never change, which leaves its few layers the picture and the options.
    """
    vocabulary, merges = learn_merges()
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary, merges=merges, **ROLES, model_max_length=4096, padding_side="left"
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    whole = (*TAGS, SYSTEM, *lessons.fixed_phrases())
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in whole]
        + [AddedToken(word, normalized=False, single_word=True) for word in lessons.KNOWN_WORDS]
    )
    return tokenizer


def learn_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn the vocabulary and the merges of byte-pair encoding from the lessons' texts."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 64,  # the rest is for the tokens that are added whole
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    chat = ["\n", "user\n", "assistant\n"]
    # What stands in every prompt and completion counts more, so that its words stay whole.
    texts = [*lessons.untaught_texts(), *(lessons.taught_texts() + chat) * 20]
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def build_processor() -> Qwen2VLProcessor:
    sizes = {"patch_size": PATCH_PX, "merge_size": MERGE}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        video_processor=Qwen2VLVideoProcessor(**sizes),
        tokenizer=build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )


# --- model ----------------------------------------------------------------------------------


def build_model(processor: Qwen2VLProcessor) -> Qwen2VLForConditionalGeneration:
    """Build an untrained model of about 3.7 million parameters."""
    model = Qwen2VLForConditionalGeneration(build_config(processor))
    set_induction_heads(model.model.language_model.layers)
    token_id = processor.tokenizer.convert_tokens_to_ids
    end, pad = token_id("<|im_end|>"), token_id("<|endoftext|>")
    model.generation_config = GenerationConfig(
        do_sample=False, bos_token_id=pad, eos_token_id=[end, pad], pad_token_id=pad
    )
    return model


def build_config(processor: Qwen2VLProcessor) -> Qwen2VLConfig:
    token_id = processor.tokenizer.convert_tokens_to_ids
    end, pad = token_id("<|im_end|>"), token_id("<|endoftext|>")
    return Qwen2VLConfig(
        text_config={
            "vocab_size": -(-len(processor.tokenizer) // 64) * 64,
            "hidden_size": HIDDEN,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": HIDDEN**-0.5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_THETA,
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


# --- induction heads ------------------------------------------------------------------------


@dataclass(frozen=True)
class Channels:
    """Orthonormal directions of a state that the induction heads read and write.

    Each is (hidden, head size): how a token is recognised, and where a state keeps the token that
    stands one before it, the token two before it, and the word that was found.
    """

    token: Tensor
    one_before: Tensor
    two_before: Tensor
    found: Tensor


def set_induction_heads(layers: Any) -> None:
    """Start the language model with the circuit that looks up the letter of a word.

    A letter stands two tokens before its option (` A`, `)`, `CT`), and a word that is looked up
    one token before the place that asks for its letter. Two heads of the first layer start by
    looking one and two tokens back. Three heads of the last start by looking for the place that
    holds a word, to say its letter or to tell whether it was offered. They are "induction heads"
    (Olsson et al. 2022, arXiv:2209.11895): from random weights a model this small found them late
    and by luck, or never. All stay free to change.
    """
    with torch.no_grad():
        for layer in layers:  # quiet, so that what is handed on is heard
            layer.self_attn.o_proj.weight.mul_(0.1)
            layer.mlp.down_proj.weight.mul_(0.1)
        size = layers[0].self_attn.head_dim
        token = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN)).Q[:, :size]
        places = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN)).Q
        channels = Channels(token, *places[:, : 3 * size].split(size, dim=1))
        _set_previous_token_heads(layers[0].self_attn, channels)
        _set_lookup_heads(layers[-1].self_attn, channels)


def _set_previous_token_heads(attention: Any, channels: Channels) -> None:
    """Let two heads, which share one key, hand a token on to the next two places."""
    size, pairs = attention.head_dim, attention.head_dim // 2
    # Scores by place alone: rotary embedding turns a query by its place, and one that is turned
    # back by `back` tokens meets the key that lies so far before it.
    turns = ROPE_THETA ** (-torch.arange(pairs) / pairs)  # radians a token, of each rotary pair
    strength = 6.0 * (torch.arange(pairs) < pairs // 2)
    attention.k_proj.weight[:size] = 0
    attention.k_proj.bias[:size] = torch.cat((strength, torch.zeros(pairs)))
    for head, back in enumerate((1, 2)):
        own = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[own] = 0
        turned_back = (strength * torch.cos(back * turns), -strength * torch.sin(back * turns))
        attention.q_proj.bias[own] = torch.cat(turned_back)
    attention.v_proj.weight[:size] = channels.token.T
    handed_on = torch.cat((channels.one_before, channels.two_before), 1)
    attention.o_proj.weight[:, : 2 * size] = 0.25 * handed_on


def _set_lookup_heads(attention: Any, channels: Channels) -> None:
    """Let three heads find the place that holds a word, and say what stands two before it."""
    size, pairs = attention.head_dim, attention.head_dim // 2
    # Scores by likeness: only in the ten pairs that turn little over the length of a prompt.
    slow = torch.arange(pairs) >= pairs - 10
    rows = torch.nonzero(torch.cat((slow, slow))).flatten()
    for key_head, held in enumerate((channels.token, channels.one_before)):
        own = slice(key_head * size, (key_head + 1) * size)
        attention.k_proj.weight[own] = 0
        attention.k_proj.weight[key_head * size + rows] = 3 * held.T[: len(rows)]
        attention.v_proj.weight[own] = channels.two_before.T
    lookups = (
        # The word before me -> its letter.
        (channels.one_before, channels.token, 3.0),
        # The word I am about to say -> its letter; faint, or every place would find only itself.
        (channels.token, channels.token, 0.3),
        # Am I offered?
        (channels.token, channels.found, 3.0),
    )
    for head, (sought, said, gain) in enumerate(lookups):
        own = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[own] = 0
        attention.q_proj.weight[head * size + rows] = gain * sought.T[: len(rows)]
        attention.o_proj.weight[:, own] = said


# --- vision tower ---------------------------------------------------------------------------


def cut_patches(pictures: NDArray[np.uint8]) -> Tensor:
    """Cut pictures (n, 392, 392, 3) into patches (n, 64, 3*49*49), 2x2 neighbours together."""
    cut = torch.from_numpy(pictures).reshape(-1, CELLS, MERGE, PATCH_PX, CELLS, MERGE, PATCH_PX, 3)
    return cut.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(len(pictures), GRID * GRID, -1)


def normalize(patches: Tensor) -> Tensor:
    """Turn patches of uint8 into what the processor hands to the vision tower."""
    mean, std = (
        torch.tensor(values).repeat_interleave(PATCH_PX**2)
        for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (patches.float() - 255 * mean) / (255 * std)


def embed_patches(visual: Any, pictures: NDArray[np.uint8]) -> Tensor:
    """Run the patch embedding on pictures (n, 392, 392, 3) -> (n, 64, width).

    Its kernel is as large as its stride: a matrix product. A still picture is repeated in time, so
    the two halves of the kernel may be added beforehand.
    """
    kernel = visual.patch_embed.proj.weight.sum(2).flatten(1)
    return functional.linear(normalize(cut_patches(pictures)), kernel)


def encode_patches(visual: Any, embedded: Tensor) -> Tensor:
    """Run the rest of the vision tower: (n, 64, width) -> tokens (n, 16, hidden)."""
    n, patches, width = embedded.shape
    cos, sin = visual.rotary_pos_emb(embedded, _patch_positions())
    cos, sin = cos.repeat(n, 1), sin.repeat(n, 1)
    states = embedded
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


def _patch_positions() -> Tensor:
    """Return the (row, column) of every patch, in the order of `cut_patches`."""
    line = torch.arange(GRID).reshape(CELLS, MERGE)
    grid = (CELLS, CELLS, MERGE, MERGE)
    rows, columns = line[:, None, :, None].expand(grid), line[None, :, None, :].expand(grid)
    return torch.stack((rows.flatten(), columns.flatten()), -1)
