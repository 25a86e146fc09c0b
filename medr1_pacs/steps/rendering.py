"""render: draw the pictures that were planned, one durable PNG each."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Protocol

import pydicom

from medr1_pacs.db.claims import record_attempt, release_claim
from medr1_pacs.db.renderings import (
    claim_renderings,
    fail_renderings,
    record_picture,
    record_unusable,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Rendering
from medr1_pacs.decoding import DecodedFrame
from medr1_pacs.errors import PermanentError, TransientError
from medr1_pacs.records import Claim, RenderedPicture, RenderingWork, WindowRequest
from medr1_pacs.rendering import draw_model_picture, encode_png, render_frame
from medr1_pacs.steps.claiming import ClaimKeeper, insist
from medr1_pacs.steps.planning import window_request_from_json
from medr1_pacs.storage import InstanceStore, StoredName

logger = logging.getLogger(__name__)

BATCH_SIZE = 16
AWAY_WAIT_S = 5.0
"""How long pictures wait whose drawing met something that is away."""


class Decoder(Protocol):
    """What turns an encoded frame into an array; see `medr1_pacs.decoding`."""

    def decode(self, path: Path, frame_index: int) -> DecodedFrame: ...


def render_planned(
    database: Database, store: InstanceStore, decoder: Decoder, *, owner: str
) -> int | None:
    """Draw the oldest planned pictures; returns how many, None when none is planned."""
    with database.write() as session:
        claimed = claim_renderings(session, owner=owner, limit=BATCH_SIZE)
    if claimed is None:
        return None
    claim, work = claimed
    drawn = 0
    with ClaimKeeper(database, Rendering, claim):
        for item in work:
            drawn += _render_one(database, store, decoder, claim, item)
    return drawn


def _render_one(
    database: Database, store: InstanceStore, decoder: Decoder, claim: Claim, item: RenderingWork
) -> bool:
    started = time.perf_counter()
    path = store.instance_path(StoredName(item.stored_name))
    request = window_request_from_json(item.window_request)
    try:
        png, window, source = draw(path, item.frame_number - 1, request, decoder)
        picture = RenderedPicture(
            png_sha256=store.put_picture(png),
            window_center=window[0] if window else None,
            window_width=window[1] if window else None,
            window_source=source,
            seconds=time.perf_counter() - started,
        )
    except TransientError as error:
        insist(partial(_give_back, database, claim, error))
        raise
    except PermanentError as error:
        insist(partial(_note_unusable, database, claim, item, error))
        return False
    except Exception as error:
        logger.exception("a rendering failed", extra={"action": "render"})
        insist(partial(_note_attempt, database, claim, item, error))
        return False
    return insist(lambda: _record(database, claim, item, picture))


def draw(
    path: Path, frame_index: int, request: WindowRequest, decoder: Decoder
) -> tuple[bytes, tuple[float, float] | None, str | None]:
    """Return the model's PNG of a frame, the window that was applied, and where that came from."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    decoded = decoder.decode(path, frame_index)
    frame = render_frame(
        decoded.stored_values, header, frame_index, request, decoded.photometric_interpretation
    )
    window = (frame.window.center, frame.window.width) if frame.window else None
    return encode_png(draw_model_picture(frame.display)), window, frame.window_source


def _record(
    database: Database, claim: Claim, item: RenderingWork, picture: RenderedPicture
) -> bool:
    with database.write() as session:
        return record_picture(session, claim, item.rendering_id, picture)


def _give_back(database: Database, claim: Claim, error: TransientError) -> None:
    with database.write() as session:
        release_claim(session, Rendering, claim.token, wait_s=AWAY_WAIT_S, error=str(error))


def _note_unusable(
    database: Database, claim: Claim, item: RenderingWork, error: PermanentError
) -> None:
    with database.write() as session:
        record_unusable(session, claim, item.rendering_id, str(error))


def _note_attempt(database: Database, claim: Claim, item: RenderingWork, error: Exception) -> None:
    message = f"{type(error).__name__}: {error}"
    with database.write() as session:
        record_attempt(session, Rendering, claim.token, item.rendering_id, message, fail_renderings)
