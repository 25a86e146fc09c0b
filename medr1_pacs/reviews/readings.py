"""What counts of all that was said: a reading is one reader, case and condition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from medr1_pacs.records.judged import JudgedCase
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


def list_conditions(cases: Sequence[JudgedCase]) -> list[Condition]:
    """Return the conditions in which cases were read, in the order of the phases."""
    found = {
        (read.arm, phase)
        for case in cases
        for read in case.reads
        for phase in PHASES[read.arm]
        if read.first(phase) is not None
    }
    phases = [phase for _, phase in found]
    ordered = sorted(found, key=lambda each: (_PHASES.index(each[1]), _ARMS.index(each[0])))
    return [
        Condition(arm, phase, phase.value if phases.count(phase) == 1 else f"{arm.value}: {phase}")
        for arm, phase in ordered
    ]


def list_readings(
    cases: Sequence[JudgedCase],
    conditions: Sequence[Condition],
    *,
    case_kind: CaseKind = CaseKind.CASE,
    read_kinds: Collection[ReadKind] = EVALUATED,
) -> list[Reading]:
    """Return what counts of cases of a kind that were not withdrawn."""
    named = {(condition.arm, condition.phase): condition for condition in conditions}
    readings = []
    for case in cases:
        if case.kind is not case_kind or case.is_withdrawn:
            continue
        for read in case.reads:
            if read.kind not in read_kinds:
                continue
            for phase in PHASES[read.arm]:
                final, first = read.final(phase), read.first(phase)
                if final is None or first is None:
                    continue
                readings.append(
                    Reading(
                        case=case,
                        reader=read.reader,
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
