"""review -> results: what a reading protocol comes to, and the files that are made of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache

from medr1_pacs.db.judged import get_judged_protocol
from medr1_pacs.db.protocols import find_part, get_protocol_id
from medr1_pacs.db.sessions import Database
from medr1_pacs.records.judged import JudgedProtocol, LongRow
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.codebook import COLUMNS, list_codebook
from medr1_pacs.reviews.figures import Figure
from medr1_pacs.reviews.long_rows import list_long_rows
from medr1_pacs.reviews.results import ProtocolResults, compute_results
from medr1_pacs.reviews.wide_rows import list_reader_columns, list_wide_rows, wide_columns


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """Rows that are written as a file."""

    columns: Sequence[str]
    rows: Iterator[JsonObject]


def find_protocol(database: Database, project: str, name: str, version: int) -> int:
    """Return the row id of a protocol; raises `ProtocolNotFound`."""
    with database.read() as session:
        return get_protocol_id(session, project, name, version)


def is_in_protocol(database: Database, protocol_id: int, account_id: int) -> bool:
    """Whether somebody is a reader or an adjudicator of a protocol."""
    with database.read() as session:
        return find_part(session, protocol_id, account_id) is not None


def load_protocol(database: Database, protocol_id: int) -> JudgedProtocol:
    """Return a protocol with all that was said of its cases, at one moment."""
    with database.read() as session:
        return get_judged_protocol(session, protocol_id)


@dataclass(frozen=True, slots=True)
class _Known:
    """A protocol, known by all that its results can change with."""

    state: Hashable
    protocol: JudgedProtocol = field(compare=False)


def find_results(protocol: JudgedProtocol) -> ProtocolResults:
    """Return what a protocol comes to; asked again before anything changed, it is known."""
    reviews = tuple(
        (review.review_id, review.record_sha256)
        for case in protocol.cases
        for read in case.reads
        for review in read.reviews
    )
    cases = tuple((case.case_id, case.is_withdrawn, case.patient) for case in protocol.cases)
    state = protocol.protocol_id, protocol.started_at, cases, reviews
    return _compute(_Known(state, protocol))


@lru_cache(maxsize=8)  # the page and its file ask for the same: seconds, where cases are many
def _compute(known: _Known) -> ProtocolResults:
    return compute_results(known.protocol)


def long_table(protocol: JudgedProtocol) -> ResultsTable:
    """Return a line a reader, case, phase and version, beside model and truth."""
    columns = [field.name for field in fields(LongRow)]
    return ResultsTable(columns, (asdict(row) for row in list_long_rows(protocol)))


def wide_table(protocol: JudgedProtocol) -> ResultsTable:
    """Return a line a case."""
    readers = list_reader_columns(protocol)
    return ResultsTable(wide_columns(readers), iter(list_wide_rows(protocol, readers)))


def codebook_table(protocol: JudgedProtocol) -> ResultsTable:
    """Return what every column of the others is."""
    return ResultsTable(COLUMNS, list_codebook(list_reader_columns(protocol)))


def figures_table(protocol: JudgedProtocol) -> ResultsTable:
    """Return every number of the page."""
    columns = [field.name for field in fields(Figure)]
    return ResultsTable(columns, (asdict(each) for each in find_results(protocol).list_all()))


TABLES = {
    "long.csv": long_table,
    "wide.csv": wide_table,
    "codebook.csv": codebook_table,
    "figures.csv": figures_table,
}
"""File name -> what makes it."""
