"""A person's word that something must go, taken down for the sweep, which carries it out."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.withdrawals import (
    NamedStudies,
    find_by_pseudonym,
    find_by_study_uid,
    request_withdrawal,
)
from medr1_pacs.errors import WithdrawalRefused
from medr1_pacs.records.withdrawals import REASON_MIN, RequestedKey
from medr1_pacs.records.words import WithdrawnKind


class Extent(StrEnum):
    """How much goes with a study."""

    STUDY = "study"  #: the study alone
    PATIENT = "patient"  #: all of its patient's, those that come later too


def withdraw_study(
    database: Database,
    study_instance_uid: str,
    extent: Extent,
    *,
    project: str | None,
    reason: str,
    actor: str,
) -> int:
    """Ask that a study goes, or all of its patient's; from every project, or from one.

    Returns the withdrawal's id.

    Raises
    ------
    WithdrawalRefused
        There is no such study, the project does not use it, or no reason is given.
    """
    _check(reason)
    with database.read() as session:
        named = find_by_study_uid(session, study_instance_uid)
    if named is None:
        raise WithdrawalRefused("no such study is here; what is sent later, the command withholds")
    if project is not None and project not in named.projects:
        raise WithdrawalRefused(f"the project {project!r} does not use this study")
    return _request(database, named, extent, project, reason, actor)


def withdraw_pseudonym(
    database: Database, project: str, pseudonym: str, *, reason: str, actor: str
) -> int:
    """Ask that a patient or a study goes from a project, by the pseudonym there.

    Raises
    ------
    WithdrawalRefused
        The project uses nothing of this pseudonym, or no reason is given.
    """
    _check(reason)
    with database.read() as session:
        named = find_by_pseudonym(session, project, pseudonym)
    if named is None:
        raise WithdrawalRefused("the project uses nothing of this pseudonym")
    extent = Extent.PATIENT if named.is_patient else Extent.STUDY
    return _request(database, named, extent, project, reason, actor)


def _check(reason: str) -> None:
    if len(reason.strip()) < REASON_MIN:
        raise WithdrawalRefused("say why, in a few words that name nobody")


def _request(
    database: Database,
    named: NamedStudies,
    extent: Extent,
    project: str | None,
    reason: str,
    actor: str,
) -> int:
    keys = [RequestedKey(kind=WithdrawnKind.STUDY, study_id=named.study_id)]
    if extent is Extent.PATIENT:
        # The sweep finds the patient's other studies.
        keys = [RequestedKey(kind=WithdrawnKind.PATIENT, key=named.patient_key), *keys]
    with database.write() as session:
        return request_withdrawal(
            session,
            keys,
            project=project,
            reason=reason.strip(),
            actor=actor,
            now=datetime.now(UTC),
        )
