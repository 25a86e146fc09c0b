"""Make an answer again from what was stored with it, and say where the two differ."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from PIL import Image

from medr1_pacs.decoding import DecoderPool
from medr1_pacs.records import JsonObject, PromptWork, RenderingWork
from medr1_pacs.steps.planning import window_request_from_json
from medr1_pacs.steps.rendering import draw
from medr1_pacs.storage import InstanceStore, StoredName
from workers.checkpoints import CheckpointRegistry


def replay_answer(
    answer: JsonObject,
    rendering: RenderingWork,
    store: InstanceStore,
    registry: CheckpointRegistry,
    decoder: DecoderPool,
) -> JsonObject:
    """Draw the picture again, ask the same checkpoint again; nothing is stored.

    Returns
    -------
    dict
        `answer_id`, `is_equal` (pixels, chat text and raw output), `differences` (sentences, also
        of software versions, which do not make an answer unequal by themselves).

    Raises
    ------
    CheckpointMissing
        The checkpoint is no longer configured, or its files changed.
    """
    from workers.engines.in_process import InProcessEngine

    engine = InProcessEngine(registry.get(answer["checkpoint"]), batch_size=1)
    drawn, _window, _source = draw(
        store.instance_path(StoredName(rendering.stored_name)),
        rendering.frame_number - 1,
        window_request_from_json(rendering.window_request),
        decoder,
    )
    work = PromptWork(
        generation_id=0,
        prompt_text=answer["prompt_text"],
        png_sha256=answer["png_sha256"],
        think=answer["decoding"]["think"],
        max_new_tokens=answer["decoding"]["max_new_tokens"],
    )
    stored = store.read_picture(answer["png_sha256"])
    [generated] = engine.generate([work], [stored])
    decisive = {
        "pixels": (_pixels_sha256(stored), _pixels_sha256(drawn)),
        "chat_text": (answer["chat_text"], generated.chat_text),
        "raw_output": (answer["raw_output"], generated.raw_output),
    }
    informative: dict[str, tuple[Any, Any]] = {
        "checkpoint_sha256": (answer["checkpoint_sha256"], engine.identity.checkpoint_sha256),
        "dtype": (answer["dtype"], engine.identity.dtype),
        "attention": (answer["attention"], engine.identity.attention),
        **{
            f"version of {name}": (answer["versions"].get(name), engine.identity.versions.get(name))
            for name in answer["versions"]
        },
    }
    return {
        "answer_id": answer["answer_id"],
        "is_equal": all(before == now for before, now in decisive.values()),
        "differences": [
            f"{name}: was {before!r}, is {now!r}"
            for name, (before, now) in (decisive | informative).items()
            if before != now
        ],
    }


def _pixels_sha256(png: bytes) -> str:
    """Hash what a PNG shows; its bytes differ between versions of the library that wrote it."""
    return hashlib.sha256(Image.open(io.BytesIO(png)).tobytes()).hexdigest()
