"""review -> snapshot: freeze what filters find now, under a name to cite."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version

from medr1_pacs.db.research import iterate_found_at_once
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.snapshots import add_snapshot, get_snapshot, has_snapshot, iterate_snapshot
from medr1_pacs.errors import RowExists, SnapshotRefused
from medr1_pacs.exports.json_lines import json_line, json_lines
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.research import FIELDS
from medr1_pacs.records.snapshots import FROZEN, Snapshot

ANSWERS_MAX = 1_000_000
"""Answers a snapshot may have: they are held in memory while it is made, some 0.4 GB a million."""
NAME_MAX = 64


def make_snapshot(
    database: Database,
    project: str,
    name: str,
    filters: AnswerFilters,
    *,
    description: str = "",
    actor: str,
) -> Snapshot:
    """Freeze what filters find.

    Raises
    ------
    SnapshotRefused
        The name is taken or is none, nothing is found, or too much.
    """
    if (
        not 1 <= len(name) <= NAME_MAX
        or name != name.strip()
        or not name.isprintable()
        or "/" in name
        or name in (".", "..")  # steps in an address
    ):
        raise SnapshotRefused(
            f"the name of a snapshot has 1 to {NAME_MAX} printable characters and no slash"
        )
    taken = f"the project {project} has a snapshot {name!r} already"
    with database.read() as session:
        if has_snapshot(session, project, name):
            raise SnapshotRefused(taken)
    digest, frozen = hashlib.sha256(), []
    for answer in iterate_found_at_once(database, project, filters):
        row = answer.to_json()
        digest.update(json_line(row).encode())
        kept = {field: row[field] for field in FROZEN}
        frozen.append((answer.answer_id, json.dumps(kept, separators=(",", ":")).encode()))
        if len(frozen) > ANSWERS_MAX:
            raise SnapshotRefused(
                f"a snapshot holds at most {ANSWERS_MAX:,} answers: narrow it down"
            )
    if not frozen:
        raise SnapshotRefused("nothing is found: a snapshot of nothing cites nothing")
    snapshot = Snapshot(
        project=project,
        name=name,
        description=description,
        filters=filters.to_query(),
        fields=list(FIELDS),
        made_by=actor,
        made_at=datetime.now(UTC),
        program_version=version("medr1-pacs"),
        answers=len(frozen),
        sha256=digest.hexdigest(),
    )
    try:
        with database.write() as session:
            add_snapshot(session, snapshot, frozen, actor=actor)
    except RowExists as error:
        with database.read() as session:
            if has_snapshot(session, project, name):
                raise SnapshotRefused(taken) from error
        raise
    return snapshot


def is_as_it_was(database: Database, project: str, name: str) -> bool:
    """Whether the answers of a snapshot still have its hash: reads all of them."""
    with database.read() as session:
        snapshot = get_snapshot(session, project, name)
    digest = hashlib.sha256()
    for line in json_lines(iterate_snapshot(database, project, name)):
        digest.update(line.encode())
    return digest.hexdigest() == snapshot.sha256
