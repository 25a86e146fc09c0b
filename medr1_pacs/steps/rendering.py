"""render: draw the pictures that were planned, one durable PNG each."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import pydicom

from medr1_pacs.db.renderings import RENDERINGS, claim_renderings, record_picture
from medr1_pacs.db.sessions import Database
from medr1_pacs.decoding import DecodedFrame
from medr1_pacs.errors import PermanentError, StorageFull, StorageUnavailable, TransientError
from medr1_pacs.records.planned import VoiWindow
from medr1_pacs.records.work import RenderedPicture, RenderingWork
from medr1_pacs.rendering import (
    draw_model_picture,
    encode_png,
    hash_pixels,
    recipe_of,
    render_frame,
)
from medr1_pacs.steps.claiming import HeldClaim, retry_while_away
from medr1_pacs.storage.instances import InstanceStore, StoredName
from medr1_pacs.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

BATCH_SIZE = 16
_VALUE_MAX_BYTES = 1 << 20
"""A longer value of a header is read when it is asked for: a private element may hold anything."""


class Decoder(Protocol):
    """What turns an encoded frame into an array; see `medr1_pacs.decoding`."""

    def decode(self, path: Path, frame_index: int) -> DecodedFrame: ...


def render_planned(
    database: Database,
    instances: InstanceStore,
    pictures: PictureStore,
    decoder: Decoder,
    *,
    owner: str,
) -> int | None:
    """Draw the oldest planned pictures; returns how many, None when none is planned."""
    with database.write() as session:
        claimed = claim_renderings(session, owner=owner, limit=BATCH_SIZE)
    if claimed is None:
        return None
    claim, work = claimed
    drawn = 0
    with HeldClaim(database, RENDERINGS, claim) as held:
        for item in work:
            drawn_now = _draw_one(instances, decoder, held, item)
            if drawn_now is not None:
                drawn += _keep(database, pictures, held, item, *drawn_now)
    return drawn


def _draw_one(
    instances: InstanceStore, decoder: Decoder, held: HeldClaim, item: RenderingWork
) -> tuple[RenderedPicture, bytes] | None:
    """Draw one picture; returns it with its file's bytes, None after a failure that was noted."""
    started = time.perf_counter()
    try:
        picture, window, source = draw(instances, decoder, item)
        png = encode_png(picture)
        drawn = RenderedPicture(
            recipe=recipe_of(item.window_request),
            png_sha256=hashlib.sha256(png).hexdigest(),
            pixels_sha256=hash_pixels(picture),
            window_center=window.center if window else None,
            window_width=window.width if window else None,
            window_source=source,
            seconds=time.perf_counter() - started,
        )
        return drawn, png
    except TransientError as error:
        held.give_back(error)
        raise
    except PermanentError as error:
        held.give_up(item.rendering_id, error)
    except Exception as error:  # whatever a renderer makes of odd values; the others go on
        logger.exception("a rendering failed", extra={"action": "render"})
        held.note_attempt(item.rendering_id, error)
    return None


def draw(
    instances: InstanceStore, decoder: Decoder, item: RenderingWork
) -> tuple[np.ndarray, VoiWindow | None, str | None]:
    """Return the model's picture of a frame, the window that was applied, and its source.

    Raises
    ------
    InstanceDamaged
        The stored file is missing, or is no longer what was received: nothing is drawn from it.
    PixelDataUnusable
        The frame cannot be decoded.
    TransientError
        The file cannot be read at the moment.
    """
    stored, frame_index = StoredName(item.stored_name), item.frame_number - 1
    instances.verify(stored, item.sha256)
    path = instances.instance_path(stored)
    header = pydicom.dcmread(path, stop_before_pixels=True, defer_size=_VALUE_MAX_BYTES)
    decoded = decoder.decode(path, frame_index)
    frame = render_frame(
        decoded.stored_values,
        header,
        frame_index,
        item.window_request,
        decoded.photometric_interpretation,
    )
    return draw_model_picture(frame.display), frame.window, frame.window_source


def _keep(
    database: Database,
    pictures: PictureStore,
    held: HeldClaim,
    item: RenderingWork,
    picture: RenderedPicture,
    png: bytes,
) -> bool:
    """Record a picture and keep its file, both or neither; False when its claim was lost.

    The file is written under the lock of the study's row: none is left behind of a study that was
    withdrawn meanwhile, and no row stands on a file that is not there.
    """

    def write() -> bool:
        with database.write() as session:
            if not record_picture(session, held.claim, item.rendering_id, picture):
                return False
            pictures.put(png)
            return True

    try:
        return retry_while_away(write)
    except (StorageFull, StorageUnavailable) as error:
        held.give_back(error)
        raise
