"""Where the fragments of a message are collected, with limits that pynetdicom 3.0.4 has not."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

logger = logging.getLogger(__name__)

_COMMAND_SET_BYTES_MAX = 1 << 16  # a C-STORE-RQ has some 300 (PS3.7 9.3.1.1)


class LimitedBytes(BytesIO):
    """Keeps up to `limit_bytes`; what exceeds it is dropped, and all that was kept with it."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes
        self.is_exceeded = False

    def write(self, data: Any, /) -> int:
        if self.is_exceeded or self.tell() + len(data) > self.limit_bytes:
            self.is_exceeded = True
            self.seek(0)
            self.truncate()
            return len(data)
        return super().write(data)


class BoundedMessages(DIMSEServiceProvider):
    """Collects the fragments of a message up to a limit."""

    message: Any  # a DIMSEMessage while one is collected

    def __init__(self, association: Association, instance_max_bytes: int) -> None:
        super().__init__(association)
        self._instance_max_bytes = instance_max_bytes

    def receive_primitive(self, primitive: P_DATA) -> None:
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.encoded_command_set = LimitedBytes(_COMMAND_SET_BYTES_MAX)
            self.message.data_set = LimitedBytes(self._instance_max_bytes)
        try:
            super().receive_primitive(primitive)
        except Exception as error:  # noqa: BLE001 - whatever a peer's bytes make pynetdicom raise
            logger.warning("a message cannot be decoded: %s", type(error).__name__)
            self.dul.event_queue.put("Evt19")
