"""The scores of a question's cases, as programs for multi-reader multi-case studies take them."""

from __future__ import annotations

from collections.abc import Iterator

from medr1_pacs.errors import ResultsRefused
from medr1_pacs.exports.imrmc import ImrmcStudy, Score
from medr1_pacs.records.judged import JudgedCase, JudgedProtocol
from medr1_pacs.records.review_words import Phase
from medr1_pacs.reviews.figures import MODEL
from medr1_pacs.reviews.readings import list_conditions, list_readings

ALL_PHASES = "all"


def build_imrmc_study(protocol: JudgedProtocol, question_id: str, phase: str) -> ImrmcStudy:
    """Return the readers' scores in the conditions of a phase, or of all, and the model's.

    Cases are those that are evaluated and whose truth is known; who could not assess one has no
    score of it.

    Raises
    ------
    ResultsRefused
        The protocol has no such question or phase, or the question no positive options.
    """
    cases = [case for case in protocol.cases if case.question_id == question_id]
    if not cases:
        raise ResultsRefused(f"the protocol {protocol.name} has no question {question_id!r}")
    if not any(case.positive for case in cases):
        raise ResultsRefused(
            f"the question {question_id} says of no option that it is positive: iMRMC compares "
            "scores of positive and negative cases, and there are none"
        )
    known = [case for case in cases if case.is_evaluated and case.truth is not None]
    conditions = [
        condition
        for condition in list_conditions(cases)
        if condition.phase is not Phase.ADJUDICATION and phase in (condition.phase, ALL_PHASES)
    ]
    if not conditions:
        raise ResultsRefused(f"nothing of {question_id} was read in a phase {phase!r}")
    every = list_conditions(cases)
    scores = [
        Score(each.reader, str(each.case.number), each.condition.name, each.score)
        for each in list_readings(known, every)
        if each.condition in conditions and each.score is not None
    ]
    return ImrmcStudy(
        title=f"{protocol.name} {protocol.version}, {question_id}, {phase}",
        truths={str(case.number): case.truth in case.positive for case in known},
        scores=[*scores, *_model_scores(known)],
    )


def _model_scores(cases: list[JudgedCase]) -> Iterator[Score]:
    for case in cases:
        if case.model_score is not None:
            yield Score(MODEL, str(case.number), MODEL, case.model_score)
