"""complete: find the studies that nothing is sent to any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from medr1_pacs.completion import find_complete_studies
from medr1_pacs.db.associations import list_open_associations
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.set_aside import find_studies_of, list_set_aside
from medr1_pacs.db.studies import find_study, list_receiving, mark_complete
from medr1_pacs.errors import StudyNotReceiving
from medr1_pacs.processes import ASSOCIATION_SILENT_S
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.records.words import StudyState


def complete_studies(
    database: Database,
    *,
    quiet_s: float,
    oldest_waiting_at: datetime | None = None,
    set_aside: Iterable[SetAsideFile] = (),
) -> int:
    """Mark what is complete; returns how many studies that were.

    `oldest_waiting_at`: when the oldest instance of the backlog arrived that is not set aside.
    """
    with database.read() as session:
        receiving = list_receiving(session)
        if not receiving:
            return 0
        associations = list_open_associations(session)
        missing = find_studies_of(session, set_aside)
    now = datetime.now(UTC)
    complete = find_complete_studies(
        receiving,
        associations,
        now=now,
        quiet_s=quiet_s,
        heartbeat_limit_s=ASSOCIATION_SILENT_S,
        oldest_waiting_at=oldest_waiting_at,
        set_aside=missing.keys(),
    )
    for study_id in complete:
        with database.write() as session:
            mark_complete(session, study_id, now, missing=_note(missing.get(study_id, [])))
    return len(complete)


def complete_study(database: Database, study_instance_uid: str, *, actor: str) -> list[str]:
    """Call a receiving study complete before its time; returns the files of it that are set aside.

    Raises
    ------
    StudyNotReceiving
        There is no such study, or it is complete already.
    """
    with database.write() as session:
        study_id = find_study(session, study_instance_uid)
        if study_id is None:
            raise StudyNotReceiving(f"no study {study_instance_uid}; see `medr1-pacs studies`")
        names = find_studies_of(session, list_set_aside(session)).get(study_id)
        now, note = datetime.now(UTC), _note(names or [])
        state = mark_complete(session, study_id, now, missing=note, actor=actor)
        if state is not StudyState.RECEIVING:
            raise StudyNotReceiving(
                f"{study_instance_uid} is {state.replace('_', ' ')}: only a study that is "
                "receiving can be called complete"
            )
    return names or []


def _note(set_aside: Sequence[str]) -> str:
    return f"without {len(set_aside)} set aside: {', '.join(set_aside)}" if set_aside else ""
