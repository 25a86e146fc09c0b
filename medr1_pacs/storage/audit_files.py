"""What of the audit log lies outside the database: its key, and the heads that were signed.

    audit.key           PRIVATE+KEY+NAME+ID+...             mode 0600
    ...-heads.jsonl     {"head": "ORIGIN\\n12\\n...", ...}    a line a head, only ever added to

Whoever can write the database alone cannot make the two agree with a log that was changed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import logging.handlers
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from medr1_pacs.audit.notes import NoteInvalid
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.errors import AuditFilesUnusable, SettingInvalid
from medr1_pacs.storage.durable import sync_folder

logger = logging.getLogger(__name__)

_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LoggedHead:
    """A head as it was signed, and when."""

    note: str
    signed_at: str
    """ISO 8601."""


class HeadsFile:
    """The heads of the log, the last of which the sealer stands on.

    Parameters
    ----------
    path
        Made with the first head; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    @property
    def path(self) -> Path:
        return self._path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time seal."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read_last(self) -> LoggedHead | None:
        """Return the last head; None: there is none yet.

        A last line that a crash left half written counts as not written.

        Raises
        ------
        AuditFilesUnusable
            The file cannot be read, or is damaged.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read()
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise self._unusable("cannot be read: its folder is missing") from None
            return None
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        whole = tail[: tail.rfind(b"\n") + 1].splitlines()
        return self._parse(whole[-1]) if whole else None

    def iterate(self) -> Iterator[LoggedHead]:
        """Yield the heads in their order; raises `AuditFilesUnusable`."""
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield self._parse(line)
        except FileNotFoundError:
            return  # none yet
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error

    def add(self, note: str, signed_at: datetime) -> None:
        """Add a head; when this returns, it survives a crash. The lock is held."""
        line = json.dumps({"signed_at": signed_at.isoformat(), "head": note}, ensure_ascii=False)
        try:
            with self._path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read()
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
                file.seek(0, os.SEEK_END)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror}") from error

    def _parse(self, line: bytes) -> LoggedHead:
        try:
            values = json.loads(line)
            return LoggedHead(str(values["head"]), str(values["signed_at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise self._unusable("is damaged: restore it") from error

    def _unusable(self, what: str) -> AuditFilesUnusable:
        return AuditFilesUnusable(
            f"the heads of the audit log {self._path} {what} (MEDR1_AUDIT_HEADS_FILE)"
        )


class SyslogHeads:
    """Sends heads to a syslog server, which keeps them where this machine cannot change them.

    Parameters
    ----------
    address
        A socket as `/dev/log`, or `HOST:PORT` of one that listens on UDP.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = address if address.startswith("/") else (host.strip("[]"), int(port))

    def __call__(self, note: str) -> None:
        """Send a head, in one line; one that cannot be sent is logged, and is in the file."""
        line = note.strip().replace("\n\n", "\n").replace("\n", " | ")
        try:
            handler = logging.handlers.SysLogHandler(
                self._address, facility=logging.handlers.SysLogHandler.LOG_AUTHPRIV
            )
            try:
                record = logging.LogRecord(
                    "medr1_pacs.audit", logging.INFO, "", 0, f"medr1-pacs: {line}", None, None
                )
                handler.handleError = _raise  # type: ignore[method-assign] # - it prints, by default
                handler.emit(record)
            finally:
                handler.close()
        except OSError as error:
            logger.warning("the head of the audit log could not be sent to syslog: %s", error)


def _raise(record: logging.LogRecord) -> None:
    raise


def load_signing_key(path: Path) -> SigningKey:
    """Read the key that signs the log.

    Raises
    ------
    SettingInvalid
        There is none, it cannot be read, or the file holds something else.
    """
    try:
        return SigningKey.parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingInvalid(
            f"{path.absolute()}: the key of the audit log is missing (MEDR1_AUDIT_KEY_FILE): "
            "restore it from the backup; if it is lost for good, `medr1-pacs audit restart` begins "
            "another log"
        ) from None
    except OSError as error:
        raise SettingInvalid(
            f"{path.absolute()}: the key of the audit log cannot be read: {error.strerror} "
            "(MEDR1_AUDIT_KEY_FILE)"
        ) from error
    except (NoteInvalid, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{path.absolute()}: {error} (MEDR1_AUDIT_KEY_FILE)") from error


def make_signing_key(path: Path, new: SigningKey) -> SigningKey:
    """Return the key that a file holds; where there is none yet, the new one, which is kept there
    readable by us alone."""
    if not path.exists():
        _write_key(path, new, replace=False)
    return load_signing_key(path)


def replace_signing_key(path: Path, key: SigningKey) -> None:
    """Put another key in the place of the one that a file holds, which is gone then."""
    _write_key(path, key, replace=True)


def _write_key(path: Path, key: SigningKey, *, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if replace:
            unfinished.rename(path)
        else:
            os.link(unfinished, path)  # the first process wins; all read the same key
    except FileExistsError:
        pass
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
