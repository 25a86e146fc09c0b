"""export: choose the head that an export is as of, note who makes it, and write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medr1_pacs.audit.export_form import CONSISTENCY
from medr1_pacs.audit.keys import follow_keys, open_head
from medr1_pacs.audit.notes import NoteInvalid, TreeHead, parse_note
from medr1_pacs.db.exporting import tell_export
from medr1_pacs.db.key_statements import list_key_statements
from medr1_pacs.db.project_exports import count_withdrawn
from medr1_pacs.db.sealing import find_head
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ExportRefused, Interrupted, WitnessRefused
from medr1_pacs.steps.exporting import Exported, ExportRequest, check_formats, write_export
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.proving import prove
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.durable import sync_tree
from medr1_pacs.storage.export_folder import written_at_once
from medr1_pacs.storage.pictures import PictureStore


@dataclass(frozen=True, slots=True)
class Exporter:
    """What a site's exports are made with."""

    database: Database
    pictures: PictureStore
    sealer: Sealer
    """Signs heads, and exports."""
    site_key: bytes
    """Pseudonyms are made with it."""


def make_export(
    exporter: Exporter,
    folder: Path,
    request: ExportRequest,
    *,
    actor: str,
    as_of: int | None = None,
    since_head: str | None = None,
    progress: Callable[[str, int], None] = lambda table, rows: None,
) -> Exported:
    """Write an export of a project into a folder, all of it or nothing, and note it before.

    Parameters
    ----------
    folder
        There is none yet, or it is empty.
    as_of
        Number of events: the export is as of the recorded head at or before it. None: as of now.
    since_head
        A head that was kept: the proof that the log goes on from it is laid beside.

    Raises
    ------
    ExportRefused
        Nothing can be exported so.
    WitnessRefused
        The log does not go on from `since_head`.
    Interrupted
        A study was withdrawn meanwhile.
    OSError
        The folder cannot be written.
    """
    check_formats(request.formats)
    database = exporter.database
    with written_at_once(folder) as unfinished:
        # What is not named yet is found by nobody, and would be by a later export of the same head.
        while name_for_research(database, exporter.site_key):
            pass
        # All that can be wrong with what was asked for comes before the event that says it was.
        now = exporter.sealer.current_head()
        head = now if as_of is None else _find_head(exporter, as_of, now)
        if since_head is not None:
            _check_kept(exporter, since_head, now=_read(now), exported=_read(head))
        with database.write() as session:
            tell_export(
                session,
                request.project,
                request.filters,
                formats=list(request.formats),
                as_of=as_of,
                shows_times=request.shows_times,
                shows_reasons=request.shows_reasons,
                actor=actor,
            )
        if as_of is None:
            head = exporter.sealer.current_head()
        proof = None if since_head is None else prove(database, since_head, head)
        withdrawn = _count_withdrawn(database, request.project)
        exported = write_export(
            database,
            exporter.pictures,
            unfinished,
            request,
            head,
            exporter.sealer.key,
            progress=progress,
        )
        if proof is not None:
            (unfinished / CONSISTENCY).write_text(proof.to_json(), "utf-8")
        sync_tree(unfinished)
        # Reading saw one moment, and what was withdrawn after it is in these files.
        if _count_withdrawn(database, request.project) != withdrawn:
            raise Interrupted("a study was withdrawn while it was exported: export again")
    return exported


def _find_head(exporter: Exporter, as_of: int, now: str) -> str:
    size = _read(now).size
    if not 0 <= as_of <= size:
        raise ExportRefused(f"the audit log has {size} events: nothing is as of {as_of} yet")
    with exporter.database.read() as session:
        recorded = find_head(session, exporter.sealer.origin, at_most=as_of)
    if recorded is None:
        raise ExportRefused(f"no head of the log was signed at or before {as_of} events")
    return recorded.note


def _check_kept(exporter: Exporter, kept: str, *, now: TreeHead, exported: TreeHead) -> None:
    """See that a kept head is one of this log, and no later than the one of an export."""
    own = exporter.sealer.key.verifier
    with exporter.database.read() as session:
        statements = list_key_statements(session, own)
    try:
        opened = open_head(kept, follow_keys([own], statements).all)
    except NoteInvalid as error:
        raise ExportRefused(f"the head you kept is none: {error}") from error
    first = opened.head
    if first.origin != now.origin:
        raise ExportRefused(
            f"the head you kept is of the log {first.origin}, and this one is {now.origin}"
        )
    if not opened.signers:
        raise ExportRefused("no key of this log signed the head you kept")
    if first.size > now.size:
        raise WitnessRefused(
            f"the head you kept is of {first.size} events, and the log has {now.size}: it was cut "
            "off, or an older copy was put back"
        )
    if first.size > exported.size:
        raise ExportRefused(
            f"the head you kept is of {first.size} events, later than the head of {exported.size} "
            "that this export is as of"
        )


def _read(head: str) -> TreeHead:
    return TreeHead.parse(parse_note(head).text)


def _count_withdrawn(database: Database, project: str) -> int:
    with database.read() as session:
        return count_withdrawn(session, project)
