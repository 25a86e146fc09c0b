"""Keyed pseudonyms: HMAC-SHA256 over the site key, so that nobody without it can guess back.

A study's pseudonym differs from project to project; two projects cannot be linked by them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from medr1_pacs.errors import SettingInvalid

KEY_BYTES = 32
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")


def pseudonym(site_key: bytes, scope: str, identifier: str) -> str:
    """Return 32 hex digits (128 bit) for an identifier within a scope (a project, `patient`)."""
    message = f"{scope}\x00{identifier}".encode()
    return hmac.new(site_key, message, hashlib.sha256).hexdigest()[:32]


def is_pseudonym(text: str) -> bool:
    """Whether a text may be what `pseudonym` returns."""
    return bool(_PSEUDONYM.fullmatch(text))


def pseudonymous_uid(site_key: bytes, project: str, uid: str) -> str:
    """Return a valid UID under 2.25 (PS3.5 B.2) that stands for another within a project."""
    return f"2.25.{int(pseudonym(site_key, f'project {project}', uid), 16)}"


def patient_pseudonym(site_key: bytes, project: str, patient_key: str) -> str:
    """Return what a project knows a patient by."""
    return pseudonym(site_key, f"project {project} patient", patient_key)


def patient_id_key(site_key: bytes, patient_id: str) -> str:
    """Return what a patient ID is known by, whoever issued it."""
    return pseudonym(site_key, "patient ID", patient_id)


def study_key(site_key: bytes, study_instance_uid: str) -> str:
    """Return what a study is known by when nothing else of it is left."""
    return pseudonym(site_key, "study", study_instance_uid)


def date_shift_days(site_key: bytes, project: str, patient_key: str) -> int:
    """Return by how many days, 1 to 365, a project moves the dates of a patient into the past."""
    return int(pseudonym(site_key, f"project {project} dates", patient_key), 16) % 365 + 1


def load_site_key(path: Path) -> bytes:
    """Read the site key; make it, readable by us alone, when there is none yet.

    Raises
    ------
    SettingInvalid
        The file holds something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    if not path.exists():
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)  # the first process wins; all read the same key
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SettingInvalid(
            f"{path}: a site key is {KEY_BYTES} bytes, this file has {len(key)}; "
            "restore it from the backup, or new pseudonyms will not match the old"
        )
    return key
