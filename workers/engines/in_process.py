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

from medr1_pacs.checkpoints import ConfiguredCheckpoint, verify_files
from medr1_pacs.errors import Interrupted
from medr1_pacs.records.work import EngineIdentity, ModelOutput, ModelPrompt

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

    def _stop_when_asked(self, token_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full(
            (token_ids.shape[0],), self._should_stop(), device=token_ids.device, dtype=torch.bool
        )

    def generate(self, prompts: Sequence[ModelPrompt]) -> list[ModelOutput]:
        """Answer prompts; those with the same limits run as one batch.

        Raises
        ------
        Interrupted
            The worker was asked to stop; nothing of the batch counts.
        """
        batches: dict[tuple[int, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            limits = prompt.decoding.max_new_tokens, prompt.decoding.do_sample
            batches.setdefault(limits, []).append(index)
        outputs: dict[int, ModelOutput] = {}
        for (max_new_tokens, do_sample), batch in batches.items():
            generated = self._generate_batch(
                [prompts[index] for index in batch], max_new_tokens, do_sample
            )
            outputs |= zip(batch, generated, strict=True)
        return [outputs[index] for index in range(len(prompts))]

    @torch.inference_mode()
    def _generate_batch(
        self, prompts: Sequence[ModelPrompt], max_new_tokens: int, do_sample: bool
    ) -> list[ModelOutput]:
        started = time.perf_counter()
        messages = [_chat(prompt) for prompt in prompts]
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
            do_sample=do_sample,
            max_new_tokens=max_new_tokens,
            stopping_criteria=[self._stop_when_asked],
        )
        if self._should_stop():
            raise Interrupted("the worker was asked to stop")
        seconds = (time.perf_counter() - started) / len(prompts)
        outputs = []
        for row, text in enumerate(texts):
            tokens = sequences[row, prompt_length:].tolist()
            length, finish_reason = _completion_length(tokens, self._end_tokens)
            [raw_output] = self._processor.batch_decode(
                [tokens[:length]], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            prompt_tokens = int(inputs["attention_mask"][row].sum())
            outputs.append(
                ModelOutput(text, raw_output, finish_reason, prompt_tokens, length, seconds)
            )
        return outputs


def _chat(prompt: ModelPrompt) -> list[dict[str, Any]]:
    """Return the one user turn as Qwen2-VL's processor takes it."""
    picture = {
        "type": "image",
        # A PIL image, never a string: the library would open paths and URLs.
        "image": Image.open(io.BytesIO(prompt.png)).convert("RGB"),
        "max_pixels": prompt.decoding.max_pixels,
    }
    return [{"role": "user", "content": [picture, {"type": "text", "text": prompt.text}]}]


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
