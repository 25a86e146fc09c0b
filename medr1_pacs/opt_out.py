"""receive: the patients of whom nothing is kept, as the hospital lists them.

    patient_id,issuer_of_patient_id
    4711,
    4712,CLINIC

A line without an issuer means the patient ID of every issuer.
"""

from __future__ import annotations

import csv
from pathlib import Path

from medr1_pacs.errors import OptOutUnusable
from medr1_pacs.records.received import PatientIdentity

_COLUMNS = ("patient_id", "issuer_of_patient_id")


class OptOutList:
    """A CSV file of patients, read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._read_at: tuple[int, int, int] | None = None
        self._patients: frozenset[tuple[str, str]] = frozenset()

    def has(self, identity: PatientIdentity) -> bool:
        """Whether a patient is listed; see `refresh`."""
        of_any_issuer = (identity.patient_id, "")
        of_this_issuer = (identity.patient_id, identity.issuer_of_patient_id)
        return bool(identity.patient_id) and not self._patients.isdisjoint(
            (of_any_issuer, of_this_issuer)
        )

    def refresh(self) -> int:
        """Read the file if it is another than before; returns how many patients it lists.

        Raises
        ------
        OptOutUnusable
            It cannot be read, or is not such a file; who is in it is not known.
        """
        try:
            status = self._path.stat()
            now = (status.st_ino, status.st_size, status.st_mtime_ns)
            if now != self._read_at:
                patients = _parse(self._path)
                if self._patients and not patients:
                    raise ValueError(
                        "lists nobody any more: was it being written? Start the sweep again if so "
                        "it is meant"
                    )
                self._patients = patients
                self._read_at = now
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        except (ValueError, csv.Error) as error:
            raise self._unusable(str(error)) from error
        return len(self._patients)

    def _unusable(self, what: str) -> OptOutUnusable:
        return OptOutUnusable(f"the opt-out list {self._path} {what} (MEDR1_OPT_OUT_FILE)")


def _parse(path: Path) -> frozenset[tuple[str, str]]:
    """Raises ValueError, whose message quotes nobody's ID."""
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("does not end with a line break: is it being written?")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if not header or set(header) - set(_COLUMNS) or _COLUMNS[0] not in header:
                raise ValueError(f"has no header {_COLUMNS[0]} or {','.join(_COLUMNS)}")
            patients = set()
            for row in rows:
                if not any(map(str.strip, row)):
                    continue
                values = dict(zip(header, map(str.strip, row), strict=False))
                if len(row) != len(header) or not values[_COLUMNS[0]]:
                    raise ValueError(f"has no patient ID in line {rows.line_num}")
                patients.add((values[_COLUMNS[0]], values.get(_COLUMNS[1], "")))
            return frozenset(patients)
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
