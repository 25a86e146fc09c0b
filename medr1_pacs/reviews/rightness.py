"""How often the model and readers are right: accuracy, sensitivity, specificity.

A case that a reader cannot assess, and one in which the model gave no option, is not right: neither
called positive where it is, nor negative where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medr1_pacs.records.judged import JudgedCase
from medr1_pacs.records.review_words import Phase
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, Condition, Figure, Measure, Subject
from medr1_pacs.reviews.readings import Reading, readers_of, under

_ASSESSED = "what cannot be assessed counts as not right"
_NO_TRUTH = "no case has a known truth"
_Judged = tuple[JudgedCase, str | None]
"""A case, and what was chosen."""


def estimate_rightness(
    question: str,
    cases: Sequence[JudgedCase],
    readings: Sequence[Reading],
    conditions: Sequence[Condition],
) -> Iterator[Figure]:
    """Yield the figures of the model, then of each reader and of all, condition by condition.

    `cases`: those that are evaluated, under one question.
    """
    answered = [(case, case.model) for case in cases if case.has_model]
    yield from _shares(Subject(question, "", MODEL), answered, "cases", bool(answered))
    for condition in conditions:
        here = under(readings, condition)
        readers = readers_of(here)
        for reader in readers:
            own = [(each.case, each.choice) for each in here if each.reader == reader]
            yield from _shares(Subject(question, condition.name, reader), own, "cases")
            yield _cannot_assess(Subject(question, condition.name, reader), own, "cases")
        if condition.phase is not Phase.ADJUDICATION and len(readers) > 1:
            everybody = [(each.case, each.choice) for each in here]
            unit = "readings, one reader and case each,"
            yield from _shares(Subject(question, condition.name, ALL_READERS), everybody, unit)
            yield _cannot_assess(
                Subject(question, condition.name, ALL_READERS), everybody, "readings"
            )


def estimate_controls(
    question: str, readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[Figure]:
    """Yield how often each reader is right on controls. `readings`: of controls."""
    for condition in conditions:
        here = under(readings, condition)
        for reader in readers_of(here):
            yield Subject(question, condition.name, reader).share(
                Measure.CONTROL_ACCURACY,
                [
                    (each.is_right is True, each.case.patient)
                    for each in here
                    if each.reader == reader and each.is_right is not None
                ],
                unit="controls",
                says=_ASSESSED,
                empty=_NO_TRUTH,
            )


def _shares(
    subject: Subject, judged: Sequence[_Judged], unit: str, has_any: bool = True
) -> Iterator[Figure]:
    known = [(case, choice) for case, choice in judged if case.truth is not None]
    yield subject.share(
        Measure.ACCURACY,
        [(choice == case.truth, case.patient) for case, choice in known],
        unit=f"{unit} with a known truth",
        says=_ASSESSED if subject.who != MODEL else "a case without an option is not right",
        empty=_NO_TRUTH if has_any else "no model answered",
    )
    if not any(case.positive for case, _ in judged):
        return
    for measure, is_positive, word in (
        (Measure.SENSITIVITY, True, "positive"),
        (Measure.SPECIFICITY, False, "negative"),
    ):
        yield subject.share(
            measure,
            [
                (case.calls_positive(choice) is is_positive, case.patient)
                for case, choice in known
                if case.calls_positive(case.truth) is is_positive
            ],
            unit=f"{unit} whose truth is {word}",
            says=f"share called {word}",
            empty=f"no case has a {word} truth",
        )


def _cannot_assess(subject: Subject, judged: Sequence[_Judged], unit: str) -> Figure:
    return subject.share(
        Measure.CANNOT_ASSESS,
        [(choice is None, case.patient) for case, choice in judged],
        unit=unit,
        empty="nothing was read",
    )
