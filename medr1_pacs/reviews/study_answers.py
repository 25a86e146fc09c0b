"""Answers about pictures -> one answer about the study, by the question's `aggregate`.

Truths are put together by the same rule, so that model, readers and truth are about the same thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from medr1_pacs.audit.export_form import CERTAINTIES
from medr1_pacs.questions.schema import Aggregate
from medr1_pacs.records.words import Certainty, TruthSource


def put_together(
    aggregate: Aggregate,
    options: Sequence[str],
    positive: Sequence[str],
    choices: Sequence[str | None],
) -> str | None:
    """Return the answer about a study; None where no picture has one.

    Parameters
    ----------
    options
        In the question's own order, in which grades ascend.
    choices
        Of each picture, the text of an option; None: no choice was found.

    Where votes are equal the option that stands first counts, so that the same answers always give
    the same one.
    """
    given = Counter(choice for choice in choices if choice in options)
    if not given:
        return None
    if aggregate is Aggregate.WORST_GRADE:
        return max(given, key=options.index)
    if aggregate is Aggregate.ANY_POSITIVE:
        found = [option for option in options if option in positive and option in given]
        if found:
            return found[0]
    return max(options, key=lambda option: (given[option], -options.index(option)))


def put_truths_together(
    aggregate: Aggregate,
    options: Sequence[str],
    positive: Sequence[str],
    truths: Sequence[str | None],
) -> str | None:
    """Return the truth about a study; None where the truth of a picture is missing that could
    change it."""
    together = put_together(aggregate, options, positive, truths)
    if None not in truths:
        return together
    is_certain = (aggregate is Aggregate.ANY_POSITIVE and together in positive[:1]) or (
        aggregate is Aggregate.WORST_GRADE and together == options[-1]
    )
    return together if is_certain else None


def least_certain_source(
    stated: Collection[tuple[TruthSource, Certainty | None]],
) -> TruthSource | None:
    """Return whose a truth is that was put together from several: it is as certain as the least
    certain of them.

    `stated`: of each known truth its source, and how certain it is. In the order by which one of
    several truths of a picture counts, not said last; of equally certain ones the source that
    stands last in `TruthSource`. None: nothing is stated.
    """
    sources, places = list(TruthSource), [*CERTAINTIES, None]
    last = max(
        stated, key=lambda each: (places.index(each[1]), sources.index(each[0])), default=None
    )
    return None if last is None else last[0]


def score_positive(
    options: Sequence[str], positive: Sequence[str], scores: Sequence[dict[str, float]]
) -> float | None:
    """Return how likely a positive option is, 0 to 1: of the most suspicious picture.

    `scores`: of each picture, option -> 0 to 1. None where a picture has none, or the question has
    no positive option.
    """
    if not positive or not scores or not all(scores):
        return None
    return max(sum(each.get(option, 0.0) for option in positive) for each in scores)
