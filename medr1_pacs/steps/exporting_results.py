"""export: what readers said as tables for statisticians, a folder a reading protocol.

    reading/NAME-VERSION/long.csv, wide.csv, codebook.csv, and QUESTION-vVERSION.imrmc

They are made of the records, and of these the verifier checks the hashes: of the files here that
they are those of the manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields

from medr1_pacs.errors import ResultsRefused
from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.exports.imrmc import imrmc_lines
from medr1_pacs.records.judged import JudgedProtocol, LongRow
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.codebook import COLUMNS, list_codebook
from medr1_pacs.reviews.long_rows import list_long_rows
from medr1_pacs.reviews.multi_reader import ALL_PHASES, build_imrmc_study
from medr1_pacs.reviews.wide_rows import list_reader_columns, list_wide_rows, wide_columns
from medr1_pacs.storage.export_folder import ExportFolder

FOLDER = "reading"
HIDDEN = "(hidden)"
"""In the place of what a reader wrote, so that it is seen that there is something."""


def write_results(
    folder: ExportFolder, protocols: Iterable[JudgedProtocol], hidden: Collection[str]
) -> None:
    """Write the tables of each protocol.

    `hidden`: fields of reviews that are not shown.
    """
    for protocol in protocols:
        name = f"{FOLDER}/{protocol.name}-{protocol.version}"
        columns = [each.name for each in fields(LongRow)]
        readers = list_reader_columns(protocol)
        wide = list_wide_rows(protocol, readers)
        _write(folder, f"{name}/long.csv", csv_lines(columns, _long_rows(protocol, hidden)))
        _write(folder, f"{name}/wide.csv", csv_lines(wide_columns(readers), wide))
        _write(folder, f"{name}/codebook.csv", csv_lines(COLUMNS, list_codebook(readers)))
        asked = {(case.question_id, case.question_version) for case in protocol.cases}
        for question_id, version in sorted(asked):
            with suppress(ResultsRefused):  # of a question without what it compares
                study = build_imrmc_study(protocol, question_id, version, ALL_PHASES)
                _write(folder, f"{name}/{question_id}-v{version}.imrmc", imrmc_lines(study))


def _write(folder: ExportFolder, name: str, lines: Iterable[str]) -> None:
    folder.write_text(name, "".join(lines))


def _long_rows(protocol: JudgedProtocol, hidden: Collection[str]) -> Iterator[JsonObject]:
    for row in map(asdict, list_long_rows(protocol)):
        yield row | {name: HIDDEN for name in hidden if row.get(name) is not None}
