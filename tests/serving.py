"""The pages of a site that was filled, served by a process of the service."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from servers import find_free_port, wait_until
from whole_site import WholeSite

from medr1_pacs.processes import module_command


@contextmanager
def serve_pages(site: WholeSite) -> Iterator[str]:
    """Serve the pages on a free port of this machine; gives their address."""
    port, data_dir = find_free_port(), site.settings.data_dir
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MEDR1_")}
    environ |= {
        "MEDR1_DATA_DIR": str(data_dir),
        "MEDR1_PROJECTS": str(site.settings.projects),
        "MEDR1_WEB_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with (data_dir.parent / "web.log").open("wb") as log:
        process = subprocess.Popen(
            module_command("medr1_pacs", "web"),
            env=environ,
            cwd=data_dir.parent,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _is_alive(url), "the pages answer", process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
