"""Memory, selection and idleness of the whole service: `python tests/benchmarks/service.py`.

Sends one study of 300 CT slices (512x512, 16 bit) to `medr1-pacs up`, waits until it is answered,
and prints: growth of the listener's memory, pictures drawn of frames received, and the CPU share of
all processes over a minute of idleness.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from factories import make_instance, make_uid
from service import Service
from sqlalchemy import func, select

from medr1_pacs.db.tables import Generation, Rendering

SLICES = 300


def make_ct_study() -> list:
    rng = np.random.default_rng(1)
    study, series = make_uid(), make_uid()
    noise = rng.integers(0, 2000, (512, 512), dtype=np.uint16).tobytes()
    return [
        make_instance(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            Rows=512,
            Columns=512,
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            BodyPartExamined="CHEST",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 2.0 * number],
            InstanceNumber=number + 1,
            PixelData=noise,
        )
        for number in range(SLICES)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-s", type=float, default=60.0)
    idle_s = parser.parse_args().idle_s
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        service.start()
        try:
            measure(service, idle_s)
        finally:
            service.stop()


def measure(service: Service, idle_s: float) -> None:
    listener = service.children()["listen"]
    instances = make_ct_study()
    service.send(instances[:1])
    before_mb = listener.memory_info().rss / 1e6
    started = time.perf_counter()
    statuses = service.send(instances[1:])
    seconds = time.perf_counter() - started
    grown_mb = listener.memory_info().rss / 1e6 - before_mb
    assert set(statuses) == {0}
    print(f"sent {SLICES} slices of 524 KB in {seconds:.1f} s, one association")
    print(f"listener memory: {before_mb:.0f} MB, grown by {grown_mb:.1f} MB")
    service.wait_for_settled(1, timeout_s=600)
    database = service.database()
    with database.read() as session:
        drawn = session.scalar(select(func.count(Rendering.id)))
        prompts = session.scalar(select(func.count(Generation.id)))
    database.dispose()
    print(f"pictures drawn: {drawn} of {SLICES} frames, for {prompts} prompts")
    time.sleep(5)
    processes = [service.process(), *service.process().children(recursive=True)]
    spent = cpu_seconds(processes)
    time.sleep(idle_s)
    share = (cpu_seconds(processes) - spent) / idle_s
    print(f"idle: {share:.2%} of one core over {idle_s:.0f} s, {len(processes)} processes")


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())


if __name__ == "__main__":
    main()
