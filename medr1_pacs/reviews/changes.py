"""What readers changed once they saw the model: blind and assisted readings of the same case.

Both are of the same reader: of one read where the model's side follows the lock, of two where
readers cross over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from medr1_pacs.records.review_words import Phase, ReadKind
from medr1_pacs.reviews.figures import (
    ALL_READERS,
    INTERVAL,
    MODEL,
    Condition,
    Figure,
    Measure,
    Subject,
)
from medr1_pacs.reviews.readings import Reading, readers_of, under
from medr1_pacs.statistics.calls import accuracy
from medr1_pacs.statistics.paired import PairedCounts, estimate_paired_difference, mcnemar_exact
from medr1_pacs.statistics.resampling import difference, estimate_by_bootstrap


class Change(StrEnum):
    """How an answer changed."""

    SAME = "same"  #: it did not
    TO_RIGHT = "to_right"  #: from what is not the truth to the truth
    TO_WRONG = "to_wrong"  #: from the truth to what is not
    OTHER_WRONG = "other_wrong"  #: from one that is not the truth to another
    CHANGED = "changed"  #: and no truth is known


@dataclass(frozen=True, slots=True)
class Pair:
    """Two readings of a case by the same reader."""

    before: Reading
    after: Reading

    @property
    def change(self) -> Change:
        return classify(self.before.choice, self.after.choice, self.before.case.truth)


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """How many answers of a reader changed in which way."""

    condition: str
    who: str
    pairs: int
    counts: dict[Change, int]


def classify(before: str | None, after: str | None, truth: str | None) -> Change:
    """Return how an answer changed; None is a case that cannot be assessed."""
    if before == after:
        return Change.SAME
    if truth is None:
        return Change.CHANGED
    if after == truth:
        return Change.TO_RIGHT
    return Change.TO_WRONG if before == truth else Change.OTHER_WRONG


def list_comparisons(conditions: Sequence[Condition]) -> list[tuple[Condition, Condition]]:
    """Return the conditions before and after seeing the model that can be compared."""
    return [
        (before, after)
        for before in conditions
        for after in conditions
        if before.phase is Phase.BLIND and after.phase is Phase.ASSISTED
    ]


def pair_up(readings: Sequence[Reading], before: Condition, after: Condition) -> list[Pair]:
    """Return what the same reader said of the same case in both conditions."""
    first = {(each.reader, each.case.case_id): each for each in under(readings, before)}
    return [
        Pair(first[key], each)
        for each in under(readings, after)
        if (key := (each.reader, each.case.case_id)) in first
    ]


def say_order(pairs: Sequence[Pair]) -> str:
    """Return in which periods of a crossover pairs were read; empty where there is none."""
    crossed = [pair for pair in pairs if pair.before.read_kind is not pair.after.read_kind]
    second = sum(pair.before.read_kind is ReadKind.SECOND for pair in pairs)
    if crossed:
        return (
            f"two reads of each case, {len(crossed) - second:,} blind first and {second:,} "
            "assisted first"
        )
    if second:
        return f"{second:,} of {len(pairs):,} pairs were in the second period of the crossover"
    return ""


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def count_changes(
    readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[ChangeCounts]:
    """Yield the counts of each reader, then of all, comparison by comparison."""
    for name, who, pairs in _groups(readings, conditions):
        counted = Counter(pair.change for pair in pairs)
        yield ChangeCounts(name, who, len(pairs), {kind: counted[kind] for kind in Change})


def estimate_changes(
    question: str, readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[Figure]:
    """Yield what seeing the model did to each reader, then to all."""
    for name, who, pairs in _groups(readings, conditions):
        subject = Subject(question, name, who)
        counted = Counter(pair.change for pair in pairs)
        for kind in Change:
            yield subject.plain(
                Measure.CHANGED,
                float(counted[kind]),
                n=len(pairs),
                unit="pairs of readings of the same reader and case",
                method=_join("count", say_order(pairs)),
                detail=kind.value,
            )
        yield from _differences(subject, [p for p in pairs if p.before.is_right is not None])
        yield from _followings(Subject(question, name, who, MODEL), pairs)


def _groups(
    readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[tuple[str, str, list[Pair]]]:
    for before, after in list_comparisons(conditions):
        pairs = pair_up(readings, before, after)
        name = f"{before.name} to {after.name}"
        readers = readers_of([pair.after for pair in pairs])
        for reader in readers:
            yield name, reader, [pair for pair in pairs if pair.after.reader == reader]
        if len(readers) > 1:
            yield name, ALL_READERS, pairs


def _differences(subject: Subject, pairs: Sequence[Pair]) -> Iterator[Figure]:
    rights = Counter((pair.after.is_right, pair.before.is_right) for pair in pairs)
    counts = PairedCounts(
        rights[True, True], rights[True, False], rights[False, True], rights[False, False]
    )
    patients = [pair.after.case.patient for pair in pairs]
    unit, n = "pairs of readings with a known truth", len(pairs)
    empty = "no case with a known truth was read in both conditions"
    if len(set(patients)) == n:
        estimate = estimate_paired_difference(counts)
        yield Figure(
            question=subject.question,
            measure=Measure.ACCURACY_DIFFERENCE,
            condition=subject.condition,
            who=subject.who,
            against=subject.against,
            value=estimate.difference if estimate else None,
            low=estimate.low if estimate else None,
            high=estimate.high if estimate else None,
            spread=INTERVAL if estimate else "",
            n=n,
            unit=unit,
            patients=n,
            method=_join(
                "assisted less blind",
                say_order(pairs),
                "Newcombe (1998), method 10: one pair a patient",
            ),
            reason="" if estimate else empty,
        )
    else:
        drawn = estimate_by_bootstrap(
            difference(
                accuracy([pair.after.is_right for pair in pairs]),
                accuracy([pair.before.is_right for pair in pairs]),
            ),
            patients,
        )
        yield subject.drawn(
            Measure.ACCURACY_DIFFERENCE,
            drawn,
            n=n,
            unit=unit,
            says=_join("assisted less blind", say_order(pairs)),
            empty=empty,
        )
    yield subject.plain(
        Measure.MCNEMAR,
        mcnemar_exact(counts),
        n=n,
        unit=unit,
        method=_join(
            f"exact, two-sided; {counts.only_first} right when assisted alone, "
            f"{counts.only_second} when blind alone",
            say_order(pairs),
            "it takes pairs for independent, which those of one patient are not: the interval of "
            "the difference does not"
            if len(set(patients)) < n
            else "",
        ),
        reason="" if n else empty,
    )


def _followings(subject: Subject, pairs: Sequence[Pair]) -> Iterator[Figure]:
    """Yield how often readers who differed from the model in what is right took its answer."""
    known = [
        pair
        for pair in pairs
        if pair.before.case.model is not None and pair.before.is_right is not None
    ]
    for measure, model_is_right, unit in (
        (Measure.FOLLOWED_WRONG, False, "pairs with a right blind answer and a wrong model"),
        (Measure.FOLLOWED_RIGHT, True, "pairs with a wrong blind answer and a right model"),
    ):
        own = [
            pair
            for pair in known
            if (pair.after.case.model == pair.after.case.truth) is model_is_right
            and pair.before.is_right is not model_is_right
        ]
        yield subject.share(
            measure,
            [(pair.after.choice == pair.after.case.model, pair.after.case.patient) for pair in own],
            unit=unit,
            says=_join("share whose assisted answer is the model's", say_order(own)),
            empty="there is no such pair",
        )
