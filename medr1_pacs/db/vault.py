"""The identity vault: the one table that knows who a patient is, in a database (on PostgreSQL at
least a schema) of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import MetaData, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables.base import NAMING, BigId
from medr1_pacs.db.types import UtcDateTime
from medr1_pacs.records.received import PatientIdentity


class VaultBase(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012 - as SQLAlchemy declares it


class PatientIdentityRow(VaultBase):
    """Everything that names a patient, as one study's headers gave it."""

    __tablename__ = "patient_identity"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    identity_key: Mapped[str] = mapped_column(String(32), unique=True)
    """Keyed hash over all values, so that writing the same identity again changes nothing."""
    patient_key: Mapped[str] = mapped_column(String(32), index=True)
    study_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    patient_name: Mapped[str] = mapped_column(Text)
    patient_id: Mapped[str] = mapped_column(Text)
    issuer_of_patient_id: Mapped[str] = mapped_column(Text)
    patient_birth_date: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime]


def record_identities(vault: Database, identities: list[PatientIdentity], now: datetime) -> None:
    """Write identities before any row that refers to them; writing one again does nothing."""
    if not identities:
        return
    rows = [asdict(identity) | {"first_seen_at": now} for identity in identities]
    with vault.write() as session:
        insert = insert_into(session, PatientIdentityRow)
        session.execute(insert.on_conflict_do_nothing(), rows)


def list_identities(session: Session, study_uids: Collection[str]) -> list[PatientIdentity]:
    """Return whom the headers of studies named, the first received first."""
    rows = session.scalars(
        select(PatientIdentityRow)
        .where(PatientIdentityRow.study_instance_uid.in_(study_uids))
        .order_by(PatientIdentityRow.id)
    )
    return [
        PatientIdentity(
            **{field.name: getattr(row, field.name) for field in fields(PatientIdentity)}
        )
        for row in rows
    ]
