"""What senders were refused although they were admitted: presentation contexts (PS3.8 9.3.3.2).

A scanner that is set up for what we do not take asks again and again, and brings nothing. Such
associations are one record a day, sender and set of contexts, with how many they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from pynetdicom.association import Association

from medr1_pacs.part10 import is_uid
from medr1_pacs.records.received import AssociationRecord, RefusedContext

_CONTEXTS_MAX = 32  # of an association, which may propose 128
_SYNTAXES_MAX = 32  # of a context
_RECORDS_MAX = 256
"""How many different ones are noted a day: AE titles are whatever a sender says."""

Key = tuple[date, str, str, str, tuple[RefusedContext, ...]]


def find_refused_contexts(association: Association) -> tuple[RefusedContext, ...]:
    """Return what an association asked for and does not have; SOP classes it has not at all first.

    The answer's context names one transfer syntax at most, so the request's is looked at.
    """
    refused_ids = {context.context_id for context in association.rejected_contexts}
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    refused = [
        RefusedContext(
            _uid(context.abstract_syntax),
            tuple(map(_uid, context.transfer_syntax[:_SYNTAXES_MAX])),
        )
        for context in association.requestor.requested_contexts
        if context.context_id in refused_ids
    ]
    refused.sort(key=lambda context: context.sop_class_uid in accepted)
    return tuple(refused[:_CONTEXTS_MAX])


def _uid(text: object) -> str:
    """Return what a sender calls a UID, unless it is none: then it could say anything."""
    return str(text) if is_uid(str(text)) else "no UID"


class RefusalLog:
    """Associations that brought nothing, as records that stand for several. Not thread-safe."""

    def __init__(self) -> None:
        self._records: dict[Key, AssociationRecord] = {}
        self._unwritten: set[Key] = set()

    def note(self, record: AssociationRecord) -> None:
        """Note an association that closed."""
        assert record.closed_at is not None, "it closed"
        today = record.closed_at.date()
        key = (
            today,
            record.calling_ae_title,
            record.called_ae_title,
            record.peer_address,
            record.refused_contexts,
        )
        known = self._records.get(key)
        if known is None:
            self._forget_before(today)
            if len(self._records) >= _RECORDS_MAX:
                return
            self._records[key] = record
        else:
            self._records[key] = replace(
                known, closed_at=record.closed_at, ending=record.ending, times=known.times + 1
            )
        self._unwritten.add(key)

    def _forget_before(self, today: date) -> None:
        for key in [key for key in self._records if key[0] < today and key not in self._unwritten]:
            del self._records[key]

    def unwritten(self) -> dict[Key, AssociationRecord]:
        """Return the records that changed since they were written."""
        return {key: self._records[key] for key in self._unwritten}

    def written(self, records: Mapping[Key, AssociationRecord]) -> None:
        """Note that these are written; one that changed meanwhile is not."""
        for key, record in records.items():
            if self._records[key] is record:
                self._unwritten.discard(key)
