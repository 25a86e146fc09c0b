import os
import signal
import struct
import subprocess
import sys

import numpy as np
import psutil
import pytest
from unit.decoding.helpers import GRAY8

from medr1_pacs.decoding import DecoderPool, child
from medr1_pacs.errors import PixelDataUnusable


class Panic(BaseException):
    """A panic of the Rust RLE decoder is no Exception either."""


@pytest.mark.parametrize("failure", [RuntimeError("Nobody^Must^See"), Panic("Nobody^Must^See")])
def test_a_failure_nobody_foresaw_becomes_a_reply_that_quotes_nothing(failure, monkeypatch):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(child, "decode_frame", fail)

    reply, frame = child.answer({"path": "x", "frame_index": 0, "max_frame_bytes": 1})

    assert reply == {"error": f"the decoder failed with {type(failure).__name__}"}
    assert len(frame) == 0


def test_a_frame_that_needs_more_memory_than_the_limit_is_refused(write_instance):
    path = write_instance(GRAY8)
    large = write_instance(GRAY8, Rows=30_000, Columns=30_000)
    content = large.read_bytes()
    start = len(content) - GRAY8.nbytes - 1  # padded to an even length
    large.write_bytes(content[: start - 4] + struct.pack("<I", 900_000_000))
    os.truncate(large, start + 900_000_000)

    limits = {"memory_bytes": 700 * 1024**2, "max_frame_bytes": 1024**3}
    with DecoderPool(**limits) as pool:
        with pytest.raises(PixelDataUnusable, match="more memory than it may have"):
            pool.decode(large, 0)
        path.write_bytes(content.replace(struct.pack("<H", 30_000), struct.pack("<H", 1)))
        assert pool.decode(path, 0).stored_values.shape == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_does_not_spoil_a_frame(number, own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        pool.decode(path, 0)
        child = the_child()
        child.send_signal(number)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)
        assert the_child().pid == child.pid


def test_no_child_outlives_a_parent_that_is_killed(write_instance):
    script = (
        "import sys, time, psutil; from pathlib import Path\n"
        "from medr1_pacs.decoding import DecoderPool\n"
        "pool = DecoderPool(); pool.decode(Path(sys.argv[1]), 0)\n"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(write_instance(GRAY8))],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
