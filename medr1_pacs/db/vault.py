"""The identity vault: the one table that knows who a patient is, in a database of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import MetaData, String, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import NAMING, BigId
from medr1_pacs.db.types import UtcDateTime
from medr1_pacs.records import PatientIdentity


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
    dialect: Any = sqlite if vault.is_sqlite else postgresql
    rows = [
        {
            "identity_key": identity.identity_key,
            "patient_key": identity.patient_key,
            "study_instance_uid": identity.study_instance_uid,
            "patient_name": identity.patient_name,
            "patient_id": identity.patient_id,
            "issuer_of_patient_id": identity.issuer_of_patient_id,
            "patient_birth_date": identity.patient_birth_date,
            "accession_number": identity.accession_number,
            "first_seen_at": now,
        }
        for identity in identities
    ]
    with vault.write() as session:
        session.execute(dialect.insert(PatientIdentityRow).on_conflict_do_nothing(), rows)
