"""The demo checkpoint's tokenizer and processor: Qwen2-VL's classes around a small vocabulary.

Byte-level, so any text encodes. The words that the demo questions offer are one token each: a
model this small finds a word again only if it looks the same in the option and in the reasoning.
So are the sentences that never change, which leaves its few layers the picture and the options.
"""

from __future__ import annotations

import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from workers.demo_checkpoint import lessons

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
PATCH_PX, MERGE = 49, 2  # 392 px = 4 x 4 tokens of 98 px: no processor resizes the pinned picture

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


def build_tokenizer() -> Qwen2Tokenizer:
    """Learn the merges from the lessons' texts; always the same result."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 64,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    chat = ["\n", "user\n", "assistant\n"]
    # What stands in every prompt and completion counts more, so that its words stay whole.
    texts = [*lessons.untaught_texts(), *(lessons.own_texts() + chat) * 20]
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        **ROLES,
        model_max_length=4096,
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    words = [word for family in lessons.WORDS.values() for word in family]
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in (*TAGS, SYSTEM, *lessons.fixed_phrases())]
        + [AddedToken(word, normalized=False, single_word=True) for word in words]
    )
    return tokenizer


def build_processor() -> Qwen2VLProcessor:
    sizes = {"patch_size": PATCH_PX, "merge_size": MERGE}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        video_processor=Qwen2VLVideoProcessor(**sizes),
        tokenizer=build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )
