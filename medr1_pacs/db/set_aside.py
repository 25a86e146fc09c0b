"""Files of the backlog that cannot be recorded at the moment: what a person sees of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Instance, Series, SetAside, Study
from medr1_pacs.records.received import SetAsideFile

_STORED_NAME_PARTS = 3


def replace_set_aside(session: Session, files: Iterable[SetAsideFile]) -> None:
    """Let the table say which files are set aside now, and nothing else."""
    session.execute(delete(SetAside))
    session.add_all(
        SetAside(
            name=file.name,
            reason=file.reason,
            study_instance_uid=file.study_instance_uid,
            set_aside_at=file.set_aside_at,
        )
        for file in files
    )


def list_set_aside(session: Session, *, limit: int | None = None) -> list[SetAsideFile]:
    """Return the files that are set aside, the first first."""
    rows = session.scalars(
        select(SetAside).order_by(SetAside.set_aside_at, SetAside.name).limit(limit)
    )
    return [
        SetAsideFile(
            row.name, row.reason, row.study_instance_uid, _token_in(row.name), row.set_aside_at
        )
        for row in rows
    ]


def _token_in(name: str) -> str | None:
    """Return which association brought a file, as its stored name says; None for any other name."""
    parts = name.split("-")
    return parts[1] if len(parts) == _STORED_NAME_PARTS else None


def find_studies_of(session: Session, files: Iterable[SetAsideFile]) -> dict[int, list[str]]:
    """Return study id -> the files that are known to belong to it.

    Their header says so; or the association that brought a file brought one study alone.
    """
    found: dict[int, list[str]] = {}
    study_of = cache(partial(_study_of, session))
    for file in files:
        study_id = study_of(file.study_instance_uid, file.association_token)
        if study_id is not None:
            found.setdefault(study_id, []).append(file.name)
    return found


def _study_of(session: Session, study_instance_uid: str | None, token: str | None) -> int | None:
    if study_instance_uid is not None:
        return session.scalar(
            select(Study.id).where(Study.study_instance_uid == study_instance_uid)
        )
    if token is None:
        return None
    brought = session.scalars(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .where(Instance.association_token == token)
        .distinct()
        .limit(2)
    ).all()
    return brought[0] if len(brought) == 1 else None
