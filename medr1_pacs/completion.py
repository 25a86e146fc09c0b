"""complete: given what arrived and when, which studies are complete.

Nobody can know that a study is complete: DICOM has no such message. It is taken to be when nothing
of the *study* (not of its last series) arrived for a while and no living association is still
sending to it; a late instance reopens it as a new version. `workers.sweep` asks only while no
received instance waits for its row: it may belong to any study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class OpenAssociation:
    """An association that was not closed: which study its latest instance belongs to."""

    study_id: int
    heartbeat_at: datetime


def find_complete_studies(
    last_received_at: Mapping[int, datetime],
    open_associations: Iterable[OpenAssociation],
    *,
    now: datetime,
    quiet_s: float,
    heartbeat_limit_s: float,
) -> list[int]:
    """Return the ids of the studies that are complete, in ascending order.

    Parameters
    ----------
    last_received_at
        For each study that is receiving, when its latest instance arrived.
    open_associations
        An association whose heartbeat is older than `heartbeat_limit_s` is dead and holds nothing.
    """
    held = {
        association.study_id
        for association in open_associations
        if now - association.heartbeat_at <= timedelta(seconds=heartbeat_limit_s)
    }
    quiet = timedelta(seconds=quiet_s)
    return sorted(
        study_id
        for study_id, received_at in last_received_at.items()
        if study_id not in held and now - received_at >= quiet
    )
