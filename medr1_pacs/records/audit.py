"""The log of what happened: which events are meant, and one as it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime

from medr1_pacs.records.words import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilters:
    """Each is empty where it does not narrow anything down."""

    object_type: str = ""
    object_id: int | None = None
    """Row of the object; with its type alone."""
    actor: str = ""
    """An account's name, `service` or `operator`."""
    action: str = ""
    """A whole action, or all of it before the dot."""
    since: date | None = None
    """First day, UTC."""
    until: date | None = None
    """Last day, itself included."""

    def to_query(self) -> dict[str, str]:
        """Return what narrows anything down, as a URL has it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """A row of the log."""

    event_id: int
    occurred_at: datetime
    actor: str
    action: str
    object_type: str
    object_id: int | None
    old_value: JsonObject
    new_value: JsonObject
    reason: str
