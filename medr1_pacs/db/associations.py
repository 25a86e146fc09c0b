"""Associations: opened, kept alive, closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from medr1_pacs.completion import OpenAssociation
from medr1_pacs.db.tables import Association, Instance, Series
from medr1_pacs.records.listed import RefusalListing
from medr1_pacs.records.received import AssociationRecord


def record_associations(
    session: Session, associations: Iterable[AssociationRecord], now: datetime
) -> None:
    """Insert or update what the listener knows; an open association's heartbeat becomes `now`."""
    for record in associations:
        row = session.scalar(select(Association).where(Association.token == record.token))
        if row is None:
            row = Association(
                token=record.token,
                calling_ae_title=record.calling_ae_title,
                called_ae_title=record.called_ae_title,
                peer_address=record.peer_address,
                opened_at=record.opened_at,
                refused_contexts=[
                    [context.sop_class_uid, list(context.transfer_syntax_uids)]
                    for context in record.refused_contexts
                ]
                or None,
            )
            session.add(row)
        row.heartbeat_at = now
        row.closed_at = record.closed_at
        row.ending = record.ending
        row.instances, row.times = record.instances, record.times


def close_orphans(session: Session, before: datetime, now: datetime) -> None:
    """Close the associations of a listener that is gone: no heartbeat since `before`."""
    session.execute(
        update(Association)
        .where(Association.closed_at.is_(None), Association.heartbeat_at < before)
        .values(closed_at=now, ending="lost")
    )


def list_open_associations(session: Session) -> list[OpenAssociation]:
    """For each association that is open and has sent something: what its latest instance is of."""
    open_rows = session.execute(
        select(Association.token, Association.heartbeat_at).where(Association.closed_at.is_(None))
    )
    found = []
    for token, heartbeat_at in open_rows:
        study_id = session.scalar(
            select(Series.study_id)
            .join(Instance, Instance.series_id == Series.id)
            .where(Instance.association_token == token)
            .order_by(Instance.received_at.desc())
            .limit(1)
        )
        if study_id is not None:
            found.append(OpenAssociation(study_id, heartbeat_at))
    return found


def count_refused(session: Session, since: datetime) -> int:
    """Count the associations that closed since, and were refused a presentation context."""
    refused = select(func.sum(Association.times)).where(
        Association.refused_contexts.is_not(None), Association.closed_at >= since
    )
    return session.scalar(refused) or 0


def list_refused_contexts(session: Session, *, newest: int = 500) -> list[RefusalListing]:
    """Return what senders were refused in the latest associations, the latest first.

    One row a sender and SOP class; `newest` bounds the associations that are looked at.
    """
    rows = session.scalars(
        select(Association)
        .where(Association.refused_contexts.is_not(None), Association.closed_at.is_not(None))
        .order_by(Association.closed_at.desc())
        .limit(newest)
    )
    found: dict[tuple[str, str, str, str], RefusalListing] = {}
    for row in rows:
        assert row.closed_at is not None, "the query says so"
        by_sop_class: dict[str, list[str]] = {}
        for sop_class_uid, syntaxes in row.refused_contexts or ():
            by_sop_class.setdefault(sop_class_uid, []).extend(syntaxes)
        for sop_class_uid, syntaxes in by_sop_class.items():
            key = (row.calling_ae_title, row.called_ae_title, row.peer_address, sop_class_uid)
            known = found.get(key)
            if known is None:
                found[key] = RefusalListing(
                    *key, tuple(syntaxes), row.opened_at, row.closed_at, row.times
                )
                continue
            found[key] = replace(
                known,
                transfer_syntax_uids=tuple(dict.fromkeys((*known.transfer_syntax_uids, *syntaxes))),
                first_at=min(known.first_at, row.opened_at),
                times=known.times + row.times,
            )
    return sorted(found.values(), key=lambda listing: listing.latest_at, reverse=True)
