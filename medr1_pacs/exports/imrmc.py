"""The input of iMRMC (Gallas BD and others, FDA): scores of readers x cases x modalities.

    a line or more of free text
    N0: negative cases
    N1: positive cases
    NR: readers
    NM: modalities
    BEGIN DATA:
    -1,CASE,truth,0 or 1
    READER,CASE,MODALITY,SCORE

A modality is a way of reading here: a phase, or the model by itself. No spaces are in the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MEDIA_TYPE = "text/plain; charset=utf-8"
_TRUTH_READER = "-1"
_ODD = re.compile(r"[\s,;:\"']+")


@dataclass(frozen=True, slots=True)
class Score:
    """How sure a reader is that a case is positive; the higher, the surer."""

    reader: str
    case: str
    modality: str
    score: float


@dataclass(frozen=True, slots=True)
class ImrmcStudy:
    """Scores of cases whose truth is known."""

    title: str
    truths: Mapping[str, bool]
    """Case -> whether it is positive."""
    scores: Sequence[Score]


def imrmc_lines(study: ImrmcStudy) -> Iterator[str]:
    """Yield the lines of the file.

    Raises
    ------
    ValueError
        Names become the same once they have neither spaces nor commas.
    """
    readers = _sanitized(each.reader for each in study.scores)
    modalities = _sanitized(each.modality for each in study.scores)
    positives = sum(study.truths.values())
    yield f"{' '.join(study.title.split()).replace(':', ' ')}\n"
    yield f"N0: {len(study.truths) - positives}\n"
    yield f"N1: {positives}\n"
    yield f"NR: {len(readers)}\n"
    yield f"NM: {len(modalities)}\n"
    yield "BEGIN DATA:\n"
    for case, is_positive in study.truths.items():
        yield f"{_TRUTH_READER},{_sanitize(case)},truth,{int(is_positive)}\n"
    for each in study.scores:
        reader, modality = readers[each.reader], modalities[each.modality]
        yield f"{reader},{_sanitize(each.case)},{modality},{each.score!r}\n"


def _sanitized(names: Iterator[str]) -> dict[str, str]:
    """Return name -> the name without spaces and commas."""
    found = {name: _sanitize(name) for name in names}
    if len(set(found.values())) < len(found):
        raise ValueError(f"of {', '.join(found)} two are the same without spaces and commas")
    return found


def _sanitize(name: str) -> str:
    return _ODD.sub("_", name.strip()) or "_"
