"""What is open right now, written to the database by a heartbeat, never by a C-STORE.

The database may be away while instances arrive; the heartbeat then goes on trying, and the rows
catch up when it is back.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from medr1_pacs.listener.refusals import RefusalLog
from medr1_pacs.processes import ASSOCIATION_HEARTBEAT_S
from medr1_pacs.records.received import AssociationRecord, RefusedContext

logger = logging.getLogger(__name__)

_LAST_WRITE_MAX_S = 3.0

WriteRows = Callable[[Sequence[AssociationRecord]], None]


class AssociationLog:
    """The open associations of this process, and those that closed since the last heartbeat."""

    def __init__(self, write_rows: WriteRows) -> None:
        self._write_rows = write_rows
        self._open: dict[str, AssociationRecord] = {}
        self._closed: dict[str, AssociationRecord] = {}
        self._refusals = RefusalLog()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="association-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end the heartbeat; a database that is away is not waited for."""
        self._stop.set()
        self._thread.join(_LAST_WRITE_MAX_S)

    def opened(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        peer_address: str,
        refused_contexts: tuple[RefusedContext, ...] = (),
    ) -> str:
        """Note an accepted association; returns its token, which names the files it brings."""
        token = secrets.token_hex(8)
        record = AssociationRecord(
            token,
            calling_ae_title,
            called_ae_title,
            peer_address,
            datetime.now(UTC),
            refused_contexts=refused_contexts,
        )
        with self._lock:
            self._open[token] = record
        return token

    def received(self, token: str) -> None:
        with self._lock:
            if record := self._open.get(token):
                self._open[token] = replace(record, instances=record.instances + 1)

    def closed(self, token: str, ending: str) -> None:
        with self._lock:
            if record := self._open.pop(token, None):
                record = replace(record, closed_at=datetime.now(UTC), ending=ending)
                if record.refused_contexts and not record.instances:
                    self._refusals.note(record)
                else:
                    self._closed[token] = record

    def _beat(self) -> None:
        is_away = False
        while True:
            stopping = self._stop.wait(ASSOCIATION_HEARTBEAT_S)
            with self._lock:
                closed, refusals = dict(self._closed), self._refusals.unwritten()
                # One that brought nothing, as a C-ECHO, holds nothing and is not worth a row,
                # unless it was refused something.
                rows = [r for r in (*self._open.values(), *closed.values()) if r.instances]
                rows += refusals.values()
            try:
                if rows:
                    self._write_rows(rows)
                is_away = False
                with self._lock:
                    self._refusals.written(refusals)
                    for token in closed:
                        del self._closed[token]
            except Exception as error:  # noqa: BLE001 - whatever it is, the heartbeat goes on
                if not is_away:
                    logger.warning("associations are not recorded for the moment: %s", error)
                is_away = True
            if stopping:
                return
