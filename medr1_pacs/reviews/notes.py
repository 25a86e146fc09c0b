"""What is said beside every figure of a condition, so that none hides what it is made of.

In a crossover a condition has readings of both periods: of cases that their reader meets for the
first time, and of those that they have seen in the other arm. An adjudication is of some cases
alone, and about one phase. The model may be several checkpoints, or made up for demonstration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from medr1_pacs.records.review_words import Arm, Phase, ReadKind
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, Figure
from medr1_pacs.reviews.phases import adjudicated_phase
from medr1_pacs.reviews.readings import Reading


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said of figures, by their condition and whose they are."""

    model: str = ""
    """What must be said of the checkpoints that are the model; empty: nothing."""

    adjudicated: str = ""
    """Which cases adjudicators decide, and about what; empty: nothing was adjudicated."""
    readings: Mapping[tuple[str, str], Counter[ReadKind]] = field(default_factory=dict)
    """(condition, reader) -> number of readings of each kind; empty: no crossover."""

    def note(self, figures: Iterable[Figure]) -> Iterator[Figure]:
        """Yield figures, each with what is said of it behind how it is made."""
        for figure in figures:
            said = [figure.method, *self._of(figure)]
            yield replace(figure, method="; ".join(part for part in said if part))

    def _of(self, figure: Figure) -> Iterator[str]:
        # Names of conditions and of comparisons end with the phase.
        is_assisted = figure.condition.endswith(Phase.ASSISTED.value)
        if self.model and (is_assisted or MODEL in (figure.who, figure.against)):
            yield self.model
        if figure.condition == Phase.ADJUDICATION.value:
            yield self.adjudicated
            return
        counted: Counter[ReadKind] = Counter()
        for (condition, reader), kinds in self.readings.items():
            if condition == figure.condition and (
                figure.who == ALL_READERS or reader in (figure.who, figure.against)
            ):
                counted += kinds
        if counted:
            yield (
                f"{counted[ReadKind.SECOND]:,} of {counted.total():,} readings were in the second "
                "period of the crossover"
            )


def make_notes(arms: Sequence[Arm], readings: Sequence[Reading], model: str = "") -> Notes:
    """Return what is said of the figures of a question.

    `arms`: of the protocol. `model`: what must be said of the checkpoints.
    """
    has_decided = any(each.condition.phase is Phase.ADJUDICATION for each in readings)
    counted: dict[tuple[str, str], Counter[ReadKind]] = {}
    if len(arms) > 1:
        for each in readings:
            counted.setdefault((each.condition.name, each.reader), Counter())[each.read_kind] += 1
    return Notes(model, say_adjudicated(arms) if has_decided else "", counted)


def say_adjudicated(arms: Sequence[Arm]) -> str:
    """Return which cases adjudicators decide, and about what."""
    phase = adjudicated_phase(arms)
    how = "blind" if phase is Phase.BLIND else "assisted by the model"
    which = ", each in their first such read" if len(arms) > 1 else ""
    return f"of the cases alone on which what readers said {how} differs{which}"
