"""export: choose the head that an export is as of, note who makes it, and write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medr1_pacs.audit.export_form import CONSISTENCY
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.exporting import find_recorded_head, tell_export
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ExportRefused
from medr1_pacs.steps.exporting import Exported, ExportRequest, remove_unfinished, write_export
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.proving import prove
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.pictures import PictureStore


def make_export(
    database: Database,
    pictures: PictureStore,
    sealer: Sealer,
    key: SigningKey,
    site_key: bytes,
    folder: Path,
    request: ExportRequest,
    *,
    actor: str,
    as_of: int | None = None,
    since_head: str | None = None,
    progress: Callable[[str, int], None] = lambda table, rows: None,
) -> Exported:
    """Write an export of a project into a folder, and note it in the log before.

    Parameters
    ----------
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
    """
    # What is not named yet is found by nobody, and would be by an export of the same head later.
    while name_for_research(database, site_key):
        pass
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
    head = sealer.current_head()
    if as_of is not None:
        with database.read() as session:
            recorded = find_recorded_head(session, sealer.origin, as_of)
        if recorded is None:
            raise ExportRefused(f"no head of the log was signed at or before {as_of} events")
        head = recorded
    is_ours = not folder.exists()
    try:
        exported = write_export(database, pictures, folder, request, head, key, progress=progress)
        if since_head is not None:
            proof = prove(database, since_head, head)
            (folder / CONSISTENCY).write_text(proof.to_json(), "utf-8")
    except BaseException:
        if is_ours:
            remove_unfinished(folder)
        raise
    return exported
