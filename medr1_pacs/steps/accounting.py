"""Say of each SOP instance where it is: what was acknowledged must be somewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from medr1_pacs.db.instances import InstanceStanding, list_standings
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import InstanceDamaged, InstanceUnreadable, StorageUnavailable
from medr1_pacs.part10 import read_file_meta
from medr1_pacs.records.words import InstanceHold
from medr1_pacs.storage.instances import InstanceStore, StoredName


class Whereabouts(StrEnum):
    """Where an instance is; under one UID with several files, what is worst of them comes first."""

    DAMAGED = "damaged"  #: recorded, and a file of it is missing or changed
    UNREADABLE = "unreadable"  #: recorded, and the disk does not give a file of it at the moment
    CURRENT = "current"  #: recorded, and its files are what was received
    HELD = "held"  #: recorded, and waits for a person
    REFUSED = "refused"  #: recorded, and a person decided against it
    WAITING = "waiting"  #: in the backlog, or set aside there
    QUARANTINED = "quarantined"  #: kept, and not usable
    DROPPED = "dropped"  #: was not usable, and a person had it deleted
    UNKNOWN = "unknown"  #: nowhere


LOST = (Whereabouts.DAMAGED, Whereabouts.UNREADABLE, Whereabouts.UNKNOWN)
"""What must not be of anything that was acknowledged."""


def account_for(
    store: InstanceStore, database: Database, sop_instance_uids: Collection[str] | None = None
) -> dict[str, Whereabouts]:
    """Return SOP Instance UID -> where it is; without UIDs, of everything that is known.

    Reads every file of the instances that are asked about.
    """
    wanted = None if sop_instance_uids is None else set(sop_instance_uids)
    # The backlog first: what leaves it meanwhile is found among the rows.
    found = dict.fromkeys(_waiting(store), Whereabouts.WAITING)
    with database.read() as session:
        standings = list_standings(session)
    for uid, standing in standings.items():
        if wanted is None or uid in wanted:
            found[uid] = _place(store, standing)
    if sop_instance_uids is None:
        return found
    return {uid: found.get(uid, Whereabouts.UNKNOWN) for uid in sop_instance_uids}


def _place(store: InstanceStore, standing: InstanceStanding) -> Whereabouts:
    for name, sha256 in standing.files.items():
        try:
            store.verify(StoredName(name), sha256)
        except InstanceDamaged:
            return Whereabouts.DAMAGED
        except StorageUnavailable:
            return Whereabouts.UNREADABLE
    in_quarantine = [store.quarantine_path(StoredName(name)) for name in standing.quarantined]
    try:
        if not standing.files and not all(path.exists() for path in in_quarantine):
            return Whereabouts.DAMAGED
    except OSError:
        return Whereabouts.UNREADABLE
    if standing.is_current:
        return Whereabouts.CURRENT
    if standing.hold is not None:
        is_held = standing.hold is InstanceHold.HELD
        return Whereabouts.HELD if is_held else Whereabouts.REFUSED
    if standing.is_dropped and not standing.quarantined:
        return Whereabouts.DROPPED
    return Whereabouts.QUARANTINED


def _waiting(store: InstanceStore) -> Iterable[str]:
    for stored in store.incoming(1 << 62):
        try:
            with store.incoming_path(stored).open("rb") as file:
                yield read_file_meta(file)[0].sop_instance_uid
        except (OSError, InstanceUnreadable):  # indexed meanwhile, or for the indexer to name
            continue
