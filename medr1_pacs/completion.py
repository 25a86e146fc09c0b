"""complete: given what arrived and when, which studies are complete.

Nobody can know that a study is complete: DICOM has no such message. It is taken to be when nothing
of the *study* (not of its last series) arrived for a while and no living association is still
sending to it; a late instance reopens it as a new version. Instances that wait for their rows may
belong to any study, so the quiet is judged as of when the oldest of them arrived.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class OpenAssociation:
    """An association that was not closed: which study its latest instance belongs to."""

    study_id: int
    heartbeat_at: datetime


PATIENCE_QUIET_TIMES = 10
"""How many quiet times a study waits for a file of it that was set aside, or for an association
that stays open and sends nothing of it."""


def find_complete_studies(
    last_received_at: Mapping[int, datetime],
    open_associations: Iterable[OpenAssociation],
    *,
    now: datetime,
    quiet_s: float,
    heartbeat_limit_s: float,
    oldest_waiting_at: datetime | None = None,
    set_aside: Collection[int] = (),
) -> list[int]:
    """Return the ids of the studies that are complete, in ascending order.

    Parameters
    ----------
    last_received_at
        For each study that is receiving, when its latest instance arrived.
    open_associations
        An association whose heartbeat is older than `heartbeat_limit_s` is dead and holds nothing;
        one that lives holds its study for `PATIENCE_QUIET_TIMES`.
    oldest_waiting_at
        When the oldest instance arrived that waits for its row and is not set aside.
    set_aside
        Studies of which a file is set aside; they wait `PATIENCE_QUIET_TIMES` times as long.
    """
    held = {
        association.study_id
        for association in open_associations
        if now - association.heartbeat_at <= timedelta(seconds=heartbeat_limit_s)
    }
    quiet = timedelta(seconds=quiet_s)
    # What waits arrived then or later: if it belongs to a study that had been quiet, it is late.
    known_until = min(now, oldest_waiting_at or now)
    return sorted(
        study_id
        for study_id, received_at in last_received_at.items()
        if known_until - received_at
        >= quiet * (PATIENCE_QUIET_TIMES if study_id in held or study_id in set_aside else 1)
    )
