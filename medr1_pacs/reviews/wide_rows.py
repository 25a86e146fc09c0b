"""The wide table: a line a case, with columns for what counts of each reader and condition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from medr1_pacs.records.judged import JudgedCase, JudgedProtocol, WideRow
from medr1_pacs.records.review_words import PHASES, ReadKind
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.figures import Condition
from medr1_pacs.reviews.readings import list_conditions

_ODD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class ReaderColumns:
    """The pair of columns of a reader in a condition."""

    reader: str
    condition: Condition
    is_repeat: bool

    @property
    def choice(self) -> str:
        """Name of the column with the choice."""
        return f"{self._prefix}_choice"

    @property
    def confidence(self) -> str:
        """Name of the column with the confidence."""
        return f"{self._prefix}_confidence"

    @property
    def _prefix(self) -> str:
        parts = [self.reader, self.condition.name, *(["repeat"] if self.is_repeat else [])]
        return _ODD.sub("_", " ".join(parts).lower())


def list_reader_columns(protocol: JudgedProtocol) -> list[ReaderColumns]:
    """Return the columns of readers, in their order, repeats behind what they repeat."""
    conditions = list_conditions(protocol.cases, protocol.arms)
    found = {
        (read.reader, phase, read.arm, read.kind is ReadKind.REPEAT)
        for case in protocol.cases
        for read in case.reads
        if read.is_done
        for phase in PHASES[read.arm]
    }
    readers = sorted({reader for reader, *_ in found}, key=lambda label: (len(label), label))
    return [
        ReaderColumns(reader, condition, is_repeat)
        for reader in readers
        for condition in conditions
        for is_repeat in (False, True)
        if (reader, condition.phase, condition.arm, is_repeat) in found
    ]


def wide_columns(readers: Sequence[ReaderColumns]) -> list[str]:
    """Return the names of the columns, in order."""
    own = [field.name for field in fields(WideRow)]
    return [*own, *(name for each in readers for name in (each.choice, each.confidence))]


def list_wide_rows(protocol: JudgedProtocol, readers: Sequence[ReaderColumns]) -> list[JsonObject]:
    """Return a line a case, practice and controls too; who did not read it
    to the end has empty cells."""
    return [_row(protocol, case, readers) for case in protocol.cases]


def _row(
    protocol: JudgedProtocol, case: JudgedCase, readers: Sequence[ReaderColumns]
) -> JsonObject:
    values: JsonObject = {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "case": case.number,
        "case_kind": case.kind.value,
        "case_id": case.case_id,
        "study": case.study,
        "patient": case.patient,
        "question_id": case.question_id,
        "question_version": case.question_version,
        "picture": case.picture,
        "withdrawn": case.is_withdrawn,
        "truth": case.truth,
        "model": case.model,
        "model_score": case.model_score,
    }
    for each in readers:
        final = next(
            (
                read.final(each.condition.phase)
                for read in case.reads
                if read.is_done
                and read.reader == each.reader
                and read.arm is each.condition.arm
                and (read.kind is ReadKind.REPEAT) is each.is_repeat
            ),
            None,
        )
        values[each.choice] = final.judgement.choice_text if final else None
        values[each.confidence] = final.judgement.confidence if final else None
    return values
