"""What research was shown before: an export as of an earlier day puts it back."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event_now
from medr1_pacs.db.tables import PastValue
from medr1_pacs.records.words import JsonObject


def keep_past(
    session: Session,
    action: str,
    study_id: int,
    object_type: str,
    was: Mapping[int, JsonObject],
    *,
    project_id: int | None = None,
) -> None:
    """Keep what rows of a study said until now, by their ids, and tell that it changed."""
    event_id = add_event_now(session, action, "study", study_id, new={object_type: len(was)})
    session.add_all(
        PastValue(
            event_id=event_id,
            project_id=project_id,
            object_type=object_type,
            object_id=object_id,
            was=values,
        )
        for object_id, values in sorted(was.items())
    )
