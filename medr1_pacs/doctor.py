"""What is configured, reachable and missing, each with its remedy."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile

from medr1_pacs.checkpoints import load_registry, verify_files
from medr1_pacs.db.accounts import has_administrator
from medr1_pacs.db.facets import list_faults
from medr1_pacs.db.overview import list_open_matters
from medr1_pacs.db.schema import Branch, check_schema, may_change_log
from medr1_pacs.db.sealing import count_unsealed
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.withdrawals import list_unfinished
from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import Medr1Error, SettingInvalid
from medr1_pacs.installation import check_installation
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.processes import UNSEALED_MAX_S
from medr1_pacs.provider_roles import load_group_roles
from medr1_pacs.pseudonyms import load_site_key
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.settings import Settings, is_loopback, load_settings, reachable_host
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key
from medr1_pacs.storage.permissions import open_to_others
from medr1_pacs.storage.withdrawn_list import WithdrawnList


class Severity(StrEnum):
    """What a finding asks of who reads it."""

    OK = "ok"
    WARNING = "WARN"
    """It works, and should not stay so."""
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    severity: Severity
    message: str

    @property
    def is_ok(self) -> bool:
        """Whether the service can do its work."""
        return self.severity is not Severity.BAD

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "subject": self.subject,
            "is_ok": self.is_ok,
            "severity": self.severity.lower(),
            "message": self.message,
        }


class Warned(Exception):
    """What was found works, and should not stay so; the message has the remedy."""


_ANSWERS_COMPARED = 10_000
"""Newest answers whose narrow rows are compared; `db reconcile` compares all."""

Check = Callable[[Settings], str]
"""Says what it found; raises an error of ours, with its remedy, for what cannot work."""


def examine(*, check_broker: Check, check_packages: Check) -> list[Finding]:
    """Look at everything that the service needs; never raises for what it finds.

    Only workers can look at the broker and at the packages that answer.
    """
    try:
        settings = load_settings()
    except SettingInvalid as error:
        return [Finding("settings", Severity.BAD, str(error))]
    return [
        Finding("settings", Severity.OK, f"data in {settings.data_dir.absolute()}"),
        *_all(settings, check_broker, check_packages),
    ]


def _all(settings: Settings, check_broker: Check, check_packages: Check) -> Iterator[Finding]:
    checks: dict[str, Check] = {
        "installation": lambda s: f"in {check_installation()}",
        "data folder": _data_folder,
        "permissions": _permissions,
        "research database": lambda s: _database(s.database_url, Branch.RESEARCH),
        "identity vault": _vault,
        "broker": check_broker,
        "DICOM port": _dicom,
        "administrator": _administrator,
        "sign-in": _sign_in,
        "web port": lambda s: _port(s.web_host, s.web_port),
        "withdrawals": _withdrawals,
        "opt-out list": _opt_out,
        "audit log": _audit_log,
        "for a person": _open_matters,
        "research rows": _research_rows,
        "questions": _questions,
        "checkpoints": _checkpoints,
        "worker packages": check_packages,
    }
    for subject, check in checks.items():
        try:
            yield Finding(subject, Severity.OK, check(settings))
        except Warned as warning:
            yield Finding(subject, Severity.WARNING, str(warning))
        except (Medr1Error, OSError) as error:
            yield Finding(subject, Severity.BAD, str(error))


def _data_folder(settings: Settings) -> str:
    folder = settings.storage_path
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass
    free_mb = shutil.disk_usage(folder).free >> 20
    if free_mb < settings.storage_reserve_mb:
        raise SettingInvalid(
            f"{free_mb} MiB are free in {folder}, below MEDR1_STORAGE_RESERVE_MB="
            f"{settings.storage_reserve_mb}: C-STORE is refused until there is room"
        )
    return f"{folder.absolute()}, {free_mb >> 10} GiB free"


def _database(url: str, branch: Branch) -> str:
    is_file = url.startswith("sqlite:///")
    if is_file and not Path(url.removeprefix("sqlite:///")).exists():
        return "not made yet; `medr1-pacs up` makes it"
    database = Database(url)
    try:
        check_schema(database, branch)
    finally:
        database.dispose()
    return "reachable, schema up to date"


def _vault(settings: Settings) -> str:
    found = _database(settings.vault_url, Branch.VAULT)
    if settings.is_vault_of_research_role:
        raise Warned(
            f"{found}; its tables belong to the role of the research database, so whoever may read "
            "answers may read names: make a role of its own and name it in MEDR1_VAULT_URL"
        )
    return found


def _withdrawals(settings: Settings) -> str:
    """Warn of what is asked for and does not go, and of a list that a restore would take back."""
    if not settings.site_key_path.exists():
        return "none yet"
    withdrawn_list = WithdrawnList(settings.withdrawn_path, load_site_key(settings.site_key_path))
    listed = len(withdrawn_list.read())
    withdrawn_list.check_writable()
    if settings.withdrawn_path.absolute().is_relative_to(settings.data_dir.absolute()):
        raise Warned(
            f"{settings.withdrawn_path} is in the data folder: a backup that is restored takes the "
            "list back with the data; name a file elsewhere in MEDR1_WITHDRAWN_FILE"
        )
    research = Database(settings.database_url)
    try:
        waiting = []
        if research.is_made:
            with research.read() as session:
                waiting = list_unfinished(session)
    finally:
        research.dispose()
    if waiting:
        raise Warned(
            f"{len(waiting)} are asked for and not finished: is the sweep running? "
            "`medr1-pacs studies certificate` lists them"
        )
    return f"{listed} studies and patients in {settings.withdrawn_path}"


def _opt_out(settings: Settings) -> str:
    if settings.opt_out_file is None:
        return "none is configured"
    return f"{OptOutList(settings.opt_out_file).refresh()} patients in {settings.opt_out_file}"


def _audit_log(settings: Settings) -> str:
    """Say by which key the log is signed; warn where it could be changed, or is not sealed."""
    last = HeadsFile(settings.audit_heads_path).read_last()
    if last is None and not settings.audit_key_path.exists():
        return "not begun yet; `medr1-pacs up` makes its key"
    key = load_signing_key(settings.audit_key_path).verifier
    if settings.audit_heads_path.absolute().is_relative_to(settings.data_dir.absolute()):
        raise Warned(
            f"{settings.audit_heads_path} is in the data folder: a backup that is restored takes "
            "the heads back with the log; name a file elsewhere in MEDR1_AUDIT_HEADS_FILE"
        )
    research = Database(settings.database_url)
    try:
        if research.is_made:
            with research.read() as session:
                _warn_of_log(research, may_change_log(session), *count_unsealed(session))
    finally:
        research.dispose()
    signed = f"last signed {last.signed_at}" if last else "not signed yet"
    return f"key {key.name}+{key.key_id:08x}, {signed}"


def _warn_of_log(
    research: Database, may_change: bool, unsealed: int, since: datetime | None
) -> None:
    if since is not None and datetime.now(UTC) - since > timedelta(seconds=UNSEALED_MAX_S):
        raise Warned(
            f"{unsealed} events are not in the log, the oldest since {since.isoformat()}: is the "
            "sweep running? Its own log says what it cannot do"
        )
    if may_change and not research.is_sqlite:
        raise Warned(
            "the service's role owns the log, and whoever has its password could change it: make a "
            "role of its own for the tables and name it in MEDR1_DATABASE_OWNER_URL"
        )


def _open_matters(settings: Settings) -> str:
    """Warn of what waits for a person, and of what a process says that it cannot do."""
    if not all(path.exists() for path in settings.database_paths):
        return "nothing received yet"
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            matters = list_open_matters(session)
            troubles = [worker.trouble for worker in list_workers(session) if worker.trouble]
    finally:
        database.dispose()
    found = [f"{file.name} is set aside: {file.reason}" for file in matters.set_aside]
    if matters.held:
        found.append(f"{len(matters.held)} instances are held: `medr1-pacs instances held`")
    if matters.quarantined:
        found.append(
            f"{len(matters.quarantined)} instances are in quarantine: `medr1-pacs quarantine list`"
        )
    if found or troubles:
        raise Warned("; ".join((*troubles, *found)))
    return "nothing is set aside, held or in quarantine"


def _research_rows(settings: Settings) -> str:
    """Compare what research finds the newest answers by with what they are."""
    research = Database(settings.database_url)
    try:
        if not research.is_made:
            return "nothing answered yet"
        with research.read() as session:
            faults = list_faults(session, newest=_ANSWERS_COMPARED)
    finally:
        research.dispose()
    if faults:
        raise Warned(
            f"the answers of {len(faults)} studies are found by what they are no longer: "
            "`medr1-pacs db reconcile` writes them anew; please report it"
        )
    return f"the newest {_ANSWERS_COMPARED:,} answers are found by what they are"


def _administrator(settings: Settings) -> str:
    """Warn when nobody could let anybody in."""
    remedy = "`medr1-pacs accounts add NAME --role administrator` makes one"
    research = Database(settings.database_url)
    try:
        if not research.is_made:
            return f"no account yet; once `medr1-pacs up` has run, {remedy}"
        with research.read() as session:
            if not has_administrator(session):
                raise Warned(f"there is none, so nobody can sign in to the pages: {remedy}")
    finally:
        research.dispose()
    return "there is one"


def _sign_in(settings: Settings) -> str:
    """Warn when the pages can be reached from where nobody can sign in."""
    for path in (settings.web_certificate, settings.web_key, settings.oidc_client_secret_file):
        if path is not None:
            path.read_bytes()
    if not settings.local_accounts and not settings.oidc_issuer:
        raise Warned(
            "MEDR1_LOCAL_ACCOUNTS is false and MEDR1_OIDC_ISSUER is not set: administrators alone "
            "come in, by `medr1-pacs accounts link NAME`"
        )
    if settings.oidc_issuer:
        load_group_roles(settings.oidc_roles)
    if settings.web_certificate is not None:
        return "from anywhere that reaches the pages, by HTTPS"
    if settings.trusted_proxies:
        return "from this machine, and by HTTPS through the trusted proxies"
    if not is_loopback(settings.web_host) or settings.web_url.startswith("https://"):
        raise Warned(
            "from this machine alone, over http://127.0.0.1, since others could read a password on "
            "its way: set MEDR1_WEB_CERTIFICATE and MEDR1_WEB_KEY, or run a proxy with HTTPS and "
            "name it in MEDR1_TRUSTED_PROXIES"
        )
    return "from this machine alone"


def _permissions(settings: Settings) -> str:
    paths = [
        settings.data_dir.absolute(),
        settings.storage_path.absolute(),
        *settings.database_paths,
        settings.site_key_path.absolute(),
        settings.audit_key_path.absolute(),
    ]
    if found := list(open_to_others(paths, group_access=settings.group_access)):
        raise SettingInvalid("; ".join(dict.fromkeys(found)))
    who = "the service's user and its group" if settings.group_access else "the service's user"
    return f"{who} alone can read what is stored"


def _dicom(settings: Settings) -> str:
    if not is_loopback(settings.dicom_host) and not settings.allowed_peers:
        raise SettingInvalid("MEDR1_DICOM_HOST is not loopback: set MEDR1_ALLOWED_PEERS")
    return _port(settings.dicom_host, settings.dicom_port)


def _port(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(2)
        if probe.connect_ex((reachable_host(host), port)) == 0:
            return f"{host}:{port} is served (by medr1-pacs, if it is up)"
    return f"{host}:{port} is free"


def _questions(settings: Settings) -> str:
    folders = [PACKAGED_BANK, *([settings.questions_dir] if settings.questions_dir else [])]
    return f"{len(load_bank(*folders).questions)} questions"


def _checkpoints(settings: Settings) -> str:
    registry = load_registry(settings.checkpoints, settings.weights_path)
    for name in registry.names:
        verify_files(registry.get(name))
    if registry.is_demo:
        return "none configured: the demo checkpoint stands in for all"
    return ", ".join(sorted(registry.names))
