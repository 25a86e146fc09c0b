"""Answer one C-STORE request: plain values in, a status out, whatever the transport.

Status codes: PS3.4 Table B.2-1.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from medr1_pacs.errors import InstanceUnreadable, StorageFull, StorageUnavailable
from medr1_pacs.part10 import FileMeta
from medr1_pacs.steps.receiving import receive_instance
from medr1_pacs.storage.instances import InstanceStore

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
TOO_LARGE = 0xC001
"""A700 would make a PACS send the instance again for ever."""

_COMMENT_MAX = 64  # PS3.7 C.5.6: Error Comment is VR LO


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """A status, and for a refusal the Error Comment that says what failed."""

    status: int
    comment: str = ""


def answer_store_request(
    store: InstanceStore, meta: FileMeta, dataset: bytes | memoryview, association_token: str
) -> StoreResponse:
    """Keep one instance; acknowledge it only once its bytes and its name are durable.

    What is not named here is a defect of ours, and propagates.
    """
    try:
        stored = receive_instance(store, meta, dataset, association_token=association_token)
    except InstanceUnreadable as error:
        return _refuse(CANNOT_UNDERSTAND, "parse", error)
    except (StorageFull, StorageUnavailable) as error:
        return _refuse(OUT_OF_RESOURCES, "write", error)
    logger.debug("stored an instance", extra={"action": "store", "stored_name": stored.name})
    return StoreResponse(SUCCESS)


def refuse_too_large(limit_bytes: int) -> StoreResponse:
    """Refuse a data set that was dropped while it came."""
    message = f"the instance exceeds MEDR1_INSTANCE_MAX_MB ({limit_bytes >> 20} MiB)"
    return _refuse(TOO_LARGE, "receive", message)


def _refuse(status: int, phase: str, error: Exception | str) -> StoreResponse:
    logger.error("refused a C-STORE: %s", error, extra={"action": "store", "phase": phase})
    return StoreResponse(status, str(error)[:_COMMENT_MAX])
