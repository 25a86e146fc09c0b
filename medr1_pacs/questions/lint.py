"""What a careful author would change in a bank that already loads.

Each rule is a way in which an option gives itself away, or a number that would measure nothing.
A finding does not stop anything: the author decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from medr1_pacs.questions.bank import QuestionBank
from medr1_pacs.questions.schema import Question, Role, TruthKind
from medr1_pacs.questions.source import Source
from medr1_pacs.records.words import Task

MIN_WORD_LETTERS = 4
"""Shorter words of a stem ("the", "CT") give nothing away."""
MAX_LENGTH_RATIO = 3.0
MIN_LENGTH_GAP = 12
"""Options are unlike in length where the longest has both `MAX_LENGTH_RATIO` times the letters of
the shortest and `MIN_LENGTH_GAP` more."""

_FILLERS = frozenset({"does", "from", "most", "this", "that", "what", "which", "with", "image"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on one question."""

    place: str
    """`file:line`."""
    question_id: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.question_id}: {self.rule}: {self.message}"


def lint(bank: QuestionBank) -> list[Finding]:
    """Return every finding, in the order of the files."""
    findings = []
    for question in bank.questions:
        source = bank.sources[question.id]
        for rule, (field, check) in _RULES.items():
            for message in check(question):
                findings.append(Finding(source.at(field), question.id, rule, message))
    return findings + list(_unreviewed_files(bank))


def _stem_word(question: Question) -> Iterator[str]:
    options = [_words(option) for option in question.options]
    for word in sorted(_words(question.stem) - _FILLERS):
        holders = [option for option, words in zip(question.options, options, strict=True)
                   if word in words]  # fmt: skip
        if len(word) >= MIN_WORD_LETTERS and len(holders) == 1:
            yield f"`{word}` of the stem stands in one option only, `{holders[0]}`; reword one"


def _option_length(question: Question) -> Iterator[str]:
    shortest, longest = min(question.options, key=len), max(question.options, key=len)
    gap = len(longest) - len(shortest)
    if gap >= MIN_LENGTH_GAP and len(longest) >= MAX_LENGTH_RATIO * len(shortest):
        yield f"`{longest}` is much longer than `{shortest}`; make the options alike"


def _sentinel_without_truth(question: Question) -> Iterator[str]:
    by_people = question.truth.kind in (TruthKind.READER, TruthKind.REFERENCE)
    if question.role is Role.SENTINEL and by_people:
        yield f"the truth is `{question.truth.kind}`, but a sentinel's comes from the header"


def _constant_truth(question: Question) -> Iterator[str]:
    options = set(question.truth.map.values())
    if question.role is Role.SENTINEL and len(options) == 1:
        yield f"only `{options.pop()}` can be right: accuracy measures nothing; never chart it"


def _study_without_positive(question: Question) -> Iterator[str]:
    if question.role is not Role.STUDY or question.task is not Task.DISEASE:
        return
    if not question.positive:
        yield "name the positive options: without them there is no sensitivity and no ROC"


def _no_negative(question: Question) -> Iterator[str]:
    if question.positive and set(question.positive) == set(question.options):
        yield "every option is positive; add one that says nothing was found"


def _words(text: str) -> set[str]:
    """Return the words of a text without capitals and plural endings."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.casefold())}


_RULES: dict[str, tuple[str, Callable[[Question], Iterator[str]]]] = {
    "stem word": ("stem", _stem_word),
    "option length": ("options", _option_length),
    "sentinel without truth": ("truth", _sentinel_without_truth),
    "constant truth": ("truth", _constant_truth),
    "study without positive": ("positive", _study_without_positive),
    "no negative": ("positive", _no_negative),
}
"""Rule -> the field it points at, and its check."""


def _unreviewed_files(bank: QuestionBank) -> Iterator[Finding]:
    """Yield one finding a file: its first question that no clinician has signed, and how many."""
    unsigned: dict[str, list[tuple[Question, Source]]] = {}
    for question in bank.questions:
        if question.reviewed_by is None and not question.is_demo:
            source = bank.sources[question.id]
            unsigned.setdefault(str(source.path), []).append((question, source))
    for entries in unsigned.values():
        question, source = entries[0]
        count = "1 question is" if len(entries) == 1 else f"{len(entries)} questions are"
        message = f"{count} not clinically reviewed; sign with reviewed_by and reviewed_at"
        yield Finding(source.at(), question.id, "not reviewed", message)
