"""How far readers agree with each other, with the model, and with themselves.

Agreement is over cases that both assessed: who cannot assess a case names no category. Adjudicators
are compared with what they decided about alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from medr1_pacs.records.judged import JudgedCase
from medr1_pacs.records.review_words import Phase, ReadKind
from medr1_pacs.reviews.figures import (
    ALL_READERS,
    MODEL,
    TRUTH,
    Condition,
    Figure,
    Measure,
    Subject,
)
from medr1_pacs.reviews.readings import Reading, list_adjudicated, readers_of, under
from medr1_pacs.statistics.agreement import (
    KappaWeights,
    Scale,
    cohens_kappa,
    estimate_percent_agreement,
    fleiss_kappa,
    krippendorffs_alpha,
)
from medr1_pacs.statistics.ratings import Ratings, confusion_matrix
from medr1_pacs.statistics.resampling import Statistic, estimate_by_bootstrap

_ONE_CATEGORY = "undefined: nobody chose a second option, or no case was judged twice"
_UNEQUAL = f"{_ONE_CATEGORY}, or cases have different numbers of readings"
_PAIRS = "pairs of readings of the same case"


@dataclass(frozen=True, slots=True)
class Matrix:
    """How often what one says and what another says fall together."""

    condition: str
    who: str
    """In the columns: a reader or the model."""
    against: str
    """In the rows: the truth or the model."""
    counts: Sequence[Sequence[int]]
    """(options, options): a row is an option of `against`, a column one of `who`."""
    not_assessed: int
    """Cases beside these in which the one in the columns gave no option."""


def estimate_agreement(
    question: str,
    is_grade: bool,
    readings: Sequence[Reading],
    conditions: Sequence[Condition],
) -> Iterator[Figure]:
    """Yield, condition by condition, the figures of all readers, of each two, and of each with the
    model."""
    for condition in conditions:
        if condition.phase is Phase.ADJUDICATION:
            continue
        here = under(readings, condition)
        readers = readers_of(here)
        cases, ratings = _tabulate(here, readers)
        patients = [case.patient for case in cases]
        if len(readers) > 1:
            subject = Subject(question, condition.name, ALL_READERS, "each other")
            yield from _of_all(subject, ratings, patients, is_grade)
            for first, second in combinations(range(len(readers)), 2):
                pairs = [[row[first], row[second]] for row in ratings]
                subject = Subject(question, condition.name, readers[first], readers[second])
                yield from _of_pair(subject, pairs, patients, is_grade)
        if any(case.has_model for case in cases):
            models = [case.index(case.model) for case in cases]
            for place, reader in enumerate(readers):
                pairs = [[row[place], model] for row, model in zip(ratings, models, strict=True)]
                subject = Subject(question, condition.name, reader, MODEL)
                yield from _of_pair(subject, pairs, patients, is_grade)


def estimate_repeats(
    question: str,
    is_grade: bool,
    cases: Sequence[JudgedCase],
    conditions: Sequence[Condition],
) -> Iterator[Figure]:
    """Yield how far each reader agrees with themselves on the cases that they read once more."""
    for condition in conditions:
        pairs: dict[str, list[tuple[list[int | None], str]]] = {}
        for case in cases:
            for repeat in case.reads:
                if repeat.kind is not ReadKind.REPEAT or repeat.arm is not condition.arm:
                    continue
                if not repeat.is_done:
                    continue
                before = next(
                    (
                        read
                        for read in case.reads
                        if read.kind is ReadKind.FIRST
                        and read.account_id == repeat.account_id
                        and read.arm is repeat.arm
                        and read.is_done
                    ),
                    None,
                )
                finals = [read and read.final(condition.phase) for read in (before, repeat)]
                indices = [
                    case.index(final.judgement.choice_text) if final else None for final in finals
                ]
                pairs.setdefault(repeat.reader, []).append((indices, case.patient))
        for reader, own in sorted(pairs.items()):
            subject = Subject(question, condition.name, reader, f"{reader}, repeated")
            yield from _of_pair(
                subject, [pair for pair, _ in own], [patient for _, patient in own], is_grade
            )


def estimate_upholding(
    question: str,
    cases: Sequence[JudgedCase],
    readings: Sequence[Reading],
    phase: Phase,
) -> Iterator[Figure]:
    """Yield how often each adjudicator decides as each reader had said, over what both assessed.

    `phase`: the one that adjudications are about.
    """
    decided = [each for each in readings if each.condition.phase is Phase.ADJUDICATION]
    about = {case.case_id: list_adjudicated(case, phase) for case in cases}
    for adjudicator in readers_of(decided):
        own = [each for each in decided if each.reader == adjudicator]
        readers = {reader for each in own for reader in about[each.case.case_id]}
        for reader in sorted(readers, key=lambda label: (len(label), label)):
            judged = [
                (each, said)
                for each in own
                if (said := about[each.case.case_id].get(reader)) is not None
                and None not in (each.choice, said.judgement.choice_text)
            ]
            yield Subject(question, Phase.ADJUDICATION.value, adjudicator, reader).share(
                Measure.PERCENT_AGREEMENT,
                [
                    (each.choice == said.judgement.choice_text, each.case.patient)
                    for each, said in judged
                ],
                unit="adjudicated cases that both assessed",
                says="share decided as the reader had said",
                empty="no case was assessed by both",
            )


def count_confusions(
    cases: Sequence[JudgedCase], readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[Matrix]:
    """Yield the confusion matrices: the model and each reader by the truth, and by the model."""
    if not cases:
        return
    size = len(cases[0].options)
    answered = [case for case in cases if case.has_model]
    if answered:
        pairs = [(case.index(case.truth), case.index(case.model)) for case in answered]
        yield _matrix("", MODEL, TRUTH, pairs, size)
    for condition in conditions:
        here = under(readings, condition)
        for reader in readers_of(here):
            own = [each for each in here if each.reader == reader]
            chosen = [each.case.index(each.choice) for each in own]
            truths = [each.case.index(each.case.truth) for each in own]
            yield _matrix(
                condition.name, reader, TRUTH, list(zip(truths, chosen, strict=True)), size
            )
            if any(each.case.has_model for each in own):
                models = [each.case.index(each.case.model) for each in own]
                yield _matrix(
                    condition.name, reader, MODEL, list(zip(models, chosen, strict=True)), size
                )


def list_cells(question: str, options: Sequence[str], matrix: Matrix) -> Iterator[Figure]:
    """Yield the cells of a confusion matrix as figures."""
    subject = Subject(question, matrix.condition, matrix.who, matrix.against)
    total = sum(map(sum, matrix.counts))
    for row, counts in zip(options, matrix.counts, strict=True):
        for column, count in zip(options, counts, strict=True):
            yield subject.plain(
                Measure.CONFUSION,
                float(count),
                n=total,
                unit="cases in which both give an option",
                method="count",
                detail=f"{matrix.against}: {row}; {matrix.who}: {column}",
            )


def _matrix(
    condition: str,
    who: str,
    against: str,
    pairs: Sequence[tuple[int | None, int | None]],
    size: int,
) -> Matrix:
    return Matrix(
        condition=condition,
        who=who,
        against=against,
        counts=confusion_matrix(pairs, size).tolist(),
        not_assessed=sum(given is not None and chosen is None for given, chosen in pairs),
    )


def _tabulate(
    readings: Sequence[Reading], readers: Sequence[str]
) -> tuple[list[JudgedCase], list[list[int | None]]]:
    """Return the cases, and what each reader chose of each."""
    places = {reader: place for place, reader in enumerate(readers)}
    cases: dict[int, JudgedCase] = {}
    rows: dict[int, list[int | None]] = {}
    for each in readings:
        cases[each.case.case_id] = each.case
        row = rows.setdefault(each.case.case_id, [None] * len(readers))
        row[places[each.reader]] = each.case.index(each.choice)
    return list(cases.values()), list(rows.values())


def _of_all(
    subject: Subject, ratings: Ratings, patients: Sequence[str], is_grade: bool
) -> Iterator[Figure]:
    yield _percent(subject, ratings, patients)
    rated = sum(sum(rating is not None for rating in row) > 1 for row in ratings)

    def drawn(measure: Measure, statistic: Statistic, says: str, empty: str) -> Figure:
        estimate = estimate_by_bootstrap(statistic, patients)
        return subject.drawn(
            measure,
            estimate,
            n=rated,
            unit="cases with two readings or more",
            says=says,
            empty=empty,
        )

    yield drawn(Measure.FLEISS_KAPPA, fleiss_kappa(ratings), "Fleiss (1971)", _UNEQUAL)
    yield drawn(
        Measure.ALPHA, krippendorffs_alpha(ratings), "Krippendorff (2011), nominal", _ONE_CATEGORY
    )
    if is_grade:
        yield drawn(
            Measure.ORDINAL_ALPHA,
            krippendorffs_alpha(ratings, Scale.ORDINAL),
            "Krippendorff (2011), ordinal",
            _ONE_CATEGORY,
        )


def _of_pair(
    subject: Subject, pairs: Ratings, patients: Sequence[str], is_grade: bool
) -> Iterator[Figure]:
    both = [(pair, whose) for pair, whose in zip(pairs, patients, strict=True) if None not in pair]
    ratings, whose = [pair for pair, _ in both], [patient for _, patient in both]
    yield _percent(subject, ratings, whose)
    wanted = [(Measure.COHENS_KAPPA, KappaWeights.EQUAL, "Cohen (1960)")]
    if is_grade:
        wanted.append((Measure.WEIGHTED_KAPPA, KappaWeights.QUADRATIC, "Cohen (1968), quadratic"))
    for measure, weights, says in wanted:
        estimate = estimate_by_bootstrap(cohens_kappa(ratings, weights), whose)
        yield subject.drawn(
            measure, estimate, n=len(both), unit="cases that both assessed", says=says,
            empty=_ONE_CATEGORY,
        )  # fmt: skip


def _percent(subject: Subject, ratings: Ratings, patients: Sequence[str]) -> Figure:
    return subject.estimated(
        Measure.PERCENT_AGREEMENT,
        estimate_percent_agreement(ratings, patients),
        unit=_PAIRS,
        says="share of pairs that are equal",
        empty="no case was judged twice",
    )
