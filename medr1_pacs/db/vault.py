"""The identity vault: the one table that knows who a patient is, in a database (on PostgreSQL at
least a schema) of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import MetaData, String, Text, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from medr1_pacs.db.rows import insert_into, iterate_chunks, select_among
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


def delete_identities(
    vault: Database, *, study_instance_uids: Collection[str], patient_keys: Collection[str]
) -> int:
    """Delete what names studies, or patients in whatever study; returns how many rows that were."""
    deleted = 0
    for column, values in (
        (PatientIdentityRow.study_instance_uid, study_instance_uids),
        (PatientIdentityRow.patient_key, patient_keys),
    ):
        for chunk in iterate_chunks(values):
            with vault.write() as session:
                result: Any = session.execute(delete(PatientIdentityRow).where(column.in_(chunk)))
                deleted += result.rowcount
    return deleted


def count_identities(
    vault: Database, *, study_instance_uids: Collection[str], patient_keys: Collection[str]
) -> int:
    """Return how many rows `delete_identities` would delete."""
    ids: set[int] = set()
    for column, values in (
        (PatientIdentityRow.study_instance_uid, study_instance_uids),
        (PatientIdentityRow.patient_key, patient_keys),
    ):
        for chunk in iterate_chunks(values):
            with vault.read() as session:
                ids |= set(session.scalars(select(PatientIdentityRow.id).where(column.in_(chunk))))
    return len(ids)


def iterate_identity_keys(vault: Database) -> Iterator[tuple[str, str]]:
    """Yield (patient key, Study Instance UID) of every identity; streaming."""
    with vault.read() as session:
        rows = session.execute(
            select(
                PatientIdentityRow.patient_key, PatientIdentityRow.study_instance_uid
            ).execution_options(yield_per=5_000)
        )
        for row in rows:
            yield row.patient_key, row.study_instance_uid


def find_named_studies(vault: Database, patient_keys: Collection[str]) -> dict[str, set[str]]:
    """Return Study Instance UID -> the keys of all whom its headers named, of the studies that name
    one of these patients."""
    named: dict[str, set[str]] = {}
    row = PatientIdentityRow
    with vault.read() as session:
        uids = select_among(
            session,
            patient_keys,
            lambda chunk: select(row.study_instance_uid).where(row.patient_key.in_(chunk)),
        )
        for chunk in iterate_chunks(uids):
            for found in session.execute(
                select(row.study_instance_uid, row.patient_key).where(
                    row.study_instance_uid.in_(chunk)
                )
            ):
                named.setdefault(found.study_instance_uid, set()).add(found.patient_key)
    return named


def find_patient_keys(
    vault: Database, patient_id: str, issuer_of_patient_id: str | None
) -> dict[str, set[str]]:
    """Return issuer -> the keys of the patients with a patient ID; of one issuer or of all."""
    with vault.read() as session:
        rows = session.execute(
            select(PatientIdentityRow.issuer_of_patient_id, PatientIdentityRow.patient_key)
            .where(
                PatientIdentityRow.patient_id == patient_id,
                *(
                    []
                    if issuer_of_patient_id is None
                    else [PatientIdentityRow.issuer_of_patient_id == issuer_of_patient_id]
                ),
            )
            .distinct()
        ).all()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.issuer_of_patient_id, set()).add(row.patient_key)
    return found


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


@dataclass(frozen=True, slots=True)
class IdentifiedStudy:
    """By what a study's headers can be found."""

    study_instance_uid: str
    patient_key: str
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
