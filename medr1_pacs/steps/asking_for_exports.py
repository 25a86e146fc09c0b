"""A person's wish for an export, taken down for the sweep, which has it carried out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from medr1_pacs.db.project_exports import remove_export, request_export
from medr1_pacs.db.sealing import count_leaves
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ExportRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.project_exports import ExportWish, ProjectExport
from medr1_pacs.records.words import TableFormat
from medr1_pacs.steps.exporting import check_formats


def ask_for_export(
    database: Database,
    project: str,
    filters: AnswerFilters,
    *,
    is_everything: bool,
    formats: Collection[TableFormat],
    as_of: int | None,
    has_pictures: bool,
    actor: str,
) -> int:
    """Ask for an export of a project; returns its id.

    Raises
    ------
    ExportRefused
        It could be checked by nobody, the log has no such number of events yet, or too many wait
        already.
    """
    check_formats(formats)
    wish = ExportWish(
        filters={} if is_everything else filters.to_query(),
        is_everything=is_everything,
        formats=[each.value for each in TableFormat if each in formats],
        as_of=as_of,
        has_pictures=has_pictures,
    )
    with database.write() as session:
        if as_of is not None and as_of > (size := count_leaves(session)):
            raise ExportRefused(f"the audit log has {size} events: nothing is as of {as_of} yet")
        return request_export(session, project, wish, actor=actor, now=datetime.now(UTC))


def remove_asked_export(database: Database, export: ProjectExport, *, actor: str) -> None:
    """Remove an export before its time, or let it not be made; the sweep deletes its files.

    Raises
    ------
    ExportRefused
        There is nothing of it to remove.
    """
    with database.write() as session:
        is_removed = remove_export(session, export.export_id, actor=actor, now=datetime.now(UTC))
    if not is_removed:
        raise ExportRefused("nothing is left of this export")
