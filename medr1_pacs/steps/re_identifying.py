"""review -> who a pseudonym stands for: asked with a reason, recorded, and only then shown.

pseudonym, reason -> decide -> event, committed -> vault -> ReIdentified
"""

from __future__ import annotations

from collections.abc import Sequence

from medr1_pacs.db.re_identification import add_try, find_named
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.vault import list_identities
from medr1_pacs.errors import PermanentError
from medr1_pacs.part10 import is_uid
from medr1_pacs.pseudonyms import is_pseudonym
from medr1_pacs.records.re_identification import (
    NamedPatient,
    ReIdentified,
    ReIdentifiedStudy,
    TryOutcome,
)

REASON_MIN, REASON_MAX = 3, 500
"""Characters of a reason."""


class ReasonRefused(PermanentError):
    """Nobody is shown without a reason; the message says what one is."""


class NotReIdentified(PermanentError):
    """Nobody was shown; the message says why, and not what was asked."""

    def __init__(self, outcome: TryOutcome) -> None:
        super().__init__(_SENTENCES[outcome])
        self.outcome = outcome


_SENTENCES = {
    TryOutcome.NOT_FOUND: "this project knows nobody by such a pseudonym",
    TryOutcome.WITHDRAWN: "withdrawn: nothing of this patient or study is shown any more",
    TryOutcome.AMBIGUOUS: (
        "it came under several patients, and nothing says which is right: ask by the pseudonym of "
        "its study"
    ),
}


def clean_reason(text: str) -> str:
    """Return a reason as it is kept.

    Raises
    ------
    ReasonRefused
        It says nothing, too much, or what cannot be read.
    """
    reason = " ".join(text.split())
    if not REASON_MIN <= len(reason) <= REASON_MAX or not reason.isprintable():
        raise ReasonRefused(
            f"say why, in {REASON_MIN} to {REASON_MAX} characters that can be printed"
        )
    return reason


def clean_pseudonym(text: str) -> str | None:
    """Return a pseudonym as it is looked up; None: the text is none."""
    name = text.strip().lower()
    return name if is_pseudonym(name) or is_uid(name) else None


def decide(named: Sequence[NamedPatient]) -> TryOutcome:
    """Decide whether a patient is shown."""
    if len(named) != 1:
        return TryOutcome.AMBIGUOUS if named else TryOutcome.NOT_FOUND
    return TryOutcome.SHOWN if named[0].usable else TryOutcome.WITHDRAWN


def re_identify(
    database: Database, vault: Database, project: str, *, pseudonym: str, reason: str, actor: str
) -> ReIdentified:
    """Say who a pseudonym of a project stands for.

    The event is committed before the vault is read: nobody is shown without a trace, and a trace
    may remain of somebody who was not shown in the end.

    Raises
    ------
    ReasonRefused
        There is no reason; then nothing was looked up.
    NotReIdentified
        The project knows nobody by it, or it was withdrawn.
    """
    reason, name = clean_reason(reason), clean_pseudonym(pseudonym)
    with database.write() as session:
        found = find_named(session, project, name) if name else []
        outcome = decide(found)
        row_id = found[0].row_id if len(found) == 1 else None
        add_try(session, project, outcome, row_id, actor=actor, reason=reason)
    if outcome is not TryOutcome.SHOWN:
        raise NotReIdentified(outcome)
    [named] = found
    with vault.read() as session:
        identities = list_identities(session, named.usable)
    # A study may come under another patient's name as well, from another sender: that it does has
    # to be known, who that is has not.
    return ReIdentified(
        tuple(
            ReIdentifiedStudy(
                uid,
                tuple(each for each in of_study if each.patient_key == named.patient_key),
                any(each.patient_key != named.patient_key for each in of_study),
            )
            for uid in named.usable
            for of_study in [[each for each in identities if each.study_instance_uid == uid]]
        ),
        withdrawn=len(named.studies) - len(named.usable),
    )
