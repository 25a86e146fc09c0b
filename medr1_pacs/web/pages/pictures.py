"""Pictures as the model was shown them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from medr1_pacs.errors import PictureLost, StorageUnavailable
from medr1_pacs.web.dependencies import Pictures

router = APIRouter()


@router.get("/pictures/{png_sha256}.png")
def picture(png_sha256: str, pictures: Pictures) -> Response:
    """Return a stored picture; its name is the hash of its bytes."""
    if len(png_sha256) != 64 or not png_sha256.isalnum():
        return Response(status_code=404)
    try:
        return Response(pictures.read(png_sha256), media_type="image/png")
    except (PictureLost, StorageUnavailable):
        return Response(status_code=404)
