"""The list of what was withdrawn: a file outside the data folder and the databases.

    {"list": "medr1-pacs withdrawn", "site_key_check": "5f0c..."}
    {"kind": "study", "key": "93ab...", "project": null}

Keyed hashes alone, a line each, only ever added to. What is restored from a backup that is older
than a withdrawal is withdrawn again by it, so no backup of the data may bring an older one back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medr1_pacs.errors import WithdrawnListUnusable
from medr1_pacs.pseudonyms import pseudonym
from medr1_pacs.records.withdrawals import WithdrawnEntry
from medr1_pacs.records.words import WithdrawnKind
from medr1_pacs.storage.durable import sync_folder

_TITLE = "medr1-pacs withdrawn"


class WithdrawnList:
    """The list in its file, which one process at a time writes.

    Parameters
    ----------
    path
        Made with the first entry; its folder must be there.
    site_key
        Of whose hashes the entries are; a list of another site's is refused.
    """

    def __init__(self, path: Path, site_key: bytes) -> None:
        self._path = path.absolute()
        self._check = pseudonym(site_key, "list", _TITLE)

    def read(self) -> list[WithdrawnEntry]:
        """Return the entries in their order, each once; none when there is no file yet.

        A last line that a crash left half written counts as not written: what it stood for had not
        begun to go.

        Raises
        ------
        WithdrawnListUnusable
            It cannot be read, is damaged, or was written with another site key.
        """
        entries, _ = self._read()
        return entries

    def add(self, entries: Iterable[WithdrawnEntry]) -> None:
        """Add what is not in it yet; when this returns, it survives a crash.

        Raises
        ------
        WithdrawnListUnusable
            It cannot be written; the message says what helps.
        """
        listed, whole_bytes = self._read()
        known = set(listed)
        new = [entry for entry in dict.fromkeys(entries) if entry not in known]
        if not new:
            return
        lines = [_line(kind=e.kind, key=e.key, project=e.project) for e in new]
        if whole_bytes == 0:
            lines.insert(0, _line(list=_TITLE, site_key_check=self._check))
        try:
            # Others of its folder may read it: it names nobody.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.truncate(whole_bytes)
                file.seek(whole_bytes)
                file.write("".join(lines).encode())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror}") from error

    def check_writable(self) -> None:
        """Raise `WithdrawnListUnusable` where nothing could be added."""
        target = self._path if self._path.exists() else self._path.parent
        if not os.access(target, os.W_OK):
            raise self._unusable("cannot be written")

    def _read(self) -> tuple[list[WithdrawnEntry], int]:
        """Return the entries, and how many bytes of the file are whole lines."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            if not self._path.parent.is_dir():  # a volume that is not mounted has no entries either
                raise self._unusable("cannot be read: its folder is missing") from None
            return [], 0
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        whole_bytes = content.rfind(b"\n") + 1
        lines = content[:whole_bytes].splitlines()
        if not lines:
            return [], 0
        if self._parse(lines[0], 1).get("site_key_check") != self._check:
            raise self._unusable(
                "was not written with this site key: restore the key, or the list, that belongs "
                "to the other"
            )
        entries = [self._entry(line, number) for number, line in enumerate(lines[1:], 2)]
        return list(dict.fromkeys(entries)), whole_bytes

    def _entry(self, line: bytes, number: int) -> WithdrawnEntry:
        values = self._parse(line, number)
        try:
            return WithdrawnEntry(
                WithdrawnKind(values["kind"]), str(values["key"]), values["project"]
            )
        except (KeyError, ValueError) as error:
            raise self._unusable(f"is damaged in line {number}: restore it") from error

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise self._unusable(f"is damaged in line {number}: restore it")
        return values

    def _unusable(self, what: str) -> WithdrawnListUnusable:
        return WithdrawnListUnusable(
            f"the list of withdrawals {self._path} {what} (MEDR1_WITHDRAWN_FILE)"
        )


def _line(**values: str | None) -> str:
    return json.dumps(values) + "\n"
