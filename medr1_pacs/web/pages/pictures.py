"""Pictures as the model was shown them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from medr1_pacs.db.renderings import find_equal_picture
from medr1_pacs.errors import PictureLost, StorageUnavailable
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.dependencies import Pictures, ResearchDatabase
from medr1_pacs.web.security.access import OperationsReader

router = APIRouter()


@router.get("/pictures/{png_sha256}.png")
def picture(
    png_sha256: str, caller: OperationsReader, pictures: Pictures, database: ResearchDatabase
) -> Response:
    """Return a stored picture; its name is the hash of its bytes.

    A file that was lost may have been drawn again with equal pixels, under another name.
    """
    if len(png_sha256) != 64 or not png_sha256.isalnum():
        return Response(status_code=404)
    try:
        return _respond(pictures, png_sha256)
    except PictureLost:
        with database.read() as session:
            equal = find_equal_picture(session, png_sha256)
    except StorageUnavailable:
        return Response(status_code=404)
    try:
        return _respond(pictures, equal) if equal else Response(status_code=404)
    except (PictureLost, StorageUnavailable):
        return Response(status_code=404)


def _respond(pictures: PictureStore, png_sha256: str) -> Response:
    return Response(pictures.read(png_sha256), media_type="image/png")
