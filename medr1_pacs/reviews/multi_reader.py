"""The scores of a question's cases, as programs for multi-reader multi-case studies take them."""

from __future__ import annotations

from collections.abc import Iterator

from medr1_pacs.errors import ResultsRefused
from medr1_pacs.exports.imrmc import ImrmcStudy, Score
from medr1_pacs.records.judged import JudgedCase, JudgedProtocol
from medr1_pacs.records.review_words import Phase
from medr1_pacs.reviews.checkpoints import count_checkpoints, warn_of_checkpoints
from medr1_pacs.reviews.figures import MODEL
from medr1_pacs.reviews.readings import list_conditions, list_readings

ALL_PHASES = "all"


def build_imrmc_study(
    protocol: JudgedProtocol, question_id: str, question_version: int, phase: str
) -> ImrmcStudy:
    """Return the readers' scores in the conditions of a phase, or of all, and the model's.

    They are of one version of a question: which options are positive may differ between versions.

    Cases are those that are evaluated and whose truth is known; who could not assess one has no
    score of it.

    Raises
    ------
    ResultsRefused
        The protocol has no such question, version or phase, the question no positive options, or
        there are no cases of either class, or no scores.
    """
    asked = question_id, question_version
    cases = [case for case in protocol.cases if (case.question_id, case.question_version) == asked]
    if not cases:
        raise ResultsRefused(
            f"the protocol {protocol.name} has no question {question_id!r} of version "
            f"{question_version}"
        )
    if not any(case.positive for case in cases):
        raise ResultsRefused(
            f"the question {question_id} says of no option that it is positive: iMRMC compares "
            "scores of positive and negative cases, and there are none"
        )
    known = [case for case in cases if case.is_evaluated and case.truth is not None]
    every = list_conditions(cases, protocol.arms)
    conditions = [
        condition
        for condition in every
        if condition.phase is not Phase.ADJUDICATION and phase in (condition.phase, ALL_PHASES)
    ]
    if not conditions:
        raise ResultsRefused(f"nothing of {question_id} was read in a phase {phase!r}")
    truths = {str(case.number): case.truth in case.positive for case in known}
    if len(set(truths.values())) < 2:
        raise ResultsRefused(
            f"of the cases of {question_id} whose truth is known none is "
            f"{'negative' if any(truths.values()) else 'positive'}: iMRMC compares scores of "
            "positive and negative cases"
        )
    scores = [
        Score(each.reader, str(each.case.number), each.condition.name, each.score)
        for each in list_readings(known, every)
        if each.condition in conditions and each.score is not None
    ]
    if not scores:
        raise ResultsRefused(
            f"no reader scored a case of {question_id} whose truth is known: who cannot assess a "
            "case has no score of it"
        )
    warning = warn_of_checkpoints(count_checkpoints(known))
    asked_as = f"{question_id} version {question_version}"
    of = f"{protocol.name} {protocol.version}, {asked_as}, {phase}"
    return ImrmcStudy(
        title="; ".join(part for part in (of, warning) if part),
        truths=truths,
        scores=[*scores, *_model_scores(known)],
    )


def find_refusal(
    protocol: JudgedProtocol, question_id: str, question_version: int, phase: str
) -> str | None:
    """Return why there are no scores of a phase; None: there are."""
    try:
        build_imrmc_study(protocol, question_id, question_version, phase)
    except ResultsRefused as refused:
        return str(refused)
    return None


def _model_scores(cases: list[JudgedCase]) -> Iterator[Score]:
    for case in cases:
        if case.model_score is not None:
            yield Score(MODEL, str(case.number), MODEL, case.model_score)
