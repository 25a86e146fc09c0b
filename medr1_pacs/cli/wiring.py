"""From settings to the collaborators that commands hand on."""

from __future__ import annotations

import fcntl
import logging
import os
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from medr1_pacs.asking import Questionnaire
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.checkpoints import CheckpointRegistry, find_missing_packages, load_registry
from medr1_pacs.db.overview import has_patients
from medr1_pacs.db.schema import Branch, check_schema, upgrade_schema
from medr1_pacs.db.sealing import has_heads
from medr1_pacs.db.sessions import Database
from medr1_pacs.decoding import DecoderPool
from medr1_pacs.errors import SchemaMismatch, SettingInvalid, TransientError
from medr1_pacs.logs import configure_logs
from medr1_pacs.openid import Provider
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.projects import load_project_rules
from medr1_pacs.provider_roles import load_group_roles
from medr1_pacs.pseudonyms import load_site_key
from medr1_pacs.questions.bank import PACKAGED_BANK, QuestionBank, load_bank
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.settings import Settings, is_loopback, load_settings
from medr1_pacs.steps.audit_keys import new_log_name
from medr1_pacs.steps.sealing import NoSealer, Sealer
from medr1_pacs.steps.withdrawing import Withdrawer
from medr1_pacs.storage.audit_files import (
    HeadsFile,
    SyslogHeads,
    load_signing_key,
    make_signing_key,
)
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.permissions import guard_database, guard_file, guard_folder, umask_of
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.storage.withdrawn_list import WithdrawnList

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from medr1_pacs.web.security.door import Door


def start_process() -> Settings:
    """Begin a long-running process: its logs, its settings, its folders."""
    configure_logs()
    settings = read_settings()
    prepare_folders(settings)
    return settings


def read_settings() -> Settings:
    """Read the settings, and make files from now on as private as they say."""
    settings = load_settings()
    os.umask(umask_of(settings.group_access))
    return settings


def prepare_folders(settings: Settings) -> None:
    """Make the data folder, or say why it cannot be; nobody else may look into it."""
    for name, folder in (
        ("MEDR1_DATA_DIR", settings.data_dir),
        ("MEDR1_STORAGE_DIR", settings.storage_path),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
            guard_folder(folder, group_access=settings.group_access)
        except OSError as error:
            raise SettingInvalid(
                f"{name}: {folder.absolute()} cannot be written ({error.strerror}); give the user "
                "that runs medr1-pacs write permission, or name another folder"
            ) from error
    guard_databases(settings)
    guard_file(settings.site_key_path, group_access=settings.group_access)
    guard_file(settings.audit_key_path, group_access=False)


def guard_databases(settings: Settings) -> None:
    """Let nobody else read the databases that are files."""
    for path in settings.database_paths:
        guard_database(path, group_access=settings.group_access)


def upgrade_databases(settings: Settings) -> Database:
    """Bring both databases to this program's schema; returns the research database."""
    research, vault = open_databases(settings)
    if settings.database_owner_url:
        owner = Database(settings.database_owner_url)
        upgrade_schema(
            owner, Branch.RESEARCH, service_role=urlsplit(settings.database_url).username
        )
        owner.dispose()
    else:
        upgrade_schema(research, Branch.RESEARCH)
    upgrade_schema(vault, Branch.VAULT)
    guard_databases(settings)  # SQLite gives a new file no more than 0644
    return research


def lock_data_dir(settings: Settings) -> IO[str]:
    """Hold the data folder: two services over one SQLite file and one broker folder would both
    do everything."""
    lock = (settings.data_dir / "up.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingInvalid(
            f"another `medr1-pacs up` runs on {settings.data_dir.absolute()}; stop it, or set "
            "MEDR1_DATA_DIR to another folder"
        ) from error
    return lock


def check_packages() -> None:
    """Say what an answer worker lacks, before it takes work that it cannot do."""
    if missing := find_missing_packages():
        raise SettingInvalid(
            f"{', '.join(missing)} not installed: an answer worker needs "
            "`pip install 'medr1-pacs[worker]'`; a host without one runs `medr1-pacs listen`, "
            "`sweep`, `worker render` and `web` by themselves"
        )


def check_dicom_host(settings: Settings) -> None:
    if not is_loopback(settings.dicom_host) and not settings.allowed_peers:
        raise SettingInvalid(
            f"MEDR1_DICOM_HOST={settings.dicom_host} can be reached from other machines, so "
            "MEDR1_ALLOWED_PEERS must say who may send, as in "
            "MEDR1_ALLOWED_PEERS=PACS1@10.1.2.3 (AE title @ address or network)"
        )


def open_databases(settings: Settings) -> tuple[Database, Database]:
    return Database(settings.database_url), Database(settings.vault_url)


def open_research(settings: Settings) -> Database:
    return open_checked(settings.database_url, Branch.RESEARCH)


def open_owned(settings: Settings) -> Database:
    """Open the research database as who owns its tables, and makes views of them."""
    return open_checked(settings.database_owner_url or settings.database_url, Branch.RESEARCH)


def open_vault_if_given(settings: Settings) -> Database | None:
    """Open the identity vault for the pages, which do without where their role may not see it."""
    try:
        return open_checked(settings.vault_url, Branch.VAULT)
    except (SettingInvalid, SchemaMismatch, TransientError) as error:
        logger.warning("the pages cannot say who a patient is: the vault: %s", error)
        return None


def open_checked(url: str, branch: Branch) -> Database:
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite") and not path.exists():
        raise SettingInvalid(
            f"there is no database {path}: run `medr1-pacs up`, or `medr1-pacs db upgrade`"
        )
    database = Database(url)
    check_schema(database, branch)
    return database


def load_key(settings: Settings, research: Database) -> bytes:
    """Read the site key; only a site that knows no patient yet gets a new one."""
    path = settings.site_key_path
    if not path.exists():
        with research.read() as session:
            if has_patients(session):
                raise SettingInvalid(
                    f"{path.absolute()}: the site key is missing, and the database knows patients "
                    "by it: restore it from the backup. If it is lost for good, make 32 random "
                    "bytes of that name: the same patient then has another pseudonym from now on"
                )
    return load_site_key(path)


def open_store(settings: Settings) -> InstanceStore:
    return InstanceStore(
        settings.storage_path,
        reserve_bytes=settings.storage_reserve_mb << 20,
        backlog_max=settings.backlog_max,
    )


def open_pictures(settings: Settings) -> PictureStore:
    return PictureStore(settings.storage_path)


def open_exports(settings: Settings) -> ExportStore:
    return ExportStore(settings.storage_path, reserve_bytes=settings.storage_reserve_mb << 20)


def make_withdrawer(settings: Settings, research: Database, headers: HeaderReader) -> Withdrawer:
    site_key = load_key(settings, research)
    return Withdrawer(
        database=research,
        vault=open_checked(settings.vault_url, Branch.VAULT),
        store=open_store(settings),
        pictures=open_pictures(settings),
        withdrawn_list=WithdrawnList(settings.withdrawn_path, site_key),
        site_key=site_key,
        headers=headers,
        exports=open_exports(settings),
    )


def make_sealer(settings: Settings, research: Database) -> Sealer:
    """Build what seals the audit log; makes its key where no log was ever signed.

    Raises
    ------
    SettingInvalid
        The key of a log that was signed is missing, or its file holds none.
    """
    key_path = settings.audit_key_path
    if not key_path.exists():
        with research.read() as session:
            if has_heads(session):
                load_signing_key(key_path)  # says that it is missing
        make_signing_key(key_path, SigningKey.generate(new_log_name()))
    load_signing_key(key_path)
    return Sealer(
        research,
        key_path,
        HeadsFile(settings.audit_heads_path),
        interval_s=settings.audit_interval_s,
        publish=SyslogHeads(settings.audit_syslog) if settings.audit_syslog else lambda note: None,
    )


def make_sealer_if_there_is_a_key(settings: Settings, research: Database) -> Sealer | NoSealer:
    """Do as `make_sealer` for who has more to do than to seal."""
    try:
        return make_sealer(settings, research)
    except SettingInvalid as error:
        return NoSealer(str(error))


def open_decoder(settings: Settings, *, children: int = 1) -> DecoderPool:
    return DecoderPool(
        children=children,
        memory_bytes=settings.decode_memory_mb << 20,
        timeout_s=settings.decode_timeout_s,
    )


def load_questions(settings: Settings) -> QuestionBank:
    folders = [PACKAGED_BANK, *([settings.questions_dir] if settings.questions_dir else [])]
    return load_bank(*folders)


def load_checkpoints(settings: Settings) -> CheckpointRegistry:
    return load_registry(settings.checkpoints, settings.weights_path)


def load_questionnaire(settings: Settings, registry: CheckpointRegistry) -> Questionnaire:
    return Questionnaire(
        bank=load_questions(settings),
        synonyms=load_synonyms(*([settings.routing] if settings.routing else [])),
        resolve_checkpoint=registry.resolve,
        is_demo=registry.is_demo,
        think=settings.think,
    )


def load_door(settings: Settings) -> Door:
    """Say how people come in."""
    from medr1_pacs.web.security.door import Door, host_name  # the web's packages take a while

    hosts = {host_name(host) or host for host in settings.web_hosts}
    if settings.web_host not in ("0.0.0.0", "::"):  # noqa: S104 - a comparison
        hosts.add(settings.web_host.lower())
    return Door(
        url=settings.web_url.rstrip("/"),
        hosts=frozenset(hosts),
        proxies=tuple(ip_network(text) for text in settings.trusted_proxies),
        session_idle_s=settings.session_idle_s,
        session_max_s=settings.session_max_s,
        has_local_accounts=settings.local_accounts,
        provider=load_provider(settings),
        rules=load_project_rules(settings.projects),
    )


def load_provider(settings: Settings) -> Provider | None:
    """Say who the OpenID provider is, if there is one."""
    if not settings.oidc_issuer:
        return None
    return Provider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=_read_secret(settings.oidc_client_secret_file),
        groups_claim=settings.oidc_groups_claim,
        group_roles=load_group_roles(settings.oidc_roles),
    )


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"MEDR1_OIDC_CLIENT_SECRET_FILE: {path}: {error}") from error
    if not secret:
        raise SettingInvalid(f"MEDR1_OIDC_CLIENT_SECRET_FILE: {path} is empty")
    return secret


def describe_door(settings: Settings) -> str:
    """Say in a sentence who can sign in to the pages, and from where."""
    if settings.web_certificate is not None:
        where = "from anywhere that reaches them, by HTTPS"
    elif settings.trusted_proxies:
        proxies = ", ".join(settings.trusted_proxies)
        where = f"from this machine, and by HTTPS through the proxy at {proxies}"
    else:
        where = (
            "from this machine alone; for others set MEDR1_WEB_CERTIFICATE and MEDR1_WEB_KEY, or "
            "MEDR1_TRUSTED_PROXIES"
        )
    ways = [
        *(["a password"] if settings.local_accounts else []),
        *([settings.oidc_issuer] if settings.oidc_issuer else []),
    ]
    return f"People sign in to the pages by {' or '.join(ways) or 'a link alone'}, {where}."
