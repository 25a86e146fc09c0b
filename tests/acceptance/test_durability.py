"""No success leaves before the sync that makes the instance's bytes and name durable.

The system calls of a listener are traced while a real peer sends to it. PS3.7 9.3.1.2: the response
is a P-DATA-TF PDU, which starts with 0x04, over the association's socket.
"""

from __future__ import annotations

import re
import subprocess
import sys

import psutil
import pytest
from factories import make_instance
from servers import find_program, wait_until
from service import AE_TITLE, Service

from medr1_pacs.peers import echo

CALLS = "openat,write,writev,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg"
INSTANCES = 5


@pytest.fixture
def traced_listener(tmp_path):
    strace = find_program("strace")
    service = Service(tmp_path)
    trace = tmp_path / "trace"
    process = subprocess.Popen(
        [strace, "-f", "-y", "-xx", "-s", "8192", "-e", f"trace={CALLS}", "-o", str(trace),
         sys.executable, "-m", "medr1_pacs", "listen"],
        env=service.environ,
        cwd=tmp_path,
    )  # fmt: skip
    assert service.run("db", "upgrade").returncode == 0
    wait_until(lambda: echo("127.0.0.1", service.dicom_port, called_ae_title=AE_TITLE), 60)

    def stop() -> None:
        for listener in psutil.Process(process.pid).children():
            listener.terminate()  # strace itself waits for it
        process.wait(30)

    yield service, trace, stop
    if process.poll() is None:
        stop()


def unhex(text: str) -> bytes:
    return bytes(int(byte, 16) for byte in re.findall(r"\\x([0-9a-f]{2})", text))


def test_every_success_is_sent_after_its_syncs(traced_listener):
    service, trace, stop = traced_listener
    assert service.send([make_instance() for _ in range(INSTANCES)]) == [0x0000] * INSTANCES
    stop()

    steps: list[str] = []
    proven = 0
    for line in trace.read_text("latin-1").splitlines():
        # `-y -xx` print the path of a descriptor in hex, too: `fsync(9<\x2f\x74...>) = 0`
        call = line.split(None, 1)[1]
        content = unhex(call)
        if call.startswith("fsync") and call.rstrip().endswith("= 0"):
            if b".part" in content:
                steps = ["bytes synced"]
            elif content.endswith(b"/incoming"):
                steps.append("folder synced")
        elif call.startswith("rename") and b".part" in content:
            steps.append("renamed")
        elif call.startswith(("sendto", "sendmsg")) and is_store_success(content):
            assert steps == ["bytes synced", "renamed", "folder synced"]
            steps = []
            proven += 1
    assert proven == INSTANCES


def is_store_success(payload: bytes) -> bool:
    """Whether bytes hold a C-STORE-RSP (0000,0100) = 8001H with (0000,0900) Status = 0000H."""
    command_field = b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80"
    status = b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00"
    return command_field in payload and status in payload
