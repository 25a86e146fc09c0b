"""The canonical form of an audit event, which is a leaf of the log's tree.

    action, object, scope, account, record      in the open
    actor, at, told, reason                     as commitments, opened by salts of their own

`scope` is the study and the project by which an export finds it.

`told` is the old and the new value. A leaf names nobody and gives no day away, and without the
event's 16 random bytes it cannot be guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medr1_pacs.audit.canonical import commit
from medr1_pacs.audit.merkle import leaf_hash

EVENT_FORM = 1
"""Version of the form, part of it."""
COMMITTED = ("actor", "at", "told", "reason")
"""Fields of an event that can be hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as it is hashed."""

    event_id: int
    action: str
    object_type: str
    object_id: int | None
    study_id: int | None
    """That it is about, by what was known when it got its place."""
    project_id: int | None
    """That it is told of, whoever else uses the study."""
    account_id: int | None
    """Of the person; None: the service, the command line, or nobody who has an account."""
    record: str | None
    """SHA-256 of the record that it tells of, 64 hex digits."""
    salt: str
    """16 random bytes, as hex."""
    actor: str
    at: str
    """ISO 8601 in UTC with microseconds: `2026-01-02T03:04:05.678901Z`."""
    told: dict[str, Any]
    """`old` and `new`, each only where there is one."""
    reason: str | None

    def leaf(self) -> bytes:
        """Return its hash as a leaf; raises `ValueError` where it holds what we never hash."""
        commitments = {name: commit(self.salt, name, getattr(self, name)) for name in COMMITTED}
        return leaf_of(
            event_id=self.event_id,
            action=self.action,
            object_type=self.object_type,
            object_id=self.object_id,
            study_id=self.study_id,
            project_id=self.project_id,
            account_id=self.account_id,
            record=self.record,
            commitments=commitments,
        )

    def leaf_or_none(self) -> bytes | None:
        """Return its hash as a leaf; None where it holds what we never hash."""
        try:
            return self.leaf()
        except (ValueError, TypeError):
            return None


def leaf_of(
    *,
    event_id: int,
    action: str,
    object_type: str,
    object_id: int | None,
    study_id: int | None,
    project_id: int | None,
    account_id: int | None,
    record: str | None,
    commitments: dict[str, str],
) -> bytes:
    """Return an event's hash as a leaf, by the commitments to what can be hidden."""
    # Canonical JSON of one object with the keys in order; written out, since it runs for millions.
    form = (
        f'{{"account":{_number(account_id)},"action":{_quote(action)},'
        f'"actor":"{commitments["actor"]}","at":"{commitments["at"]}","event":{event_id:d},'
        f'"form":{EVENT_FORM},"object":[{_quote(object_type)},{_number(object_id)}],'
        f'"reason":"{commitments["reason"]}","record":{_quote(record)},'
        f'"scope":[{_number(study_id)},{_number(project_id)}],"told":"{commitments["told"]}"}}'
    )
    return leaf_hash(form.encode("utf-8", "surrogatepass"))


def _number(value: int | None) -> str:
    return "null" if value is None else f"{value:d}"


@lru_cache(maxsize=256)
def _quote(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)
