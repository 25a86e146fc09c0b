"""Make the demo checkpoint: `python -m workers.demo_checkpoint.train --out DIR`.

    draw phantoms -> teach the tower to see -> teach the language model to answer -> save

First the vision tower learns, by a throw-away head on each of its tokens, what is on a picture.
Then it is frozen, its tokens are kept, and the language model learns to answer from them: no step
waits for pictures, and the two halves never have to find each other from nothing.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from workers.demo_checkpoint.answering import Classroom, teach_to_answer
from workers.demo_checkpoint.network import build_model
from workers.demo_checkpoint.pictures import draw_gallery
from workers.demo_checkpoint.seeing import (
    glance,
    glance_at_blanks,
    look,
    open_eyes,
    teach_to_see,
)
from workers.demo_checkpoint.tokenizer import build_processor

logger = logging.getLogger(__name__)

FIRST_SEED = 10_000  # the demo sends seeds below it, measure.py draws far above: both unseen
SEEDS, UNMARKED = 640, 200  # pictures a modality, and those drawn once more without marker
VIEWS = 3  # copies of each picture, all but the first varied
SEE_STEPS, ANSWER_STEPS = 1500, 1500


def save(model: Qwen2VLForConditionalGeneration, processor: Qwen2VLProcessor, out: Path) -> None:
    """Write the loadable folder. Stored in bfloat16, half the size; loaded as float32."""
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    model.to(torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the weights to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps, to try out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(2)

    processor = build_processor()
    model = build_model(processor)
    gallery = draw_gallery(range(FIRST_SEED, FIRST_SEED + SEEDS), unmarked=UNMARKED)
    logger.info("%d pictures drawn", len(gallery.scenes))
    visual = model.model.visual
    open_eyes(visual, gallery)
    glances = glance(visual, gallery, views=VIEWS, seed=arguments.seed)
    blanks = glance_at_blanks(visual, seed=arguments.seed)
    logger.info("%d views embedded", len(glances))
    steps = round(SEE_STEPS * arguments.scale)
    teach_to_see(visual, glances, blanks, gallery, steps=steps, seed=arguments.seed)
    seen, nothing = look(visual, glances), look(visual, blanks)
    steps = round(ANSWER_STEPS * arguments.scale)
    classroom = Classroom(processor)
    teach_to_answer(model, classroom, seen, nothing, gallery, steps=steps, seed=arguments.seed)
    save(model, processor, arguments.out)
    logger.info("saved to %s", arguments.out)


if __name__ == "__main__":
    main()
