"""Both databases as version 0.1.0 wrote them with their first schemas, for tests of migrations.

`data/answered_at_r0001_v0001.json` holds one CT study of two slices, two questions that take every
slice, all answered.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import MetaData, text

from medr1_pacs.db import schema
from medr1_pacs.db.schema import Branch
from medr1_pacs.db.sessions import Database

STORED = json.loads((Path(__file__).parent / "data/answered_at_r0001_v0001.json").read_text())
FIRST_REVISIONS = {Branch.RESEARCH: "r0001", Branch.VAULT: "v0001"}


def bring_to(database: Database, branch: Branch, revision: str) -> None:
    """Run migrations up to a revision, as the program of that time did."""
    with database.migration() as connection:
        if branch is Branch.VAULT and not database.is_sqlite:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS vault"))
        config = schema._config(branch)
        config.attributes.update(connection=connection, branch=branch.value)
        command.upgrade(config, revision)


def restore(database: Database, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Insert stored rows into the tables that are there, whatever this program's models say."""
    with database.connection() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            for row in tables.get(table.name, []):
                connection.execute(
                    table.insert().values({k: value_of(database, v) for k, v in row.items()})
                )
            if tables.get(table.name) and not database.is_sqlite:
                connection.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 1000)")
                )


def value_of(database: Database, value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"utc"}:
        time = datetime.fromisoformat(value["utc"])
        return time.replace(tzinfo=None) if database.is_sqlite else time
    return value
