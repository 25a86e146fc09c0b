"""What a reader may lock of a case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medr1_pacs.errors import ReviewRefused
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.reviews import Judgement
from medr1_pacs.reviews.phases import shows_model

GRADES = range(1, 6)
TEXT_MAX = 4_000
"""Characters of a comment or a reason."""


def check_judgement(
    judgement: Judgement, options: Sequence[str], phase: Phase, *, has_reasoning: bool
) -> None:
    """Raise `ReviewRefused`, with all that is missing, unless a judgement may be locked.

    `has_reasoning`: the model's side of the case, which the phase shows, says why.
    """
    if problems := list(_problems(judgement, options, phase, has_reasoning)):
        raise ReviewRefused("; ".join(problems))


def _problems(
    judgement: Judgement, options: Sequence[str], phase: Phase, has_reasoning: bool
) -> Iterator[str]:
    if judgement.cannot_assess is not None:
        if judgement.choice_text is not None:
            yield "a case that cannot be assessed has no choice"
        if not judgement.cannot_assess.strip():
            yield "say why it cannot be assessed"
    elif judgement.choice_text is None:
        yield "choose an option, or say why the case cannot be assessed"
    elif judgement.choice_text not in options:
        yield "this is no option of the question"
    if judgement.choice_text is not None and judgement.confidence is None:
        yield "say how confident you are, 0 to 100"
    if judgement.confidence is not None and not 0 <= judgement.confidence <= 100:
        yield "a confidence is 0 to 100"
    if any(
        text is not None and len(text) > TEXT_MAX
        for text in (judgement.comment, judgement.cannot_assess)
    ):
        yield f"a text has at most {TEXT_MAX:,} characters"
    grade, error = judgement.reasoning_grade, judgement.reasoning_error
    if not shows_model(phase):
        if grade is not None or error is not None:
            yield "there is no reasoning to grade in this phase"
    elif has_reasoning and grade is None:
        yield "grade the model's reasoning, 1 to 5"
    if grade is not None and grade not in GRADES:
        yield "a grade of the reasoning is 1 to 5"
