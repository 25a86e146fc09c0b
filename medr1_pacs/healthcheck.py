"""`python -m medr1_pacs.healthcheck KIND`: does that service of this host do its work?

Exit 0 and silence, or exit 1 and one sentence. Health is proven by traffic, not by a process that
exists: the listener answers a C-ECHO, the pages a GET, the others a heartbeat that is fresh.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import Medr1Error, TransientError
from medr1_pacs.peers import echo
from medr1_pacs.processes import READY_BY_HEARTBEAT, SILENT_S, ProcessKind, ProcessName
from medr1_pacs.settings import Settings, load_settings, reachable_host
from medr1_pacs.storage.permissions import PRIVATE_UMASK

CALLING_AE_TITLE = "HEALTHCHECK"
"""Who asks the listener. An allow list has to admit `HEALTHCHECK@127.0.0.1`."""
TIMEOUT_S = 5.0


def check_listener(settings: Settings) -> None:
    """Open an association and send a C-ECHO. Raises `TransientError`."""
    host = reachable_host(settings.dicom_host)
    if not echo(
        host,
        settings.dicom_port,
        called_ae_title=settings.ae_title,
        calling_ae_title=CALLING_AE_TITLE,
    ):
        raise TransientError(
            f"{settings.ae_title} on {host}:{settings.dicom_port} answers no C-ECHO; does "
            f"MEDR1_ALLOWED_PEERS admit {CALLING_AE_TITLE}@{host}?"
        )


def check_web(settings: Settings) -> None:
    """GET `/healthz`. Raises `TransientError`."""
    host, port = reachable_host(settings.web_host), settings.web_port
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    scheme = "http"
    if settings.web_certificate is not None:
        context = ssl._create_unverified_context()  # noqa: S323 - it is of the public name
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        scheme = "https"
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(
            f"{scheme}://{host}:{port}/healthz does not answer: {error}"
        ) from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise TransientError(f"{scheme}://{host}:{port}/healthz answers {status}")


def check_heartbeat(kind: str, settings: Settings) -> None:
    """Look for a fresh heartbeat of this kind and host. Raises `TransientError`."""
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    if settings.database_url.startswith("sqlite") and not path.exists():
        raise TransientError(f"there is no database {path}")  # opening it would make an empty one
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            workers = list_workers(session)
    finally:
        database.dispose()
    names = [(ProcessName.parse(worker.name), worker.heartbeat_at) for worker in workers]
    heartbeats = [at for name, at in names if name.kind == kind and name.is_of_this_host]
    if not heartbeats:
        raise TransientError(f"no {kind} process of {socket.gethostname()} has a heartbeat")
    age_s = (datetime.now(UTC) - max(heartbeats)).total_seconds()
    if age_s > SILENT_S:
        raise TransientError(f"the {kind} heartbeat is {age_s:.0f} s old")


CHECKS: dict[ProcessKind, Callable[[Settings], None]] = {
    ProcessKind.LISTEN: check_listener,
    ProcessKind.WEB: check_web,
    **{kind: partial(check_heartbeat, kind) for kind in READY_BY_HEARTBEAT},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one kind; returns the exit status."""
    parser = argparse.ArgumentParser(prog="medr1_pacs.healthcheck", description=__doc__)
    parser.add_argument("kind", choices=sorted(CHECKS))
    kind = parser.parse_args(arguments).kind
    try:
        CHECKS[kind](load_settings())
    except Medr1Error as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(PRIVATE_UMASK)
    sys.exit(main())
