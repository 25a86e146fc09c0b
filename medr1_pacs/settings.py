"""What a site configures, read once: `MEDR1_*` environment > `medr1.toml` > default.

Every field says its unit, its default and the reason for it. Modules below the entry points take
plain values, never a `Settings`.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medr1_pacs.admission import is_ae_title
from medr1_pacs.errors import SettingInvalid

SETTINGS_FILE = "medr1.toml"
"""Read from the working folder, or from the path in `MEDR1_SETTINGS_FILE`."""

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to knock, not to bind
_SQLITE = "sqlite:///"
# What Kubernetes adds to every container for a service whose name begins with medr1, besides
# MEDR1_..._PORT=tcp://ADDRESS:PORT.
_SERVICE_LINK = re.compile(
    r"MEDR1_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}

# What a TOML file may say for a field; an environment variable is always a text.
_TOML_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int, str),
    "float": (int, float, str),
    "str": (str,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; in the environment `MEDR1_` + the field in capitals."""

    data_dir: Path = Path("medr1-data")
    """Folder for everything that has no setting of its own; created when missing."""

    database_url: str = ""
    """SQLAlchemy URL of the research database; empty: `DATA_DIR/medr1.sqlite`, so that nothing has
    to be installed. A site uses `postgresql+psycopg://...`."""

    database_owner_url: str = ""
    """SQLAlchemy URL of the research database for the role that owns its tables, on PostgreSQL:
    migrations run as it, and the role of `database_url` may add to the audit log and not change
    it. Empty: the service owns its tables."""

    vault_url: str = ""
    """SQLAlchemy URL of the identity vault; empty: `DATA_DIR/vault.sqlite`, or on PostgreSQL the
    schema `vault` of the research database. A site gives it a role of its own."""

    broker_url: str = ""
    """Celery broker URL; empty: files in `DATA_DIR/broker`. A site uses `redis://...`."""

    storage_dir: Path | None = None
    """Folder of received instances and renderings; default `DATA_DIR/storage`."""

    weights_dir: Path | None = None
    """Folder of pulled checkpoints; default `DATA_DIR/weights`."""

    checkpoints: Path | None = None
    """A `checkpoints.toml` that names the checkpoints this site uses; default: those pulled."""

    projects: Path | None = None
    """A `projects.toml` with projects and routing rules; default: one project, `default`."""

    questions_dir: Path | None = None
    """A folder with question files of the site, added to the shipped bank."""

    routing: Path | None = None
    """A `routing.toml` with the site's synonyms and rules, added to the shipped ones."""

    site_key_file: Path | None = None
    """32 random bytes that key the pseudonyms; default `DATA_DIR/site.key`, made at first start.
    Losing it breaks the link between old and new pseudonyms: back it up with the vault."""

    withdrawn_file: Path | None = None
    """The list of what was withdrawn, as keyed hashes; default `DATA_DIR-withdrawn.jsonl`, beside
    the data folder. Outside of it and of the databases, so that one that is restored from a backup
    withdraws again: keep it out of their backup, and back it up by itself."""

    audit_key_file: Path | None = None
    """The Ed25519 key that signs the heads of the audit log, mode 0600; default
    `DATA_DIR/audit.key`, made at first start. Whoever has it could sign another history."""

    audit_heads_file: Path | None = None
    """The signed heads of the audit log, a line each; default `DATA_DIR-audit-heads.jsonl`, beside
    the data folder: outside of it and of the databases, where whoever can write those alone cannot
    change it. Keep it out of their backup, and back it up by itself."""

    audit_interval_s: float = 60.0
    """Seconds after a head of the audit log until the next one is signed, if anything happened."""

    audit_syslog: str = ""
    """Where each signed head is sent to besides: `/dev/log`, or `HOST:PORT` (UDP). Empty: nowhere
    else than the file."""

    withdrawn_arrivals: str = "refuse"
    """What becomes of an instance that was withdrawn or opted out and is sent again: `refuse`, it
    is deleted when its header was read; `quarantine`, it is set aside until a person decides."""

    opt_out_file: Path | None = None
    """A CSV file with the patients of whom nothing is kept, `patient_id` and perhaps
    `issuer_of_patient_id`; read again when it changes. Default: none."""

    group_access: bool = False
    """Let the group of the service's user read and write what it stores; false: that user alone.
    For a site whose containers or hosts run as several users over one storage folder."""

    ae_title: str = "MEDR1"
    """Our AE title, 1 to 16 characters."""

    dicom_host: str = "127.0.0.1"
    """Address the listener binds. Anything but loopback needs `allowed_peers`."""

    dicom_port: int = 11112
    """TCP port of the listener; 11112 is the registered unprivileged DICOM port."""

    allowed_peers: tuple[str, ...] = ()
    """Who may send, as `AE_TITLE@ADDRESS` or `AE_TITLE@NETWORK/BITS`; `*` for any AE title.
    `->LUNG+HEART` behind it says which called AE titles it may use; without, every known one.
    Empty: this machine alone."""

    web_host: str = "127.0.0.1"
    """Address the web pages bind."""

    web_port: int = 8080
    """TCP port of the web pages."""

    web_url: str = ""
    """The URL under which people reach the pages, as `https://medr1.hospital.org`: one-time links
    and the OpenID provider lead there. Empty: links are for this machine."""

    web_hosts: tuple[str, ...] = ()
    """Further host names that requests may be for; that of `web_url` and loopback are anyway. Any
    other is refused, so that a foreign name cannot lead a browser here."""

    web_certificate: Path | None = None
    """PEM file with the certificate and its chain; with `web_key` the pages are served by HTTPS.
    Without, and without a proxy that does it, people sign in from this machine alone."""

    web_key: Path | None = None
    """PEM file with the key of the certificate, without a pass phrase."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the proxies whose X-Forwarded-For, -Proto and -Host are believed;
    from anybody else they could be made up. Empty: nobody's."""

    session_idle_s: int = 3_600
    """Seconds without a request after which one has to sign in again; a reading room is shared."""

    session_max_s: int = 43_200
    """Seconds after which one has to sign in again however busy; longer than a shift."""

    local_accounts: bool = True
    """Let people sign in by a password. False: by the OpenID provider alone, and administrators by
    a link made on the command line, so that nobody is locked out."""

    oidc_issuer: str = ""
    """Issuer of the OpenID provider, exactly as its ID tokens say it; empty: there is none."""

    oidc_client_id: str = ""
    """What the provider knows this service by."""

    oidc_client_secret_file: Path | None = None
    """File with the client's secret; default: none, a public client with PKCE alone."""

    oidc_groups_claim: str = "groups"
    """Claim of the ID token that lists a person's groups."""

    oidc_roles: tuple[str, ...] = ()
    """What groups give, as `group=role@project` or `group=administrator`, or one TOML file with
    `[[role]]` tables. Whoever is in none of them is not let in."""

    study_quiet_s: float = 300.0
    """Seconds without a new instance after which a study is complete; scanners pause for minutes
    between series."""

    backlog_max: int = 50_000
    """Received files without rows above which C-STORE is refused (A700); about a day of a busy
    scanner fleet, so that a database may be away for a night."""

    storage_reserve_mb: int = 1_024
    """Free disk space in MiB below which C-STORE is refused (A700): the database and the pictures
    need room too."""

    max_associations: int = 50
    """Associations open at once; PACS routers open one a modality."""

    association_idle_s: float = 600.0
    """Seconds without traffic after which an association is aborted; one PDU may take no longer."""

    instance_max_mb: int = 8_192
    """Size of one data set in MiB above which C-STORE is refused (C001); it is collected in memory,
    and the largest multi-frame and whole-slide instances have a few GiB."""

    batch_size: int = 0
    """Prompts a worker answers at once; 0: 8 on a CPU, 64 on a GPU (as the authors of Med-R1)."""

    think: bool = True
    """Ask for the reasoning before the choice. Without, about ten tokens instead of up to 256."""

    decode_memory_mb: int = 4_096
    """Address space in MiB of the child that decodes pixel data; a whole-slide frame fits."""

    decode_timeout_s: float = 60.0
    """Seconds one frame may take to decode."""

    def __post_init__(self) -> None:
        derive = object.__setattr__
        if self.storage_dir is None:
            derive(self, "storage_dir", self.data_dir / "storage")
        if self.weights_dir is None:
            derive(self, "weights_dir", self.data_dir / "weights")
        if self.site_key_file is None:
            derive(self, "site_key_file", self.data_dir / "site.key")
        if self.withdrawn_file is None:
            beside = self.data_dir.absolute()
            derive(self, "withdrawn_file", beside.with_name(f"{beside.name}-withdrawn.jsonl"))
        if self.audit_key_file is None:
            derive(self, "audit_key_file", self.data_dir / "audit.key")
        if self.audit_heads_file is None:
            beside = self.data_dir.absolute()
            derive(self, "audit_heads_file", beside.with_name(f"{beside.name}-audit-heads.jsonl"))
        if not self.database_url:
            derive(self, "database_url", f"sqlite:///{self.data_dir.absolute() / 'medr1.sqlite'}")
        if not self.vault_url:
            derive(self, "vault_url", _vault_beside(self.database_url, self.data_dir))
        if not self.broker_url:
            derive(self, "broker_url", "filesystem://")
        _check(self)

    @property
    def storage_path(self) -> Path:
        assert self.storage_dir is not None
        return self.storage_dir

    @property
    def database_paths(self) -> tuple[Path, ...]:
        """The databases that are files."""
        urls = (self.database_url, self.vault_url)
        return tuple(Path(url.removeprefix(_SQLITE)) for url in urls if url.startswith(_SQLITE))

    @property
    def is_vault_of_research_role(self) -> bool:
        """Whether the role of the research tables owns the identities too, on PostgreSQL."""
        research, vault = urlsplit(self.database_url), urlsplit(self.vault_url)
        return research.scheme.startswith("postgresql") and (
            (research.username, research.hostname, research.port)
            == (vault.username, vault.hostname, vault.port)
        )

    @property
    def weights_path(self) -> Path:
        assert self.weights_dir is not None
        return self.weights_dir

    @property
    def withdrawn_path(self) -> Path:
        assert self.withdrawn_file is not None
        return self.withdrawn_file

    @property
    def audit_key_path(self) -> Path:
        assert self.audit_key_file is not None
        return self.audit_key_file

    @property
    def audit_heads_path(self) -> Path:
        assert self.audit_heads_file is not None
        return self.audit_heads_file

    @property
    def site_key_path(self) -> Path:
        assert self.site_key_file is not None
        return self.site_key_file


def load_settings(
    environ: Mapping[str, str] = os.environ, folder: Path | None = None, **overrides: Any
) -> Settings:
    """Read the settings; the only place that looks at the environment.

    Raises
    ------
    SettingInvalid
        A value that cannot be used, or a name that does not exist; the message says which.
    """
    path = Path(environ.get("MEDR1_SETTINGS_FILE") or (folder or Path.cwd()) / SETTINGS_FILE)
    known = {field.name: str(field.type) for field in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in _read_file(path, required=bool(environ.get("MEDR1_SETTINGS_FILE"))).items():
        key = name.lower().removeprefix("medr1_")
        if key not in known:
            raise SettingInvalid(f"{path}: there is no setting {name!r}{_suggest(key, known)}")
        values[key] = _convert(f"{path}: {name}", known[key], value)
    for name, text in environ.items():
        # Empty is unset, as compose files and shells write it.
        if not name.startswith("MEDR1_") or name == "MEDR1_SETTINGS_FILE" or not text:
            continue
        key = name.removeprefix("MEDR1_").lower()
        if _is_service_link(name, text):
            raise SettingInvalid(
                f"there is no setting {name}{_suggest(key, known)} It looks like a service link of "
                "Kubernetes: set `enableServiceLinks: false` in the pod's spec"
            )
        if key not in known:
            raise SettingInvalid(f"there is no setting {name}{_suggest(key, known)}")
        values[key] = _convert(name, known[key], text)
    return Settings(**(values | overrides))


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise SettingInvalid(
                f"MEDR1_SETTINGS_FILE names {path}, which does not exist"
            ) from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise SettingInvalid(f"{path}: cannot be read: {error.strerror}") from error


def _convert(name: str, kind: str, value: Any) -> Any:
    try:
        if kind.startswith("Path"):
            return Path(value).expanduser() if value else None
        if kind.startswith("tuple"):
            items = value.split(",") if isinstance(value, str) else value
            return tuple(item.strip() for item in items if item.strip())
        if kind == "bool":
            word = str(value).lower()
            if word not in _TRUE | _FALSE:
                raise ValueError("expected true or false")
            return word in _TRUE
        if not isinstance(value, _TOML_KINDS[kind]) or isinstance(value, bool):
            raise TypeError(f"it is a {type(value).__name__}")
        converted = {"int": int, "float": float, "str": str}[kind](value)
        if kind == "float" and not math.isfinite(converted):
            raise ValueError("expected a finite number")
        return converted
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingInvalid(f"{name}: cannot read {value!r} as {kind}: {error}") from error


def _suggest(key: str, known: Collection[str]) -> str:
    [nearest] = difflib.get_close_matches(key, known, 1, cutoff=0.0)
    return f"; did you mean {nearest!r}?"


def _is_service_link(name: str, text: str) -> bool:
    is_address = name.endswith("_PORT") and "://" in text
    return is_address or bool(_SERVICE_LINK.fullmatch(name))


def _vault_beside(database_url: str, data_dir: Path) -> str:
    if database_url.startswith("postgresql"):
        return (
            database_url + ("&" if "?" in database_url else "?") + "options=-csearch_path%3Dvault"
        )
    return f"sqlite:///{data_dir.absolute() / 'vault.sqlite'}"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def reachable_host(host: str) -> str:
    """Return where a service that binds an address answers on this machine."""
    return _WILDCARDS.get(host, host)


def _check(settings: Settings) -> None:
    if not is_ae_title(settings.ae_title):
        raise SettingInvalid(
            f"MEDR1_AE_TITLE: {settings.ae_title!r} is not an AE title: "
            "1 to 16 printable characters without a backslash"
        )
    for name in ("dicom_port", "web_port"):
        if not 0 <= getattr(settings, name) <= 65535:
            raise SettingInvalid(f"MEDR1_{name.upper()}: a TCP port is 0 to 65535")
    positive = (
        "study_quiet_s backlog_max max_associations association_idle_s instance_max_mb "
        "decode_memory_mb decode_timeout_s session_idle_s session_max_s audit_interval_s"
    )
    for name in positive.split():
        if getattr(settings, name) <= 0:
            raise SettingInvalid(f"MEDR1_{name.upper()}: must be above 0")
    for name in ("batch_size", "storage_reserve_mb"):
        if getattr(settings, name) < 0:
            raise SettingInvalid(f"MEDR1_{name.upper()}: must be 0 or more")
    for name in ("database_url", "vault_url"):
        if not getattr(settings, name).startswith(("sqlite:///", "postgresql+psycopg://")):
            raise SettingInvalid(
                f"MEDR1_{name.upper()}: expected sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
            )
    if settings.database_owner_url and not (
        settings.database_url.startswith("postgresql+psycopg://")
        and settings.database_owner_url.startswith("postgresql+psycopg://")
    ):
        raise SettingInvalid(
            "MEDR1_DATABASE_OWNER_URL: expected postgresql+psycopg://OWNER@HOST/NAME, the database "
            "that MEDR1_DATABASE_URL names, by another role"
        )
    host, _, port = settings.audit_syslog.rpartition(":")
    if settings.audit_syslog and not (
        settings.audit_syslog.startswith("/") or (host and port.isdigit())
    ):
        raise SettingInvalid("MEDR1_AUDIT_SYSLOG: expected a socket as /dev/log, or HOST:PORT")
    if settings.withdrawn_arrivals not in ("refuse", "quarantine"):
        raise SettingInvalid("MEDR1_WITHDRAWN_ARRIVALS: expected refuse or quarantine")
    _check_web(settings)
    if not settings.broker_url.startswith(("filesystem://", "redis://", "rediss://")):
        raise SettingInvalid("MEDR1_BROKER_URL: expected redis://HOST:PORT/N or filesystem://")


def _check_web(settings: Settings) -> None:
    url = urlsplit(settings.web_url)
    if settings.web_url and (
        url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/")
    ):
        raise SettingInvalid(
            f"MEDR1_WEB_URL: {settings.web_url!r} is not a URL without a path, as "
            "https://medr1.hospital.org"
        )
    if (settings.web_certificate is None) != (settings.web_key is None):
        raise SettingInvalid("MEDR1_WEB_CERTIFICATE and MEDR1_WEB_KEY belong together: set both")
    for text in settings.trusted_proxies:
        try:
            ip_network(text)
        except ValueError as error:
            raise SettingInvalid(
                f"MEDR1_TRUSTED_PROXIES: {text!r} is no address and no network: {error}"
            ) from error
    if not settings.oidc_issuer:
        return
    issuer = urlsplit(settings.oidc_issuer)
    if issuer.scheme != "https" and not (
        issuer.scheme == "http" and is_loopback(issuer.hostname or "")
    ):
        raise SettingInvalid("MEDR1_OIDC_ISSUER: expected https://...")
    for name in ("oidc_client_id", "oidc_roles", "web_url"):
        if not getattr(settings, name):
            raise SettingInvalid(f"MEDR1_OIDC_ISSUER is set, so MEDR1_{name.upper()} must be, too")
