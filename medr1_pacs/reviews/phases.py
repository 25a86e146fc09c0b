"""What a reader knows in which phase, and what follows it.

blind        case -> locked
sequential   case -> locked -> the model's side -> locked
assisted     case and the model's side -> locked
adjudication case and what its readers said -> locked
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from medr1_pacs.records.review_words import PHASES, Arm, Phase, ProtocolState


def running_phase(arm: Arm, locked: Collection[Phase]) -> Phase | None:
    """Return the phase of a read that is not locked yet; None: all are."""
    return next((phase for phase in PHASES[arm] if phase not in locked), None)


def shows_model(phase: Phase | None) -> bool:
    """Whether the model's side of a case is shown in a phase: for the others it does not exist."""
    return phase is Phase.ASSISTED


def shows_readers(phase: Phase | None) -> bool:
    """Whether what other readers said of the case is shown in a phase."""
    return phase is Phase.ADJUDICATION


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
