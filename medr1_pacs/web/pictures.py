"""Pictures as the model was shown them; which of them may be seen is decided by who calls."""

from __future__ import annotations

from fastapi import Response

from medr1_pacs.db.renderings import find_equal_picture
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import PictureLost
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.security.access import NotFound


def picture_response(database: Database, pictures: PictureStore, png_sha256: str) -> Response:
    """Return a stored picture.

    A file that was lost may have been drawn again with equal pixels, under another name.
    """
    try:
        png = pictures.read(png_sha256)
    except PictureLost:
        with database.read() as session:
            equal = find_equal_picture(session, png_sha256)
        try:
            png = pictures.read(equal or png_sha256)
        except PictureLost:
            raise NotFound("the picture is lost, and is drawn again") from None
    return Response(png, media_type="image/png")
