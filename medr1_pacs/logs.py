"""Logs go to stderr: a sentence for people, then key=value for machines. UIDs may; people never."""

from __future__ import annotations

import logging
import sys

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
    # These tell of every association, message and request; pynetdicom's would quote data sets.
    for name in ("pynetdicom", "celery", "kombu", "pydicom", "alembic", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
