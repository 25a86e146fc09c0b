"""The engine over the demo checkpoint: the authors' loop, batched, on a CPU in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medr1_pacs.checkpoints import load_registry, manifest_sha256
from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.errors import Interrupted
from medr1_pacs.prompts import build_prompt_text
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Modality
from medr1_pacs.records.work import ModelPrompt
from medr1_pacs.rendering import draw_model_picture, encode_png
from workers.engines import open_engine

NAMES = [str(modality) for modality in Modality]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    registry = load_registry(None, tmp_path_factory.mktemp("weights"))
    return open_engine(registry.get("demo"), batch_size=8)


def make_prompt(number: int, **changes: int) -> ModelPrompt:
    """Prompts of different lengths, so that a batch of them is padded."""
    modality = list(Modality)[number % 8]
    options = NAMES[: 2 + number % 3]
    decoding = replace(Decoding(think=number % 2 == 0, max_new_tokens=64), **changes)
    text = build_prompt_text("Which imaging technique is this?", options, think=decoding.think)
    png = encode_png(draw_model_picture(make_phantom(modality, 6000 + number).display))
    return ModelPrompt(text, png, decoding)


def test_the_text_of_a_prompt_does_not_depend_on_its_batch(engine):
    prompts = [make_prompt(number) for number in range(8)]

    together = engine.generate(prompts)

    alone = [engine.generate([prompt])[0] for prompt in prompts]
    assert [replace(output, seconds=0) for output in together] == [
        replace(output, seconds=0) for output in alone
    ]


def test_a_generation_that_meets_the_token_limit_says_so(engine):
    [output] = engine.generate([make_prompt(0, max_new_tokens=3)])

    assert (output.finish_reason, output.completion_tokens) == ("length", 3)


def test_every_prompt_of_a_batch_has_its_own_token_limit(engine):
    limits = [3, 64, 5, 3]

    outputs = engine.generate([make_prompt(0, max_new_tokens=limit) for limit in limits])

    assert [output.completion_tokens for output in outputs if output.finish_reason == "length"] == [
        3, 5, 3,
    ]  # fmt: skip


def test_a_picture_above_the_pixel_limit_costs_fewer_tokens(engine):
    whole, scaled = engine.generate([make_prompt(0), make_prompt(0, max_pixels=300 * 300)])

    assert whole.prompt_tokens - scaled.prompt_tokens == 16 - 9  # 4 x 4 tokens, 3 x 3 tokens


def test_a_generation_that_ends_by_itself_says_so(engine):
    [output] = engine.generate([make_prompt(1)])

    assert output.finish_reason == "stop"
    assert "<|im_end|>" not in output.raw_output


def test_the_picture_stands_before_the_text_in_the_chat_that_is_stored(engine):
    prompt = replace(make_prompt(4), text="What is it?")

    [output] = engine.generate([prompt])

    assert output.chat_text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_worker_that_is_asked_to_stop_gives_its_batch_up(tmp_path):
    registry = load_registry(None, tmp_path)
    engine = open_engine(registry.get("demo"), should_stop=lambda: True)

    with pytest.raises(Interrupted):
        engine.generate([make_prompt(0)])


def test_the_engine_names_the_weights_and_the_software(engine):
    identity = engine.identity

    assert (identity.checkpoint, identity.is_demo, identity.dtype) == ("demo", True, "float32")
    assert len(identity.checkpoint_sha256) == len(manifest_sha256({}))
    assert {"torch", "transformers", "qwen-vl-utils", "image_processor"} <= set(identity.versions)
