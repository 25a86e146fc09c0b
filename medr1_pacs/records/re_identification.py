"""Who a pseudonym stands for; what names a patient is in no text of these records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from medr1_pacs.records.received import PatientIdentity


class TryOutcome(StrEnum):
    """What came of asking who a pseudonym stands for."""

    SHOWN = "shown"  #: the patient was shown
    NOT_FOUND = "not_found"  #: the project knows nobody by it
    WITHDRAWN = "withdrawn"  #: every study that it stands for was withdrawn
    AMBIGUOUS = "ambiguous"  #: it stands for several patients, and nothing says which is right


@dataclass(frozen=True, slots=True)
class NamedStudy:
    """A study that a pseudonym of a project stands for, or is of."""

    study_instance_uid: str
    is_withdrawn: bool
    """From every project, or from this one."""


@dataclass(frozen=True, slots=True)
class NamedPatient:
    """Whom a pseudonym of a project stands for, as the research database knows it."""

    row_id: int
    patient_key: str
    studies: tuple[NamedStudy, ...]

    @property
    def usable(self) -> tuple[str, ...]:
        """The Study Instance UIDs of the studies that were not withdrawn."""
        return tuple(each.study_instance_uid for each in self.studies if not each.is_withdrawn)


@dataclass(frozen=True, slots=True)
class ReIdentifiedStudy:
    """A study, and who its headers say that the patient is: more than once where they differ."""

    study_instance_uid: str
    identities: tuple[PatientIdentity, ...]
    """The first received first; none where the vault has lost them."""
    names_others: bool
    """Headers of this study name another patient, too: they were sent again, corrected or not."""


@dataclass(frozen=True, slots=True)
class ReIdentified:
    """Who a pseudonym stands for."""

    studies: tuple[ReIdentifiedStudy, ...]
    withdrawn: int
    """How many of its studies were withdrawn, of which nothing is shown."""


@dataclass(frozen=True, slots=True)
class TryListing:
    """That somebody asked who a pseudonym stands for; not which."""

    occurred_at: datetime
    actor: str
    outcome: TryOutcome
    reason: str
