"""Qwen2-VL in this process: the authors' inference loop over stored pictures.

bf16 and FlashAttention 2 on a GPU that has it, `sdpa` otherwise; fp32 on a CPU, where the text of a
prompt does not depend on the batch it is in. Greedy, left padding.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

# Set before the import: weights come from local folders, never from a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from PIL import Image
from qwen_vl_utils import process_vision_info
from transformers import AutoProcessor, Qwen2VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from medr1_pacs.errors import Interrupted
from medr1_pacs.records import EngineIdentity, Generated, PromptWork
from workers.checkpoints import ConfiguredCheckpoint, verify_files

logger = logging.getLogger(__name__)

transformers_logging.disable_progress_bar()

CPU_BATCH_SIZE = 8
GPU_BATCH_SIZE = 64
"""As the authors of Med-R1 run it."""


class InProcessEngine:
    """One checkpoint, loaded once and kept warm.

    Parameters
    ----------
    batch_size
        Prompts a call of `generate` may hold; 0 chooses by device.
    should_stop
        Asked after every token; a batch that is stopped raises `Interrupted`.
    """

    def __init__(
        self,
        checkpoint: ConfiguredCheckpoint,
        *,
        batch_size: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._should_stop = should_stop
        sha256 = verify_files(checkpoint)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        attention = _choose_attention(self._device)
        self.batch_size = batch_size or (
            GPU_BATCH_SIZE if self._device == "cuda" else CPU_BATCH_SIZE
        )
        self._processor: Any = AutoProcessor.from_pretrained(
            checkpoint.path, trust_remote_code=False, local_files_only=True
        )
        # Right padding would put pads between a prompt and its continuation.
        self._processor.tokenizer.padding_side = "left"
        self._model: Any = Qwen2VLForConditionalGeneration.from_pretrained(
            checkpoint.path,
            dtype=self._dtype,
            attn_implementation=attention,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
        self._model.to(self._device).eval()
        self._end_tokens = _end_tokens(self._model.generation_config.eos_token_id)
        self.identity = EngineIdentity(
            checkpoint=checkpoint.name,
            checkpoint_revision=checkpoint.revision,
            checkpoint_sha256=sha256,
            is_demo=checkpoint.is_demo,
            engine="in_process",
            dtype=str(self._dtype).removeprefix("torch."),
            attention=attention,
            versions=self._versions(),
        )

    def _versions(self) -> dict[str, str]:
        packages = ("medr1-pacs", "torch", "transformers", "qwen-vl-utils", "pillow")
        return {
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
            "image_processor": type(self._processor.image_processor).__name__,
            "device": torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
        }

    def chat_text(self, prompt_text: str) -> str:
        """Return a prompt after the checkpoint's chat template; the picture is a placeholder."""
        message = {"role": "user", "content": [{"type": "image"}, _text_part(prompt_text)]}
        text: str = self._processor.apply_chat_template(
            [message], tokenize=False, add_generation_prompt=True
        )
        return text

    def _stop_when_asked(self, token_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full(
            (token_ids.shape[0],), self._should_stop(), device=token_ids.device, dtype=torch.bool
        )

    @torch.inference_mode()
    def generate(self, work: Sequence[PromptWork], pictures: Sequence[bytes]) -> list[Generated]:
        """Answer prompts in one batch; `pictures` are their PNGs, in the same order.

        Raises
        ------
        Interrupted
            The worker was asked to stop; nothing of the batch counts.
        """
        started = time.perf_counter()
        messages = [
            [
                {
                    "role": "user",
                    "content": [
                        # A PIL image, never a string: the library would open paths and URLs.
                        {"type": "image", "image": Image.open(io.BytesIO(png)).convert("RGB")},
                        _text_part(item.prompt_text),
                    ],
                }
            ]
            for item, png in zip(work, pictures, strict=True)
        ]
        texts = [
            self._processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            for message in messages
        ]
        images, videos = process_vision_info(messages)
        inputs = self._processor(
            text=texts, images=images, videos=videos, padding=True, return_tensors="pt"
        ).to(self._device)
        prompt_length = inputs["input_ids"].shape[1]
        sequences = self._model.generate(  # (batch, prompt_length + completion_length)
            **inputs,
            use_cache=True,
            do_sample=False,
            max_new_tokens=max(item.max_new_tokens for item in work),
            stopping_criteria=[self._stop_when_asked],
        )
        if self._should_stop():
            raise Interrupted("the worker was asked to stop")
        seconds = (time.perf_counter() - started) / len(work)
        generated = []
        for row, item in enumerate(work):
            tokens = sequences[row, prompt_length:].tolist()
            length, finish_reason = _completion_length(tokens, self._end_tokens)
            raw_output = self._processor.batch_decode(
                [tokens[:length]], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )[0]
            generated.append(
                Generated(
                    generation_id=item.generation_id,
                    chat_text=texts[row],
                    raw_output=raw_output,
                    finish_reason=finish_reason,
                    prompt_tokens=int(inputs["attention_mask"][row].sum()),
                    completion_tokens=length,
                    seconds=seconds,
                )
            )
        return generated


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _choose_attention(device: str) -> str:
    has_flash = device == "cuda" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if has_flash else "sdpa"


def _end_tokens(configured: int | list[int] | None) -> frozenset[int]:
    if configured is None:
        return frozenset()
    return frozenset(configured if isinstance(configured, list) else [configured])


def _completion_length(tokens: Sequence[int], end_tokens: frozenset[int]) -> tuple[int, str]:
    """Return the number of tokens up to and with the first end token, and why it ended."""
    for index, token in enumerate(tokens):
        if token in end_tokens:
            return index + 1, "stop"
    return len(tokens), "length"
