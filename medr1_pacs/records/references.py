"""A reference standard that somebody brings: its lines, what each is about, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum

from medr1_pacs.records.words import Certainty, JsonObject, TruthSource, TruthUnit


class Fault(StrEnum):
    """Why a line of a reference standard says nothing that can be kept."""

    MALFORMED = "malformed"  #: not as many fields as the header, a field too long, quotes, a NUL
    NO_KEY = "no_key"  #: it names no patient, study or picture
    BAD_VALUE = "bad_value"  #: a date, side, unit, certainty, UID or pseudonym that is none
    UNKNOWN_QUESTION = "unknown_question"  #: no question has this id
    NOT_AN_OPTION = "not_an_option"  #: no wording of the question offers the truth
    UNMATCHED = "unmatched"  #: the project uses nothing of this key
    SEVERAL_KEYS_DISAGREE = "several_keys_disagree"  #: its keys are about different things
    AMBIGUOUS = "ambiguous"  #: its keys are about several things, and nobody says about which
    DUPLICATE = "duplicate"  #: an earlier line says the same, and counts
    CONTRADICTION = "contradiction"  #: another line says something else of the same thing


@dataclass(frozen=True, slots=True)
class ReferenceKey:
    """By what a line names a patient, a study or a picture; empty: by something else."""

    accession_number: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    """Empty: any."""
    study_date: str = ""
    """YYYYMMDD; with `patient_id`."""
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    patient_pseudonym: str = ""
    study_pseudonym: str = ""
    picture_pseudonym: str = ""
    side: str = ""
    """`L` or `R`."""

    @property
    def unit(self) -> TruthUnit | None:
        """What it names; None: nothing."""
        if self.sop_instance_uid or self.picture_pseudonym:
            return TruthUnit.PICTURE
        is_study = self.accession_number or self.study_instance_uid or self.study_pseudonym
        if is_study or (self.patient_id and self.study_date):
            return TruthUnit.SIDE if self.side else TruthUnit.STUDY
        return TruthUnit.PATIENT if self.patient_id or self.patient_pseudonym else None

    def __repr__(self) -> str:  # a traceback or a log line must not name a patient
        return f"ReferenceKey(unit={self.unit!r})"


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """One line of a file, as it was read."""

    number: int
    """Of the file's line, from 1; the header is the first."""
    key: ReferenceKey
    question_id: str
    truth: str
    certainty: Certainty | None = None
    stated_by: str = ""
    stated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a truth is about, by row ids: the fields that its unit has."""

    unit: TruthUnit
    patient_id: int | None = None
    study_id: int | None = None
    instance_id: int | None = None
    """The first that came under its SOP Instance UID in the study, held or not, so that it stays
    the same one: the truth is of all of them."""
    side: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceReport:
    """What became of a file's lines, or would."""

    lines: int
    """All that state a truth, faulty ones too."""
    new: int
    """Of what nothing was known by this source."""
    changed: int
    """That supersede what was known."""
    unchanged: int
    """That say what is known already."""
    faults: Mapping[Fault, tuple[int, ...]] = field(default_factory=dict)
    """Why -> the numbers of the lines, in order; each faulty line stands once."""

    @property
    def faulty(self) -> int:
        """How many lines have a fault."""
        return sum(map(len, self.faults.values()))

    @property
    def statements(self) -> int:
        """How many lines say something new."""
        return self.new + self.changed

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields."""
        return asdict(self) | {
            "faults": {fault.value: list(numbers) for fault, numbers in self.faults.items()}
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportListing:
    """A file of truths that somebody brought."""

    import_id: int
    source: TruthSource
    lines: int
    statements: int
    imported_by: str
    imported_at: datetime

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields; the time as ISO 8601."""
        return asdict(self) | {"imported_at": self.imported_at.isoformat()}
