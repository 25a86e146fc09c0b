"""What counts of all that was said: a reading is one reader, case and condition.

A read counts once every phase of it is locked. Half a read counts nowhere, whether it is still open
or was dropped: else the phases of one arm would be of different cases.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from medr1_pacs.records.judged import JudgedCase, JudgedReview
from medr1_pacs.records.review_words import PHASES, Arm, CaseKind, Phase, ReadKind
from medr1_pacs.reviews.figures import Condition

EVALUATED = (ReadKind.FIRST, ReadKind.SECOND, ReadKind.ADJUDICATION)
"""A repeat is compared with what its reader said before, and nothing else."""
_ARMS, _PHASES = tuple(Arm), tuple(Phase)


@dataclass(frozen=True, slots=True)
class Reading:
    """What counts of what one reader said of a case in a condition."""

    case: JudgedCase
    reader: str
    read_kind: ReadKind
    condition: Condition
    choice: str | None
    """None: it cannot be assessed."""
    confidence: int | None
    active_ms: int
    """Of the review that was locked first: an amendment takes no time that is measured."""
    wall_ms: int

    @property
    def is_right(self) -> bool | None:
        """Whether it is the truth: no where it cannot be assessed, None where none is known."""
        return None if self.case.truth is None else self.choice == self.case.truth

    @property
    def score(self) -> float | None:
        """How sure the reader is that the case is positive, -100 to 100; None: they do not say."""
        is_positive = self.case.calls_positive(self.choice)
        if is_positive is None or self.confidence is None:
            return None
        return float(self.confidence if is_positive else -self.confidence)


def list_adjudicated(case: JudgedCase, phase: Phase) -> dict[str, JudgedReview]:
    """Return reader -> what an adjudication of a case is about: what its adjudicator was shown.

    Where that was not noted, or nobody has opened it: what counts of a phase in the first of a
    reader's reads that has it and is done.
    """
    for read in case.reads:
        if read.shown_reviews is not None:
            return {
                each.reader: review
                for each in case.reads
                for review in each.reviews
                if review.review_id in read.shown_reviews
            }
    found: dict[str, JudgedReview] = {}
    for kind in (ReadKind.FIRST, ReadKind.SECOND):
        for read in case.reads:
            if read.kind is kind and read.is_done and (final := read.final(phase)) is not None:
                found.setdefault(read.reader, final)
    return found


def list_conditions(cases: Sequence[JudgedCase], arms: Collection[Arm]) -> list[Condition]:
    """Return the conditions in which cases were read to the end, in the order of the phases.

    `arms`: of the protocol. Where it has a phase in several, every condition of it has the name of
    its arm, also while one of them alone was read.
    """
    found = {
        (read.arm, phase)
        for case in cases
        for read in case.reads
        if read.is_done
        for phase in PHASES[read.arm]
    }
    phases = [phase for arm in arms for phase in PHASES[arm]]
    ordered = sorted(found, key=lambda each: (_PHASES.index(each[1]), _ARMS.index(each[0])))
    return [
        Condition(arm, phase, phase.value if phases.count(phase) < 2 else f"{arm.value}: {phase}")
        for arm, phase in ordered
    ]


def list_readings(
    cases: Sequence[JudgedCase],
    conditions: Sequence[Condition],
    *,
    case_kind: CaseKind = CaseKind.CASE,
    read_kinds: Collection[ReadKind] = EVALUATED,
) -> list[Reading]:
    """Return what counts of cases of a kind that were not withdrawn: of reads that are done."""
    named = {(condition.arm, condition.phase): condition for condition in conditions}
    readings = []
    for case in cases:
        if case.kind is not case_kind or case.is_withdrawn:
            continue
        for read in case.reads:
            if read.kind not in read_kinds or not read.is_done:
                continue
            for phase in PHASES[read.arm]:
                final, first = read.final(phase), read.first(phase)
                if final is None or first is None:
                    continue
                readings.append(
                    Reading(
                        case=case,
                        reader=read.reader,
                        read_kind=read.kind,
                        condition=named[read.arm, phase],
                        choice=final.judgement.choice_text,
                        confidence=final.judgement.confidence,
                        active_ms=first.active_ms,
                        wall_ms=first.wall_ms,
                    )
                )
    return readings


def readers_of(readings: Sequence[Reading]) -> list[str]:
    """Return the labels of those who read, A before B and Z before AA."""
    return sorted({each.reader for each in readings}, key=lambda label: (len(label), label))


def under(readings: Sequence[Reading], condition: Condition) -> list[Reading]:
    """Return the readings in a condition."""
    return [each for each in readings if each.condition == condition]
