"""The engine over the demo checkpoint: the authors' loop, batched, on a CPU in float32."""

from __future__ import annotations

import pytest

from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.prompts import build_prompt_text
from medr1_pacs.records import Modality, PromptWork
from medr1_pacs.rendering import draw_model_picture, encode_png
from workers.checkpoints import load_registry, manifest_sha256
from workers.engines.in_process import InProcessEngine

NAMES = [str(modality) for modality in Modality]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    registry = load_registry(None, tmp_path_factory.mktemp("weights"))
    return InProcessEngine(registry.get("demo"), batch_size=8)


def make_work(number: int, *, max_new_tokens: int = 64) -> tuple[PromptWork, bytes]:
    """Prompts of different lengths, so that a batch of them is padded."""
    modality = list(Modality)[number % 8]
    options = NAMES[: 2 + number % 3]
    prompt = build_prompt_text("Which imaging technique is this?", options, think=number % 2 == 0)
    png = encode_png(draw_model_picture(make_phantom(modality, 6000 + number).display))
    return PromptWork(number, prompt, "", number % 2 == 0, max_new_tokens), png


def test_the_text_of_a_prompt_does_not_depend_on_its_batch(engine):
    work, pictures = zip(*(make_work(number) for number in range(8)), strict=True)

    together = engine.generate(work, pictures)

    alone = [engine.generate([item], [png])[0] for item, png in zip(work, pictures, strict=True)]
    assert [g.raw_output for g in together] == [g.raw_output for g in alone]
    assert [g.prompt_tokens for g in together] == [g.prompt_tokens for g in alone]
    assert [g.completion_tokens for g in together] == [g.completion_tokens for g in alone]


def test_generations_are_returned_for_the_prompts_they_answer(engine):
    work, pictures = zip(*(make_work(number) for number in (5, 2)), strict=True)

    assert [g.generation_id for g in engine.generate(work, pictures)] == [5, 2]


def test_a_generation_that_meets_the_token_limit_says_so(engine):
    work, png = make_work(0, max_new_tokens=3)

    [generated] = engine.generate([work], [png])

    assert (generated.finish_reason, generated.completion_tokens) == ("length", 3)


def test_a_generation_that_ends_by_itself_says_so(engine):
    work, png = make_work(1)

    [generated] = engine.generate([work], [png])

    assert generated.finish_reason == "stop"
    assert "<|im_end|>" not in generated.raw_output


def test_the_picture_stands_before_the_text_in_the_chat(engine):
    text = engine.chat_text("What is it?")

    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_chat_text_that_is_stored_is_the_one_that_was_sent(engine):
    work, png = make_work(4)

    [generated] = engine.generate([work], [png])

    assert generated.chat_text == engine.chat_text(work.prompt_text)


def test_the_engine_names_the_weights_and_the_software(engine):
    identity = engine.identity

    assert (identity.checkpoint, identity.is_demo, identity.dtype) == ("demo", True, "float32")
    assert len(identity.checkpoint_sha256) == len(manifest_sha256({}))
    assert {"torch", "transformers", "qwen-vl-utils", "image_processor"} <= set(identity.versions)
