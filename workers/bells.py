"""Bells: "there is work in this queue". One outstanding bell a queue is enough."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from workers.app import ANSWER_TASK, RENDER_QUEUE, RENDER_TASK, answer_queue

logger = logging.getLogger(__name__)


class BellTower:
    """Rings queues that have work and no bell waiting; survives a broker that comes and goes."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._failures = (
            OperationalError,
            OSError,
            *app.connection_for_write().recoverable_connection_errors,
        )
        self._is_away = False

    def ring_render(self) -> None:
        self._ring(RENDER_QUEUE, RENDER_TASK, [])

    def ring_answer(self, checkpoint: str) -> None:
        self._ring(answer_queue(checkpoint), ANSWER_TASK, [checkpoint])

    def _ring(self, queue: str, task: str, arguments: list[str]) -> None:
        try:
            if self._waiting(queue) == 0:
                self._app.send_task(
                    task, args=arguments, queue=queue, retry=False, connection=self._connection
                )
            self._is_away = False
        except self._failures as error:
            if not self._is_away:
                logger.warning("the broker does not answer, bells wait: %s", error)
            self._is_away = True
            self.close()

    def _waiting(self, queue: str) -> int:
        if self._connection is None:
            self._connection = self._app.connection_for_write()
            self._connection.ensure_connection(max_retries=1, timeout=2)
        channel = self._connection.default_channel
        # Declaring it each time also brings the queue back on a broker that restarted empty.
        bound = self._app.amqp.queues[queue](channel)
        bound.declare()
        return int(bound.queue_declare().message_count)

    def close(self) -> None:
        """Forget the connection; the next ring makes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
