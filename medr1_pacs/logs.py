"""Logs go to stderr: a sentence for people, then key=value for machines. UIDs may; people never."""

from __future__ import annotations

import logging
import sys
import warnings

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class SentenceFormatter(logging.Formatter):
    """`2026-01-31 12:00:00 INFO name: sentence action=store phase=write`."""

    def format(self, record: logging.LogRecord) -> str:
        extras = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        extras.pop("data", None)  # celery attaches a task's whole arguments
        text = super().format(record)
        return text + "".join(f" {key}={value}" for key, value in sorted(extras.items()))


def configure_logs(verbose: bool = False) -> None:
    """Send this process's logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SentenceFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("medr1_pacs").setLevel(logging.DEBUG if verbose else logging.INFO)
    # These tell of every message and request.
    for name in ("celery", "kombu", "alembic", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pynetdicom").setLevel(logging.ERROR)  # an exception of a handler
    # pydicom quotes the values it stumbles over, in logs and in warnings.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
