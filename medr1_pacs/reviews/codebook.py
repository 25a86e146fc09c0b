"""The codebook: what every column of the results' tables is, and what odd lines look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.judged import LongRow, WideRow
from medr1_pacs.records.review_words import (
    Arm,
    CaseKind,
    Phase,
    ReadKind,
    ReasoningError,
    ReviewFlag,
)
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.changes import Change
from medr1_pacs.reviews.figures import INTERVAL, MODEL, QUARTILES, TRUTH, Figure, Measure
from medr1_pacs.reviews.wide_rows import ReaderColumns

COLUMNS = ("table", "name", "type", "values", "meaning", "unit")
_TYPES = {
    "int": "integer", "float": "number", "bool": "true or false", "str": "text",
    "Measure": "text",
}  # fmt: skip
_VALUES: Mapping[str, Sequence[str]] = {
    "case_kind": tuple(CaseKind),
    "source": ("reader", "adjudicator", MODEL, TRUTH),
    "phase": (*Phase, MODEL, TRUTH),
    "read_kind": tuple(ReadKind),
    "arm": tuple(Arm),
    "flags": tuple(ReviewFlag),
    "reasoning_error": tuple(ReasoningError),
    "reasoning_grade": ("1", "2", "3", "4", "5"),
    "confidence": ("0 to 100",),
    "change": tuple(Change),
    "measure": tuple(Measure),
    "spread": (INTERVAL, QUARTILES),
}
_UNITS = {
    "active_ms": "ms",
    "wall_ms": "ms",
    "confidence": "percent",
    "locked_at": "UTC",
}
_LINES = {
    "truth": "source and phase `truth`: one line a case; choice is empty where none is known.",
    "model": (
        "source and phase `model`: one line a case that a model answered; choice is empty where it "
        "gave no option."
    ),
    "amendment": (
        "version 2 or higher, with a reason; the line that it amends stays. The last version of a "
        "phase is evaluated; one with is_after_reveal true never is, and the one before it counts."
    ),
    "cannot assess": (
        "cannot_assess says why; choice, confidence and score are empty. It is evaluated: is_right "
        "is false where a truth is known, no category in agreement, no score in a curve."
    ),
    "flags": "They change nothing: a flagged line is evaluated as others are.",
    "practice": "case_kind and read_kind `practice`: is_evaluated is false.",
    "repeat": (
        "read_kind `repeat`: is_evaluated is false; compared with the read_kind `first` of the "
        "same reader, case and phase alone."
    ),
    "half a read": (
        "read of which a phase is missing, since its reader or its protocol left it, or it is "
        "still open: is_evaluated is false, and it is in no figure and no cell of the wide table."
    ),
    "control": (
        "case_kind `control`: is_evaluated is false; the last version that was locked before "
        "anything was revealed is reported apart."
    ),
    "adjudication": (
        "source `adjudicator`: decides about a case on which readers disagreed in the blind phase "
        "where the protocol's arms have one, else in the assisted phase; of each reader it is "
        "about the first read that has that phase and is done."
    ),
    "crossover": (
        "read_kind `first` and `second` of one reader and case: its two arms, `second` in the "
        "second period. A figure is of one arm, and says how many of its readings are of that "
        "period."
    ),
    "withdrawn": (
        "withdrawn true: is_evaluated is false, and whatever was said is empty; ids, times and "
        "hashes are left, so that it can be counted what is gone."
    ),
    "text like a formula": (
        "A text that begins with =, +, -, @, a tab or a line break has an apostrophe before it."
    ),
}


def list_codebook(readers: Sequence[ReaderColumns]) -> Iterator[JsonObject]:
    """Yield what each column of the long table, the wide one and the figures is."""
    yield from _of_fields("long", LongRow)
    for name, meaning in _LINES.items():
        yield _line("long", f"(lines: {name})", "", "", meaning)
    yield from _of_fields("wide", WideRow)
    for each in readers:
        whose = f"of {each.reader}, {each.condition.name}" + (
            ", when they read it once more" if each.is_repeat else ""
        )
        yield _line(
            "wide",
            each.choice,
            "text",
            "",
            f"The choice that counts {whose}; empty: not read to the end, cannot be assessed, or "
            "withdrawn.",
        )
        yield _line(
            "wide", each.confidence, "integer", "0 to 100", f"The confidence {whose}.", "percent"
        )
    yield from _of_fields("figures", Figure)


def _of_fields(table: str, record: type) -> Iterator[JsonObject]:
    for entry in describe_fields(record):
        first, *optional = entry.type.split(" | ")
        yield _line(
            table,
            entry.name,
            _TYPES[first] + (" or empty" if optional else ""),
            "; ".join(_VALUES.get(entry.name, ())),
            entry.meaning,
            _UNITS.get(entry.name, ""),
        )


def _line(
    table: str, name: str, kind: str, values: str, meaning: str, unit: str = ""
) -> JsonObject:
    return dict(zip(COLUMNS, (table, name, kind, values, meaning, unit), strict=True))
