"""The closed sets of words that rows, pages and files use. Members explain themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

JsonObject = dict[str, Any]


class Modality(StrEnum):
    """The eight modalities that Med-R1 has a checkpoint for, as users meet them everywhere."""

    CT = "CT"
    MRI = "MRI"
    XRAY = "X-Ray"
    ULTRASOUND = "Ultrasound"
    DERMOSCOPY = "Dermoscopy"
    FUNDUS = "Fundus"
    OCT = "OCT"
    MICROSCOPY = "Microscopy"


class Task(StrEnum):
    """The five tasks, as OmniMedVQA spells them."""

    MODALITY = "Modality Recognition"
    ANATOMY = "Anatomy Identification"
    DISEASE = "Disease Diagnosis"
    GRADING = "Lesion Grading"
    ATTRIBUTES = "Other Biological Attributes"


class CheckpointName(StrEnum):
    """Eight modality checkpoints, five task checkpoints, and the stand-in of the demo."""

    CT = "ct"
    MRI = "mri"
    XRAY = "xray"
    US = "us"
    DERMOSCOPY = "dermoscopy"
    FUNDUS = "fundus"
    OCT = "oct"
    MICROSCOPY = "microscopy"
    ANATOMY = "anatomy"
    DISEASE = "disease"
    GRADING = "grading"
    RECOGNITION = "recognition"
    ATTRIBUTES = "attributes"
    DEMO = "demo"


class Coverage(StrEnum):
    """Whether a checkpoint can have learned the answer from its training lists."""

    IN = "in"  #: anatomy and finding occur as right answers
    NEAR = "near"  #: the anatomy occurs
    OUT = "out"  #: neither occurs


class StudyState(StrEnum):
    """Where a study is."""

    RECEIVING = "receiving"  #: instances arrive, or arrived too recently to call it complete
    COMPLETE = "complete"  #: quiet for long enough; the plan of what to ask is due
    ASKED = "asked"  #: prompts exist; some wait for a picture or an answer
    ANSWERED = "answered"  #: every prompt of the latest version has its answer
    NOTHING_TO_ASK = "nothing_to_ask"  #: no question applies; the reason says why
    FAILED = "failed"  #: some work was given up after its attempts; a person can retry it
    WITHDRAWN = "withdrawn"  #: its files, pictures, identity and texts are gone for good


class InstanceHold(StrEnum):
    """Why an instance waits for a person, or what the person decided."""

    HELD = "held"  #: it would supersede another sender's instance, of a project not its own
    REFUSED = "refused"  #: a person decided that it supersedes nothing


class RenderingState(StrEnum):
    """Where a rendering is."""

    PLANNED = "planned"  #: waits for the render worker, or is claimed by one
    RENDERED = "rendered"  #: the picture is durable and its hash recorded
    FAILED = "failed"  #: given up; `error` says why
    LOST = "lost"  #: its file is gone, and today other pixels are drawn; see its successor
    WITHDRAWN = "withdrawn"  #: its study was withdrawn: nothing draws it again


class GenerationState(StrEnum):
    """Where a generation is."""

    WAITING = "waiting"  #: waits for its picture, its checkpoint or a worker, or is claimed
    GENERATED = "generated"  #: the raw output is stored; the parse is due
    ANSWERED = "answered"  #: the raw output is stored and parsed
    FAILED = "failed"  #: given up; `error` says why
    WITHDRAWN = "withdrawn"  #: its study was withdrawn, before or after it was answered


class ParseStatus(StrEnum):
    """What the parser made of a generation."""

    PARSED = "parsed"  #: one letter that is an option
    NO_ANSWER = "no_answer"  #: no answer tag with a single word in it
    NOT_AN_OPTION = "not_an_option"  #: an answer tag whose word is no offered letter
    TRUNCATED = "truncated"  #: the token limit came before an answer tag was closed


class PromptKind(StrEnum):
    """Why a prompt exists."""

    PROTOCOL = "protocol"  #: the question as the bank asks it
    PERMUTATION = "permutation"  #: the same with other option orders
    BLANK = "blank"  #: the same over a blank picture


class TruthSource(StrEnum):
    """Where a reference standard comes from."""

    HEADER = "header"  #: the DICOM header, which the model never sees
    PHANTOM = "phantom"  #: a synthetic picture, drawn to be so
    READER_PANEL = "reader_panel"  #: readers who agreed
    IMPORT = "import"  #: a file that a person brought


class TruthUnit(StrEnum):
    """What a truth is about; where several are known of a picture, the narrowest counts."""

    PATIENT = "patient"  #: every picture of a patient
    STUDY = "study"  #: every picture of a study
    SIDE = "side"  #: the pictures of a study with one laterality, as of one eye
    PICTURE = "picture"  #: the frames of one SOP instance


class Certainty(StrEnum):
    """How certain a truth is, by who states it."""

    PROVEN = "proven"  #: pathology, surgery, a phantom, the header
    FOLLOWED_UP = "followed_up"  #: what became of the patient agrees
    CONSENSUS = "consensus"  #: several readers agreed
    ADJUDICATED = "adjudicated"  #: readers disagreed, and one more decided
    SINGLE = "single"  #: one reader or one report says so


class WithdrawnKind(StrEnum):
    """What a withdrawn key stands for."""

    STUDY = "study"
    PATIENT = "patient"


class QuarantineReason(StrEnum):
    """Why a received instance cannot be used; its bytes are kept."""

    UNREADABLE = "unreadable"  #: the data set does not parse
    UID_MISMATCH = "uid_mismatch"  #: the data set names another instance than the command did
    UID_MISSING = "uid_missing"  #: study, series or instance UID is absent or not a UID
    WITHDRAWN = "withdrawn"  #: it was withdrawn or opted out, and the site sets such arrivals aside


class ExportState(StrEnum):
    """Where an export is that somebody asked for on a page."""

    REQUESTED = "requested"  #: it waits for its turn, or to be tried again
    RUNNING = "running"  #: a process writes it
    FINISHED = "finished"  #: it can be downloaded
    FAILED = "failed"  #: given up; `error` says why
    REMOVED = "removed"  #: its files are gone; `removed_because` says why


class TableFormat(StrEnum):
    """How the tables of an export are written; its verifier reads the first two."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _TABLE_FORMAT_LABELS[self]


_TABLE_FORMAT_LABELS = {
    TableFormat.CSV: "CSV",
    TableFormat.JSONL: "JSON Lines",
    TableFormat.PARQUET: "Parquet",
}


class ExportRemoval(StrEnum):
    """Why an export is removed."""

    EXPIRED = "expired"  #: it was kept as long as exports are
    PERSON = "person"  #: somebody wished so
    WITHDRAWAL = "withdrawal"  #: it had, or may have had, a study that was withdrawn since


class Role(StrEnum):
    """What an account may do in a project, or in the whole site."""

    READER = "reader"  #: judges cases; never sees what the model or another reader said of them
    RESEARCHER = "researcher"  #: queries answers, cites snapshots
    AUDITOR = "auditor"  #: sees the same and its history; changes nothing
    CUSTODIAN = "custodian"  #: may know who a patient is: brings truths, re-identifies, withdraws
    ADMINISTRATOR = "administrator"  #: of the site: accounts, where studies are, what failed


class DatePolicy(StrEnum):
    """How a project shows dates to those who research in it."""

    NONE = "none"  #: not at all
    YEAR = "year"  #: the year alone
    SHIFTED = "shifted"  #: whole, and moved into the past by a patient's number of days


class Correctness(StrEnum):
    """How an answer stands to the reference standard that counts."""

    RIGHT = "right"  #: its choice is the truth
    WRONG = "wrong"  #: it is not, or there is no choice
    UNKNOWN = "unknown"  #: no truth is known


class SignInMethod(StrEnum):
    """How somebody proved who they are."""

    PASSWORD = "password"  # noqa: S105 - the word, not one
    LINK = "link"  #: a one-time link, made by an administrator
    PROVIDER = "provider"  #: OpenID Connect
