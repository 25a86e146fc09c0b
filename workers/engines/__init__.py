"""What turns prompts and pictures into generations.

`medr1_pacs.steps.answering.Engine` is what every engine is: it takes `ModelPrompt`, returns
`ModelOutput`, and knows of no database.

    in_process.py  Qwen2-VL in this process, by transformers
"""

from __future__ import annotations

from collections.abc import Callable

from medr1_pacs.checkpoints import ConfiguredCheckpoint
from medr1_pacs.steps.answering import Engine


def open_engine(
    checkpoint: ConfiguredCheckpoint,
    *,
    batch_size: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Engine:
    """Load the engine that answers with a checkpoint.

    Parameters
    ----------
    batch_size
        Prompts that it is given at once; 0 lets it choose.
    should_stop
        Asked while it generates; a batch that is stopped raises `Interrupted`.

    Raises
    ------
    CheckpointMissing
        Files of the checkpoint are missing or were changed.
    """
    from workers.engines.in_process import InProcessEngine  # imports torch, which takes seconds

    return InProcessEngine(checkpoint, batch_size=batch_size, should_stop=should_stop)
