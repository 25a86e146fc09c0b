"""review -> snapshot: freeze what filters find now, under a name to cite."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from medr1_pacs.db.research import iterate_found_at_once
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.snapshots import (
    FrozenAnswer,
    add_snapshot,
    get_snapshot,
    has_snapshot,
    iterate_snapshot,
)
from medr1_pacs.errors import RowExists, SnapshotRefused
from medr1_pacs.exports.json_lines import json_line
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
        line = json_line(row).encode()
        digest.update(line)
        kept = {field: row[field] for field in FROZEN}
        frozen.append(
            FrozenAnswer(
                answer.answer_id,
                json.dumps(kept, separators=(",", ":")).encode(),
                hashlib.sha256(line).hexdigest(),
            )
        )
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


@dataclass(frozen=True, slots=True)
class SnapshotCheck:
    """How the answers of a snapshot stand to what they were."""

    withdrawn: int
    """Answers that were withdrawn since: of them nothing is left to compare."""
    is_unchanged: bool | None
    """Of the others. None: with some withdrawn, a snapshot that an earlier version of the program
    made has no hash of each answer to compare them with."""

    def describe(self) -> str:
        """Say it in a sentence."""
        if self.is_unchanged is False:
            return "no longer the same: evidence was changed or removed"
        if not self.withdrawn:
            return "unchanged"
        rest = "the others are unchanged" if self.is_unchanged else "the others cannot be compared"
        return f"{self.withdrawn:,} answers were withdrawn since; {rest}"


def check_snapshot(database: Database, project: str, name: str) -> SnapshotCheck:
    """Compare the answers of a snapshot with its hashes: reads all of them."""
    with database.read() as session:
        snapshot = get_snapshot(session, project, name)
    whole, withdrawn, found = hashlib.sha256(), 0, 0
    is_each_as_it_was, has_each = True, True
    for answer in iterate_snapshot(database, project, name):
        found += 1
        if answer.values is None:
            withdrawn += answer.is_withdrawn
            is_each_as_it_was &= answer.is_withdrawn
            continue
        line = json_line(answer.values).encode()
        whole.update(line)
        if answer.sha256 is None:
            has_each = False
        else:
            is_each_as_it_was &= hashlib.sha256(line).hexdigest() == answer.sha256
    if not withdrawn:
        return SnapshotCheck(0, whole.hexdigest() == snapshot.sha256)
    is_complete = found == snapshot.answers and is_each_as_it_was
    return SnapshotCheck(withdrawn, is_complete if has_each or not is_complete else None)
