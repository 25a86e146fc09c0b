"""Everything goes wrong at once, for an hour: nothing is lost, nothing is asked twice.

Every process is killed, both servers are stopped, the disk fills, files are damaged (some are sent
again, some are not), foreign files lie about, failed studies are retried, everything is suspended,
and a second sweep runs beside the first. `SOAK_SECONDS` makes the hour shorter.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import psutil
import pytest
from pydicom.dataset import Dataset
from service import AE_TITLE, Service
from sqlalchemy import func, select

from medr1_pacs.db.tables import Answer, Generation, Instance, Rendering
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import DatabaseUnavailable, InstanceUnreadable, TransientError
from medr1_pacs.part10 import read_file_meta
from medr1_pacs.peers import send_instances
from medr1_pacs.processes import module_command
from medr1_pacs.records.words import GenerationState, Modality, RenderingState

SOAK_S = float(os.environ.get("SOAK_SECONDS", "3600"))
SETTLE_S = 1200.0
DISK_MB = 3000

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(SOAK_S + SETTLE_S + 900),
    # What pynetdicom leaves open when its peer is killed under it is none of ours.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few gigabytes that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here: run it as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


class Sender:
    """Sends single instances until they are acknowledged, from a thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.acknowledged: dict[str, str] = {}
        """SOP Instance UID -> Study Instance UID of what was answered with success."""

    def send(self, dataset: Dataset, patience_s: float = 600.0) -> None:
        deadline = time.monotonic() + patience_s
        while not self._is_taken(dataset):
            assert time.monotonic() < deadline, "an instance was not taken for ten minutes"
            time.sleep(1)
        self.acknowledged[str(dataset.SOPInstanceUID)] = str(dataset.get("StudyInstanceUID", ""))

    def _is_taken(self, dataset: Dataset) -> bool:
        port = self._service.dicom_port
        with suppress(TransientError, OSError):
            # pynetdicom leaks a socket for each connection that is refused.
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            statuses = send_instances([dataset], "127.0.0.1", port, called_ae_title=AE_TITLE)
            return list(statuses) == [0x0000]
        return False


class WorstHour:
    """What goes wrong, and what is known of it."""

    def __init__(
        self, service: Service, disk: Path, postgresql: object, redis: object, seed: int
    ) -> None:
        self.service, self.disk = service, disk
        self.postgresql, self.redis = postgresql, redis
        self.rng = random.Random(seed)
        self.sender = Sender(service)
        self.database = service.database()
        self.log: Counter[str] = Counter()
        self.numbers = iter(range(20_000, 1_000_000))
        self.never_again: set[str] = set()
        """UIDs of what was damaged at rest and is not sent again."""
        self.never_usable: set[str] = set()
        """UIDs of what was sent in an unusable form and is not sent again."""
        self.later: list[tuple[float, Dataset]] = []
        """What is sent again, and when."""
        self.sent: list[Dataset] = []
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self.sweep: subprocess.Popen[bytes] | None = None

    # -- senders ---------------------------------------------------------------------------

    def send_all_the_time(self) -> None:
        try:
            while not self._stop.is_set():
                self._send_one()
                self._send_what_is_due()
        except BaseException as error:
            self.failure = error
            raise

    def stop_sending(self) -> None:
        self._stop.set()

    def make(self) -> Dataset:
        modality = self.rng.choice((Modality.XRAY, Modality.ULTRASOUND, Modality.FUNDUS))
        return make_study(modality, next(self.numbers))[0]

    def _send_one(self) -> None:
        dataset, dice = self.make(), self.rng.random()
        if dice < 0.05:
            self._send_unusable(dataset)
        elif dice < 0.15:
            self._send_and_damage(dataset)
        elif dice < 0.20 and self.sent:
            self.sender.send(self.rng.choice(self.sent))
            self.log["sent a duplicate"] += 1
        elif dice < 0.25 and self.sent:
            corrected = deepcopy(self.rng.choice(self.sent))
            corrected.PatientName = f"Corrected^{next(self.numbers)}"
            self.sender.send(corrected)
            self.log["sent corrected demographics"] += 1
        else:
            self.sender.send(dataset)
            self.sent.append(dataset)
        time.sleep(self.rng.uniform(1.0, 3.0))

    def _send_unusable(self, dataset: Dataset) -> None:
        broken = deepcopy(dataset)
        del broken.StudyInstanceUID
        self.sender.send(broken)
        self.log["sent an unusable instance"] += 1
        if self.rng.random() < 0.5:
            self.later.append((time.monotonic() + self.rng.uniform(2, 30), dataset))
        else:
            self.never_usable.add(str(dataset.SOPInstanceUID))

    def _send_and_damage(self, dataset: Dataset) -> None:
        """Damage a file between its row and its picture, where that is quick enough."""
        self.sender.send(dataset)
        uid = str(dataset.SOPInstanceUID)
        path = self._wait_for_file(uid)
        if path is None:
            return
        if self.rng.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-100])
        self.log["damaged a stored file"] += 1
        if self.rng.random() < 0.3 and not self._is_drawn(uid):
            self.never_again.add(uid)
        else:
            self.later.append((time.monotonic() + self.rng.uniform(1, 40), dataset))

    def _wait_for_file(self, uid: str) -> Path | None:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with suppress(DatabaseUnavailable), self.database.read() as session:
                name = session.scalar(
                    select(Instance.stored_name).where(Instance.sop_instance_uid == uid)
                )
                if name:
                    found = list((self.disk / "storage/instances").rglob(name))
                    return found[0] if found else None
            time.sleep(0.1)
        return None

    def _is_drawn(self, uid: str) -> bool:
        """Whether its picture is there, or may be soon: then the damage changes nothing."""
        with suppress(DatabaseUnavailable), self.database.read() as session:
            states = session.scalars(
                select(Rendering.state)
                .join(Instance, Rendering.instance_id == Instance.id)
                .where(Instance.sop_instance_uid == uid)
            ).all()
            return any(state is not RenderingState.FAILED for state in states)
        return True

    def _send_what_is_due(self) -> None:
        now = time.monotonic()
        due = [dataset for at, dataset in self.later if at <= now]
        self.later = [(at, dataset) for at, dataset in self.later if at > now]
        for dataset in due:
            self.sender.send(dataset)
            self.log["sent a damaged instance again"] += 1

    # -- what goes wrong -------------------------------------------------------------------

    def harm(self) -> None:
        harms: list[tuple[int, Callable[[], None]]] = [
            (10, self.kill_a_child),
            (1, self.kill_the_supervisor),
            (3, self.kill_the_second_sweep),
            (2, self.stop_postgresql),
            (2, self.kill_redis),
            (2, self.fill_the_disk),
            (3, self.lose_a_picture),
            (3, self.drop_a_foreign_file),
            (2, self.suspend_everything),
            (3, self.retry_everything),
        ]
        harm = self.rng.choices([h for _, h in harms], [weight for weight, _ in harms])[0]
        self.log[harm.__name__.replace("_", " ")] += 1
        harm()

    def kill_a_child(self) -> None:
        children = list(self.service.children().values())
        if children:
            with suppress(psutil.NoSuchProcess):
                self.rng.choice(children).kill()

    def kill_the_supervisor(self) -> None:
        self.service.kill_and_start()

    def kill_the_second_sweep(self) -> None:
        if self.sweep is not None:
            self.sweep.kill()
            self.sweep.wait()
        log = (self.service.folder / "second-sweep.log").open("ab")
        with log:
            self.sweep = subprocess.Popen(
                module_command("medr1_pacs", "sweep"),
                env=self.service.environ,
                cwd=self.service.folder,
                stdout=log,
                stderr=log,
            )

    def stop_postgresql(self) -> None:
        self.postgresql.stop(self.rng.choice((signal.SIGINT, signal.SIGQUIT)))
        try:
            time.sleep(self.rng.uniform(2, 15))
            if self.rng.random() < 0.5:
                self._damage_the_backlog()
        finally:
            self.postgresql.start()

    def _damage_the_backlog(self) -> None:
        """Ruin the data set of a file that waits for its row; its meta information stays."""
        for path in list((self.disk / "storage/incoming").glob("*.dcm")):
            with suppress(OSError, InstanceUnreadable), path.open("rb") as file:
                meta, offset = read_file_meta(file)
                dataset = self._sent_under(meta.sop_instance_uid)
                if dataset is None:
                    continue
                path.write_bytes(path.read_bytes()[:offset] + b"\xff" * 1000)
                self.log["damaged a waiting file"] += 1
                self.later.append((time.monotonic() + 30, dataset))
                return

    def _sent_under(self, uid: str) -> Dataset | None:
        return next((ds for ds in self.sent if str(ds.SOPInstanceUID) == uid), None)

    def kill_redis(self) -> None:
        self.redis.kill()
        time.sleep(self.rng.uniform(1, 5))
        self.redis.start()

    def fill_the_disk(self) -> None:
        ballast = self.disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(self.rng.uniform(3, 10))
        ballast.unlink()

    def lose_a_picture(self) -> None:
        found = list((self.disk / "storage/renderings").rglob("*.png"))
        if found:
            self.rng.choice(found).unlink(missing_ok=True)

    def drop_a_foreign_file(self) -> None:
        number = next(self.numbers)
        with suppress(OSError):
            (self.disk / f"storage/incoming/scan{number}.dcm").write_bytes(b"not ours")

    def suspend_everything(self) -> None:
        processes = [self.service.process(), *self.service.process().children(recursive=True)]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            if number is signal.SIGSTOP:
                time.sleep(self.rng.uniform(2, 10))

    def retry_everything(self) -> None:
        self.service.run("retry", "--all")


@pytest.fixture
def hour(site_service, small_disk, postgresql_server, redis_server) -> Iterator[WorstHour]:
    site_service.environ |= {
        "MEDR1_STORAGE_DIR": str(small_disk / "storage"),
        "MEDR1_STORAGE_RESERVE_MB": "50",
        "MEDR1_BATCH_SIZE": "8",
    }
    site_service.start()
    hour = WorstHour(site_service, small_disk, postgresql_server, redis_server, seed=11)
    hour.kill_the_second_sweep()
    yield hour
    hour.stop_sending()
    if hour.sweep is not None:
        hour.sweep.kill()
        hour.sweep.wait()
    hour.database.dispose()
    for name in ("up.log", "second-sweep.log"):
        with suppress(OSError):
            shutil.copy(site_service.folder / name, Path(tempfile.gettempdir()) / f"soak-{name}")


def test_after_an_hour_in_which_everything_goes_wrong_all_is_accounted_for(hour, capsys):
    thread = threading.Thread(target=hour.send_all_the_time, daemon=True)
    thread.start()
    ends_at = time.monotonic() + SOAK_S
    while time.monotonic() < ends_at and hour.failure is None:
        time.sleep(hour.rng.uniform(2, 12))
        hour.harm()
    hour.stop_sending()
    thread.join(900)
    assert hour.failure is None
    assert not thread.is_alive()
    for dataset in [dataset for _, dataset in hour.later]:
        hour.sender.send(dataset)

    acknowledged = hour.sender.acknowledged
    studies = {study for uid, study in acknowledged.items() if study}
    studies -= {acknowledged[uid] for uid in hour.never_usable}
    settled = hour.service.wait_for_settled(len(studies), SETTLE_S)

    with capsys.disabled():
        print(f"\n{len(acknowledged)} instances, {len(studies)} studies", dict(hour.log))
        print(
            f"never sent again: {len(hour.never_again)} damaged, {len(hour.never_usable)} unusable"
        )
    states = {row["study_instance_uid"]: row["state"] for row in settled}
    failed = {study for study, state in states.items() if state == "failed"}
    assert failed == {acknowledged[uid] for uid in hour.never_again}
    assert set(states.values()) <= {"answered", "nothing_to_ask", "failed"}
    assert_each_prompt_was_answered_once(hour)
    assert_everything_is_accounted_for(hour)


def assert_each_prompt_was_answered_once(hour: WorstHour) -> None:
    with hour.database.read() as session:
        states = dict(
            session.execute(
                select(Generation.state, func.count(Generation.id)).group_by(Generation.state)
            ).all()
        )
        answers = session.scalar(select(func.count(Answer.id)))
        distinct = session.scalar(select(func.count(func.distinct(Answer.generation_id))))
    assert set(states) <= {GenerationState.ANSWERED, GenerationState.FAILED}
    assert answers == distinct == states[GenerationState.ANSWERED]


def assert_everything_is_accounted_for(hour: WorstHour) -> None:
    uids = hour.service.folder / "uids.txt"
    uids.write_text("\n".join(hour.sender.acknowledged))
    result = hour.service.run("instances", "account", str(uids), "--json")
    places = json.loads(result.stdout)
    assert places.keys() == hour.sender.acknowledged.keys()
    by_place = {
        place: {uid for uid, found in places.items() if found == place}
        for place in set(places.values())
    }
    assert by_place.pop("damaged", set()) == hour.never_again
    assert by_place.pop("quarantined", set()) == hour.never_usable
    assert by_place.keys() == {"current"}
    listed = json.loads(hour.service.run("quarantine", "list", "--json").stdout)
    assert len(listed) == len(hour.never_usable)
