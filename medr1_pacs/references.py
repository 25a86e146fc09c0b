"""Read a reference standard: what each line of a file says, and what is wrong with it.

    bytes -> lines and faults; truths -> options; targets -> duplicates and contradictions

Pure: what the keys lead to is looked up in `db.references`. Lines are told by their number alone,
since what stands in them may name a patient.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from medr1_pacs.attributes.values import Attributes
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.part10 import is_uid
from medr1_pacs.pseudonyms import is_pseudonym
from medr1_pacs.records.references import Fault, ReferenceKey, ReferenceLine, Target
from medr1_pacs.records.words import Certainty, TruthSource, TruthUnit

FILE_MAX_BYTES = 256 << 20
LINES_MAX = 1_000_000
FIELD_MAX = 1_024
"""Characters a field may have; as many are kept of what names a patient."""
STATED_BY_MAX = 64

KEY_COLUMNS = tuple(field.name for field in fields(ReferenceKey))
NEEDED_COLUMNS = ("question_id", "truth")
COLUMNS = (*KEY_COLUMNS, *NEEDED_COLUMNS, "unit", "certainty", "stated_by", "stated_at")
"""Every column that a file may have, by the name in its header."""

_UIDS = ("study_instance_uid", "sop_instance_uid", "study_pseudonym", "picture_pseudonym")
_DATE = re.compile(r"(\d{4})(-?)(\d{2})\2(\d{2})")


@dataclass(frozen=True, slots=True)
class ParsedReferences:
    """The lines of a file that can be read, and what is wrong with the others."""

    lines: tuple[ReferenceLine, ...]
    faults: Mapping[int, Fault]
    """Line number -> fault."""


class _LineInvalid(Exception):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


def parse_references(data: bytes) -> ParsedReferences:
    """Read a CSV file in UTF-8 whose first line names its columns.

    A field holds no line break, so that a quote that nobody closed spoils one line alone.

    Raises
    ------
    ReferenceRefused
        It is no such file, has a column that nobody knows or lacks one, or is too large.
    """
    if len(data) > FILE_MAX_BYTES:
        raise ReferenceRefused(
            f"the file has more than {FILE_MAX_BYTES >> 20} MiB: divide it into several"
        )
    header, *rows = _decode(data).split("\n")
    delimiter = ";" if header.count(";") > header.count(",") else ","
    columns = _read_header(header, delimiter)
    lines: list[ReferenceLine] = []
    faults: dict[int, Fault] = {}
    for number, row in enumerate(rows, start=2):
        if not row.strip(f"{delimiter} \t\r"):
            continue  # as spreadsheets leave them at the end
        if len(lines) + len(faults) == LINES_MAX:
            raise ReferenceRefused(
                f"line {number}: the file has more than {LINES_MAX:,} lines: divide it"
            )
        try:
            lines.append(_read_line(number, _split(row, delimiter), columns))
        except _LineInvalid as error:
            faults[number] = error.fault
    if not lines and not faults:
        raise ReferenceRefused("the file has no line below its header: there is nothing to import")
    return ParsedReferences(tuple(lines), faults)


def match_option(truth: str, options: Iterable[str]) -> str | None:
    """Return the option that a truth means, as the option is spelled; None: none of them."""
    wanted = _folded(truth)
    return next((option for option in options if _folded(option) == wanted), None)


def first_version(source: TruthSource, unit: TruthUnit) -> int:
    """Return the version of a first statement: 1, or 2 where 1 is what a plan reads by itself from
    the header of each picture."""
    is_read = source in (TruthSource.HEADER, TruthSource.PHANTOM) and unit is TruthUnit.PICTURE
    return 2 if is_read else 1


def side_of(attributes: Attributes) -> str | None:
    """Return the side that a picture shows, `L` or `R`; None: both, or unknown.

    Image Laterality (0020,0062) is of the picture, Laterality (0020,0060) of its series; an
    enhanced object has Frame Laterality (0020,9072), which is kept where its frames share it.
    """
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        if value := attributes.get(keyword):
            return str(value) if value in ("L", "R") else None
    return None


def find_repeats(said: Iterable[tuple[ReferenceLine, Target]]) -> dict[int, Fault]:
    """Return the lines that say again, or deny, what other lines say of the same thing."""
    lines: dict[tuple[Target, str], list[ReferenceLine]] = {}
    for line, target in said:
        lines.setdefault((target, line.question_id), []).append(line)
    faults: dict[int, Fault] = {}
    for first, *others in lines.values():
        if any(other.truth != first.truth for other in others):
            faults |= {line.number: Fault.CONTRADICTION for line in (first, *others)}
        else:
            faults |= {line.number: Fault.DUPLICATE for line in others}
    return faults


def _folded(text: str) -> str:
    return text.strip().casefold()


def _decode(data: bytes) -> str:
    data = data.removeprefix(codecs.BOM_UTF8)  # as spreadsheets save it
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ReferenceRefused(
            f"line {number} is not UTF-8: save the file as CSV UTF-8"
        ) from None  # the error would quote the line
    if not text.strip():
        raise ReferenceRefused("the file is empty: its first line names its columns")
    return text


def _read_header(header: str, delimiter: str) -> Sequence[str]:
    try:
        columns = [name.strip().lower() for name in _split(header, delimiter)]
    except _LineInvalid:
        raise ReferenceRefused("line 1: the header cannot be read as CSV") from None
    known = ", ".join(COLUMNS)
    if not set(COLUMNS) & set(columns):
        # Values, perhaps, which may name a patient.
        raise ReferenceRefused(f"line 1 has to name the columns, and names none of {known}")
    for name in columns:
        if name not in COLUMNS:
            raise ReferenceRefused(f"line 1: the column {name[:64]!r} is not known; use {known}")
        if columns.count(name) > 1:
            raise ReferenceRefused(f"line 1: the column {name!r} stands twice")
    for name in NEEDED_COLUMNS:
        if name not in columns:
            raise ReferenceRefused(f"line 1: the column {name!r} is missing; columns are {known}")
    return columns


def _split(row: str, delimiter: str) -> list[str]:
    try:
        [values] = csv.reader([row.removesuffix("\r")], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise _LineInvalid(Fault.MALFORMED) from None  # the error would quote the line
    return values


def _read_line(number: int, values: Sequence[str], columns: Sequence[str]) -> ReferenceLine:
    if len(values) != len(columns) or any(
        len(value) > FIELD_MAX or "\x00" in value for value in values
    ):
        raise _LineInvalid(Fault.MALFORMED)
    given = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    key = _read_key(given)
    if key.unit is None:
        raise _LineInvalid(Fault.NO_KEY)
    certainty = given.get("certainty", "").lower()
    stated_by = given.get("stated_by", "")
    _check(given.get("unit", "").lower() in ("", key.unit))
    _check(not key.side or key.unit is TruthUnit.SIDE)
    _check(certainty in ("", *Certainty))
    _check(len(stated_by) <= STATED_BY_MAX and (not stated_by or stated_by.isprintable()))
    stated_at = given.get("stated_at", "")
    return ReferenceLine(
        number=number,
        key=key,
        question_id=given["question_id"],
        truth=given["truth"],
        certainty=Certainty(certainty) if certainty else None,
        stated_by=stated_by,
        stated_at=_read_date(stated_at) if stated_at else None,
    )


def _read_key(given: Mapping[str, str]) -> ReferenceKey:
    key = {name: given.get(name, "") for name in KEY_COLUMNS}
    key["side"] = key["side"].upper()
    key["patient_pseudonym"] = key["patient_pseudonym"].lower()
    _check(key["side"] in ("", "L", "R"))
    _check(not key["patient_pseudonym"] or is_pseudonym(key["patient_pseudonym"]))
    _check(all(is_uid(key[name]) for name in _UIDS if key[name]))
    # Both tell patients with one id, or studies of one patient, apart: alone they say nothing.
    _check(bool(key["patient_id"]) or not (key["study_date"] or key["issuer_of_patient_id"]))
    if key["study_date"]:
        key["study_date"] = f"{_read_date(key['study_date']):%Y%m%d}"
    return ReferenceKey(**key)


def _read_date(text: str) -> datetime:
    match = _DATE.fullmatch(text)
    _check(match is not None)
    assert match is not None, "it was just checked"
    try:
        return datetime(int(match[1]), int(match[3]), int(match[4]), tzinfo=UTC)
    except ValueError:
        raise _LineInvalid(Fault.BAD_VALUE) from None


def _check(is_right: bool) -> None:
    if not is_right:
        raise _LineInvalid(Fault.BAD_VALUE)
