"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Enum, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite has no time zones, so it is stored there as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone; use datetime.now(UTC)")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AnyText(TypeDecorator[str]):
    """Text that nobody checked, as a model's output or an error's: kept wherever it can be stored.

    PostgreSQL stores no NUL and neither database half a surrogate pair; both become U+FFFD.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return _UNSTORABLE.sub("\ufffd", value)


def json_column_type() -> JSON:
    """JSON on SQLite, JSONB on PostgreSQL; Python None is SQL NULL."""
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def enum_column_type(enum: type[StrEnum]) -> Enum:
    """A text column that holds the members' values; no native type, so members can be added."""

    def values(members: Any) -> list[str]:
        return [member.value for member in members]

    return Enum(enum, native_enum=False, create_constraint=False, length=32, values_callable=values)
