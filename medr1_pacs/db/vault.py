"""The identity vault: the one table that knows who a patient is, in a database (on PostgreSQL at
least a schema) of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import MetaData, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from medr1_pacs.db.rows import insert_into, iterate_chunks
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


@dataclass(frozen=True, slots=True)
class IdentifiedStudy:
    """By what a study's headers can be found."""

    study_instance_uid: str
    accession_number: str
    patient_id: str
    issuer_of_patient_id: str

    def __repr__(self) -> str:  # as `PatientIdentity`
        return f"IdentifiedStudy(study_instance_uid={self.study_instance_uid!r})"


def find_identified(
    vault: Database, *, accession_numbers: Collection[str], patient_ids: Collection[str]
) -> list[IdentifiedStudy]:
    """Return the studies with any of these accession numbers or patient ids; a study whose headers
    said several things is there for each."""
    columns = [getattr(PatientIdentityRow, name) for name in IdentifiedStudy.__slots__]
    found: dict[IdentifiedStudy, None] = {}
    with vault.read() as session:
        for column, wanted in (
            (PatientIdentityRow.accession_number, accession_numbers),
            (PatientIdentityRow.patient_id, patient_ids),
        ):
            for chunk in iterate_chunks(wanted):
                rows = session.execute(select(*columns).where(column.in_(chunk)))
                found |= dict.fromkeys(IdentifiedStudy(*row) for row in rows)
    return list(found)
