"""The verifier as a program: `python3 -I verify.py --key FILE`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medr1_pacs.audit.export_form import MANIFEST
from medr1_pacs.audit.findings import printable
from medr1_pacs.audit.notes import NoteInvalid, TreeHead, VerifierKey, parse_note
from medr1_pacs.verifier.export_check import ExportReport, check_export
from medr1_pacs.verifier.files import DAMAGED


def read_keys(path: Path) -> list[VerifierKey]:
    """Return the keys in a file, one a line.

    Raises
    ------
    ValueError
        There is none, or something else; the message names the file.
    """
    lines = [line.strip() for line in _read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    try:
        keys = [VerifierKey.parse(line) for line in lines]
    except NoteInvalid as error:
        raise ValueError(f"{path}: this is not a whole key (mistyped?). {error}") from error
    if not keys:
        raise ValueError(f"{path}: there is no key in it")
    return keys


def read_head(path: Path) -> str:
    """Return the head in a file: by itself, quoted as in a manifest, or the last one of several.

    Raises
    ------
    ValueError
        There is none; the message names the file.
    """
    text = _read_text(path)
    try:
        if text.startswith(('"', "{")):
            lines = [line for line in text.splitlines() if line.strip()]
            values = json.loads(text if text.startswith('"') else _whole_or_last(text, lines))
            text = values if isinstance(values, str) else str(_head_in(values))
        note = text.strip("\r\n ") + "\n"
        TreeHead.parse(parse_note(note).text)
    except DAMAGED as error:
        raise ValueError(f"{path}: this is not a whole head (mistyped?). {error}") from error
    return note


def _whole_or_last(text: str, lines: Sequence[str]) -> str:
    """Return a document, or the last line where every line is one."""
    return text if len(lines) > 1 and lines[0].strip() == "{" else lines[-1]


def _head_in(values: Any) -> Any:
    return values["log"]["head"] if "log" in values else values["head"]


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error.strerror}") from error
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):  # as some shells write what is printed
            return data.decode(encoding, "replace").replace("\r\n", "\n")
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the export in a folder, and say what was found; 0: it is what a trusted key signed."""
    parser = argparse.ArgumentParser(
        description="Check an export of medr1-pacs. See GUIDE.md beside this file.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument(
        "--key", type=Path, help="file with the key of the log, which you got from elsewhere"
    )
    parser.add_argument(
        "--expect-head", type=Path, action="append", default=[],
        help="file with a head that you kept from earlier; again for more",
    )  # fmt: skip
    parser.add_argument(
        "--save-head",
        type=Path,
        help="file to write the head of a verified export to: keep it",
    )
    options = parser.parse_args(arguments)
    try:
        keys = read_keys(options.key) if options.key else []
        expected = [(str(path), read_head(path)) for path in options.expect_head]
    except ValueError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    report = check_export(options.folder, keys, expected)
    *lines, verdict = report.lines()
    for line in lines:
        print(line)
    if options.save_head:
        try:
            print(printable(keep_head(report, options.folder, options.save_head)))
        except ValueError as error:
            print(f"verify: {error}", file=sys.stderr)
            return 2
    print(verdict)
    return 0 if report.is_sound else 1


def keep_head(report: ExportReport, folder: Path, path: Path) -> str:
    """Write the head of an export to a file if it was verified; returns what was done.

    Raises
    ------
    ValueError
        The file holds something else, or cannot be written; the message names it.
    """
    if not report.is_sound:
        return "head not saved: the export is not verified"
    save_head(folder, path)
    return f"head saved: {path}"


def save_head(folder: Path, path: Path) -> None:
    """Write the head of an export, which was verified, to a file; nothing is overwritten.

    Raises
    ------
    ValueError
        The file holds something else, or cannot be written; the message names it.
    """
    head = read_head(folder / MANIFEST)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(head)
    except FileExistsError:
        if _read_text(path) != head:
            raise ValueError(f"{path}: it is there and not this head: name another file") from None
    except OSError as error:
        raise ValueError(f"{path}: it cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
