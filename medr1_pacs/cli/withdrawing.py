"""Withdrawing: what must go, what went, and what a project may keep no longer."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Annotated

import typer

from medr1_pacs.cli.printing import print_error, print_table
from medr1_pacs.cli.wiring import (
    load_key,
    make_withdrawer,
    open_checked,
    open_research,
    prepare_folders,
    read_settings,
)
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.projects import list_project_names
from medr1_pacs.db.retention import count_due, list_retentions
from medr1_pacs.db.schema import Branch
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import find_study
from medr1_pacs.db.vault import find_patient_keys
from medr1_pacs.db.withdrawals import get_withdrawal, list_withdrawals, request_withdrawal
from medr1_pacs.errors import WithdrawalRefused
from medr1_pacs.headers import patient_key
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.part10 import is_uid
from medr1_pacs.processes import ProcessName
from medr1_pacs.projects import load_project_rules
from medr1_pacs.pseudonyms import patient_id_key, study_key
from medr1_pacs.records.withdrawals import (
    REASON_MAX,
    REASON_MIN,
    RequestedKey,
    WithdrawalRecord,
)
from medr1_pacs.records.words import JsonObject, WithdrawnKind
from medr1_pacs.settings import Settings
from medr1_pacs.steps.leasing import SWEEP, HeldLease

PATIENCE_S = 90.0
"""How long the command waits for a withdrawal that a running service carries out."""


def withdraw(
    study_instance_uids: Annotated[
        list[str] | None, typer.Argument(help="Study Instance UIDs")
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help="Patient ID: all of the patient's studies, now and later.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of Patient ID, where two issuers gave one ID.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Only the use by this project; default: from all.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="For the event and the certificate: name nobody in it.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The certificate as JSON")] = False,
) -> None:
    """Withdraw studies: files, pictures, identity and texts go, and from restored backups again.

    An instance of them that is sent again is turned away. Prints a certificate of what went.
    """
    settings = read_settings()
    if bool(study_instance_uids) == (patient is not None):
        raise typer.BadParameter("name Study Instance UIDs, or --patient")
    if patient is not None and not (patient := patient.strip()):
        raise typer.BadParameter("--patient is empty: that would be every patient without an ID")
    if issuer is not None and patient is None:
        raise typer.BadParameter("--issuer belongs to --patient")
    if not REASON_MIN <= len(reason.strip()) <= REASON_MAX:
        raise typer.BadParameter(
            f"--reason: say why, in {REASON_MIN} to {REASON_MAX} characters that name nobody"
        )
    if bad := [uid for uid in study_instance_uids or () if not is_uid(uid)]:
        raise typer.BadParameter(f"{bad[0]!r} is not a UID")
    prepare_folders(settings)
    research = open_research(settings)
    if project is not None:
        _check_project(settings, research, project)
    if patient is not None:
        keys = _keys_of_patient(settings, research, patient, issuer)
    else:
        keys = _keys_of_studies(settings, research, study_instance_uids or [])
    with research.write() as session:
        withdrawal_id = request_withdrawal(
            session,
            keys,
            project=project,
            reason=reason.strip(),
            actor=OPERATOR,
            now=datetime.now(UTC),
        )
    record = _see_through(settings, research, withdrawal_id)
    _print_certificate(record, as_json=as_json)
    if record.finished_at is None:
        print_error(_describe_open(record))
        raise typer.Exit(1 if record.began_at is None else 0)


def _check_project(settings: Settings, research: Database, project: str) -> None:
    with research.read() as session:
        names = list_project_names(session, load_project_rules(settings.projects))
    if project not in names:
        raise WithdrawalRefused(f"there is no project {project!r}; use {', '.join(names)}")


def _keys_of_studies(
    settings: Settings, research: Database, study_instance_uids: Collection[str]
) -> list[RequestedKey]:
    site_key = load_key(settings, research)
    keys = []
    with research.read() as session:
        for uid in dict.fromkeys(study_instance_uids):
            study_id = find_study(session, uid)
            if study_id is None:
                print_error(f"{uid}: not here; it is turned away when it comes")
            keys.append(
                RequestedKey(
                    kind=WithdrawnKind.STUDY, key=study_key(site_key, uid), study_id=study_id
                )
            )
    return keys


def _keys_of_patient(
    settings: Settings, research: Database, patient_id: str, issuer: str | None
) -> list[RequestedKey]:
    site_key = load_key(settings, research)
    vault = open_checked(settings.vault_url, Branch.VAULT)
    found = find_patient_keys(vault, patient_id, issuer)
    if len(found) > 1:
        issuers = ", ".join(repr(each) for each in sorted(found))
        raise WithdrawalRefused(f"several issuers gave this patient ID: say --issuer ({issuers})")
    keys = {key for each in found.values() for key in each}
    if not keys:
        print_error("nothing of this patient is here; what comes is turned away")
        keys = {patient_key(site_key, patient_id, issuer or "")}
    if issuer is None:
        keys.add(patient_id_key(site_key, patient_id))  # whoever issues it next time
    return [RequestedKey(kind=WithdrawnKind.PATIENT, key=key) for key in sorted(keys)]


def _see_through(settings: Settings, research: Database, withdrawal_id: int) -> WithdrawalRecord:
    """Carry a withdrawal out where no service runs; else wait until the service has."""
    own = str(ProcessName.own("withdraw"))
    with HeldLease(research, SWEEP, own, tells=False) as lease, HeaderReader() as headers:
        withdrawer = make_withdrawer(settings, research, headers)
        ends_at, is_applied = time.monotonic() + PATIENCE_S, False
        while True:
            if lease.hold():
                if not is_applied:
                    withdrawer.apply_list()
                    is_applied = True
                withdrawer.carry_out()
            record = _get(research, withdrawal_id)
            # Nobody else reads the backlog meanwhile; a picture in work settles by itself.
            has_begun = record.began_at is not None
            is_waiting_for_service = (
                is_applied and has_begun and not record.certificate.get("in_work")
            )
            is_over = record.finished_at is not None or is_waiting_for_service
            if is_over or time.monotonic() > ends_at:
                return record
            time.sleep(0.3)


def _get(research: Database, withdrawal_id: int) -> WithdrawalRecord:
    with research.read() as session:
        record = get_withdrawal(session, withdrawal_id)
    if record is None:
        raise WithdrawalRefused(f"there is no withdrawal {withdrawal_id}")
    return record


def _describe_open(record: WithdrawalRecord) -> str:
    if record.began_at is None:
        return (
            f"withdrawal {record.withdrawal_id} is asked for and has not begun: the service "
            "carries it out; `medr1-pacs doctor` says what holds it up"
        )
    return (
        f"withdrawal {record.withdrawal_id}: what was there is gone; it is finished when the "
        f"running service has read its backlog: `medr1-pacs studies certificate "
        f"{record.withdrawal_id}`"
    )


def certificate(
    withdrawal_id: Annotated[int | None, typer.Argument(help="Default: list all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON")] = False,
) -> None:
    """Print what a withdrawal took: row ids, hashes and counts; without an id, list withdrawals."""
    research = open_research(read_settings())
    if withdrawal_id is not None:
        _print_certificate(_get(research, withdrawal_id), as_json=as_json)
        return
    with research.read() as session:
        records = list_withdrawals(session)
    if as_json:
        print(json.dumps([record.to_json() for record in records], indent=1))
        return
    rows = [
        record.to_json() | {"studies": len(record.certificate.get("studies", ()))}
        for record in records
    ]
    columns = ("withdrawal", "studies", "project", "requested_by", "requested_at", "finished_at")
    print_table("Withdrawals", (*columns, "reason"), rows)


def _print_certificate(record: WithdrawalRecord, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(record.to_json(), indent=1))
        return
    content = record.to_json()
    studies = content.pop("studies", [])
    for name, value in content.items():
        print(f"{name}: {json.dumps(value) if isinstance(value, list | dict) else _shown(value)}")
    if studies:
        columns = ("study_id", "goes", "instances", "pictures", "answers", "truths", "key")
        rows: list[JsonObject] = [{name: each.get(name) for name in columns} for each in studies]
        print_table("Studies", columns, rows)
    if mixed := [each["study_id"] for each in studies if each.get("names_others_too")]:
        print_error(f"some headers of these studies named another patient too: {mixed}")


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def due(
    on: Annotated[
        str | None, typer.Option("--on", help="A day, as 2027-06-30; default: now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """Say how many studies each project may keep no longer; the service withdraws them itself."""
    at = _end_of(on) if on else datetime.now(UTC)
    research = open_research(read_settings())
    with research.read() as session:
        rows: list[JsonObject] = [
            {
                "project": retention.project,
                "retention_days": retention.retention_days,
                "ends_at": retention.ends_at.isoformat() if retention.ends_at else None,
                "due": count_due(session, retention, at),
            }
            for retention in list_retentions(session)
        ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print_table(
        f"Due at {at:%Y-%m-%d %H:%M} UTC", ("project", "retention_days", "ends_at", "due"), rows
    )


def _end_of(day: str) -> datetime:
    try:
        parsed = date.fromisoformat(day)
    except ValueError as error:
        raise typer.BadParameter(f"--on {day!r}: write a day as 2027-06-30") from error
    return datetime.combine(parsed + timedelta(days=1), clock_time(), UTC)
