"""What a reader knows in which phase, and what follows it.

blind        case -> locked
sequential   case -> locked -> the model's side -> locked
assisted     case and the model's side -> locked
adjudication case and what its readers said -> locked
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from medr1_pacs.records.review_words import PHASES, Arm, Phase, ProtocolState, ReadKind

SITTING = timedelta(hours=1)
"""How long a reader may look at what they locked of a case that they will meet again: long enough
to amend a slip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSoFar:
    """A read that somebody has opened, and which phases of it are locked."""

    kind: ReadKind
    arm: Arm
    locked: frozenset[Phase]

    @property
    def entered(self) -> tuple[Phase, ...]:
        """The phases of which its reader has seen what they show."""
        return PHASES[self.arm][: len(self.locked) + 1]

    @property
    def shows_more(self) -> bool:
        """Whether its reader was shown more than the case."""
        return self.tells_truth or any(phase is not Phase.BLIND for phase in self.entered)

    @property
    def tells_truth(self) -> bool:
        """Whether its reader was told what is true."""
        return self.kind is ReadKind.PRACTICE and running_phase(self.arm, self.locked) is None


def running_phase(arm: Arm, locked: Collection[Phase]) -> Phase | None:
    """Return the phase of a read that is not locked yet; None: all are."""
    return next((phase for phase in PHASES[arm] if phase not in locked), None)


def shows_model(phase: Phase | None) -> bool:
    """Whether the model's side of a case is shown in a phase: for the others it does not exist."""
    return phase is Phase.ASSISTED


def shows_more(arm: Arm) -> bool:
    """Whether a read of an arm shows more than the case as soon as it is opened."""
    return PHASES[arm][0] is not Phase.BLIND


def shows_readers(phase: Phase | None) -> bool:
    """Whether what other readers said of the case is shown in a phase."""
    return phase is Phase.ADJUDICATION


def adjudicated_phase(arms: Collection[Arm]) -> Phase:
    """Return the phase that readers are compared in, and an adjudicator decides between.

    What they said before they saw the model, where they said anything then: what came after would
    tell the adjudicator of the model too.
    """
    is_blind = any(Phase.BLIND in PHASES[arm] for arm in arms)
    return Phase.BLIND if is_blind else Phase.ASSISTED


def knows_more(phase: Phase, reads: Iterable[ReadSoFar]) -> bool:
    """Whether somebody who changes an answer of a phase has seen more of the case than it shows.

    `reads`: all of theirs of this case, that of the answer included.
    """
    return any(
        read.tells_truth or any(entered not in (phase, Phase.BLIND) for entered in read.entered)
        for read in reads
    )


def is_closed(
    *,
    age: timedelta,
    washout: timedelta,
    is_met_again: bool,
    is_read_again: bool,
    is_hidden_elsewhere: bool,
    shows_more: bool,
) -> bool:
    """Whether a reader may no more look at a read that they have locked.

    Parameters
    ----------
    age
        Since its last lock.
    is_met_again
        Whether readers of its protocol meet cases again: then each is closed after a sitting, as
        it would tell which, if these alone were.
    is_read_again
        Whether they have the same case open again.
    is_hidden_elsewhere
        Whether another protocol that runs hides something of its study from them.
    shows_more
        Whether it shows anything but the case and what they said of it.
    """
    if is_read_again or (is_hidden_elsewhere and shows_more):
        return True
    sitting = min(SITTING, washout) if washout else SITTING
    return (is_met_again or is_hidden_elsewhere) and age > sitting


def is_over(state: ProtocolState) -> bool:
    """Whether nothing is hidden from the people of a protocol any more."""
    return state is not ProtocolState.STARTED


def needs_adjudication(finals: Sequence[str | None]) -> bool:
    """Whether the last choices of a case's readers differ.

    `finals`: of each reader, the text of an option; None: it could not be assessed, which differs
    from every option.
    """
    return len(set(finals)) > 1


def panel_choice(finals: Sequence[str | None], adjudicated: str | None) -> str | None:
    """Return what a panel of readers says: the adjudicator's choice, else what all of them say.

    None: they say nothing that could be true.
    """
    if adjudicated is not None:
        return adjudicated
    return finals[0] if finals and len(set(finals)) == 1 else None
