"""Make an answer again from what was stored with it, and say where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.work import ModelPrompt, RenderingWork
from medr1_pacs.rendering import hash_pixels
from medr1_pacs.steps.answering import Engine
from medr1_pacs.steps.rendering import Decoder, draw
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore


@dataclass(frozen=True, slots=True)
class Replay:
    """What making an answer again came to."""

    answer_id: int
    is_equal: bool
    """Of pixels, chat text and raw output."""
    differences: tuple[str, ...]
    """One sentence each; also of software versions, which make no answer unequal by themselves."""


def replay_answer(
    answer: StoredAnswer,
    rendering: RenderingWork,
    instances: InstanceStore,
    pictures: PictureStore,
    engine: Engine,
    decoder: Decoder,
) -> Replay:
    """Draw the picture again, ask the same checkpoint again; nothing is stored."""
    drawn, _window, _source = draw(instances, decoder, rendering)
    # Equal pixels may be in another file by now.
    stored = pictures.read(rendering.png_sha256 or answer.png_sha256)
    [output] = engine.generate([ModelPrompt(answer.prompt_text, stored, answer.decoding)])
    decisive = _differences(
        {
            "pixels": (answer.pixels_sha256 or hash_pixels(stored), hash_pixels(drawn)),
            "chat_text": (answer.chat_text, output.chat_text),
            "raw_output": (answer.raw_output, output.raw_output),
        }
    )
    identity = engine.identity
    informative = _differences(
        {
            "checkpoint_sha256": (answer.checkpoint_sha256, identity.checkpoint_sha256),
            "dtype": (answer.dtype, identity.dtype),
            "attention": (answer.attention, identity.attention),
            **{
                f"version of {name}": (version, identity.versions.get(name))
                for name, version in answer.versions.items()
            },
        }
    )
    return Replay(answer.answer_id, not decisive, (*decisive, *informative))


def _differences(pairs: Mapping[str, tuple[object, object]]) -> list[str]:
    return [
        f"{name}: was {before!r}, is {now!r}"
        for name, (before, now) in pairs.items()
        if before != now
    ]
