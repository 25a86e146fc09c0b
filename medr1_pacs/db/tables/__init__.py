"""The research database. Table and column names are a contract: researchers' SQL uses them.

    project <- project_study -> study -> series -> instance -> rendering
    study -> study_version <- selection -> rendering
    rendering <- prompt <- generation <- answer <- answer_facet
    account <- project_member -> project
    study_answer <- reading_case <- assignment <- review
    reading_protocol <- reading_case, reading_person -> account

Keys of the DICOM hierarchy are the standard's keywords in snake case; times are aware UTC. No
column of this database holds a name, a patient ID, a birth date or an accession number: those are
in the vault (`medr1_pacs.db.vault`).

All tables are imported here, so that whoever imports one has the whole schema.
"""

from medr1_pacs.db.tables.asked import (
    Answer,
    Checkpoint,
    Generation,
    Prompt,
    Question,
    Rendering,
    Selection,
)
from medr1_pacs.db.tables.base import Base
from medr1_pacs.db.tables.ending import Withdrawal, WithdrawnKey
from medr1_pacs.db.tables.operation import (
    AuditEvent,
    AuditHead,
    AuditLeaf,
    Lease,
    PastValue,
    Worker,
)
from medr1_pacs.db.tables.people import (
    Account,
    AccountSession,
    ApiToken,
    KnownDevice,
    Project,
    ProjectMember,
    SignInLink,
)
from medr1_pacs.db.tables.reading import (
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
)
from medr1_pacs.db.tables.received import (
    Association,
    Instance,
    Patient,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    QuarantinedInstance,
    Series,
    SetAside,
    Study,
    StudyVersion,
)
from medr1_pacs.db.tables.research import (
    AnswerFacet,
    AnswerOrigin,
    AnswerOutcome,
    ProjectExport,
    Snapshot,
    SnapshotAnswer,
)
from medr1_pacs.db.tables.reviewed import (
    Assignment,
    OptionScore,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
    StudyAnswer,
    StudyAnswerPart,
)

__all__ = [
    "Account",
    "AccountSession",
    "Answer",
    "AnswerFacet",
    "AnswerOrigin",
    "AnswerOutcome",
    "ApiToken",
    "Assignment",
    "Association",
    "AuditEvent",
    "AuditHead",
    "AuditLeaf",
    "Base",
    "Checkpoint",
    "Generation",
    "Instance",
    "KnownDevice",
    "Lease",
    "OptionScore",
    "PastValue",
    "Patient",
    "Project",
    "ProjectExport",
    "ProjectInstance",
    "ProjectMember",
    "ProjectSeries",
    "ProjectStudy",
    "Prompt",
    "QuarantinedInstance",
    "Question",
    "ReadingCase",
    "ReadingPerson",
    "ReadingProtocol",
    "ReferenceImport",
    "ReferenceStandard",
    "ReferenceStatement",
    "Rendering",
    "Review",
    "Selection",
    "Series",
    "SetAside",
    "SignInLink",
    "Snapshot",
    "SnapshotAnswer",
    "Study",
    "StudyAnswer",
    "StudyAnswerPart",
    "StudyVersion",
    "Withdrawal",
    "WithdrawnKey",
    "Worker",
]
