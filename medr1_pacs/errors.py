"""What can go wrong, named by what the caller does next.

A `PermanentError` is shown to a person; trying again would fail in the same way. A `TransientError`
is tried again with a growing wait. Anything else is a defect of ours: it propagates, once, to the
top-level log. Messages name the thing and the remedy, and never a patient.
"""

from __future__ import annotations


class Medr1Error(Exception):
    """Base class of every error that this project raises on purpose."""


class PermanentError(Medr1Error):
    """Trying again will fail in the same way; a person has to act."""


class TransientError(Medr1Error):
    """A resource is away for the moment; try again later."""


class SettingInvalid(PermanentError):
    """A setting, or a file that a setting names, cannot be used as it is."""


class InstallationBroken(PermanentError):
    """Files of this program are missing, or are another program's."""


class QuestionInvalid(PermanentError):
    """A question file breaks the schema; the message starts with `file:line:`."""


class InstanceUnreadable(PermanentError):
    """A received file is not a DICOM instance that can be indexed."""


class PixelDataUnusable(PermanentError):
    """The pixel data of a frame is missing, malformed, too large, or its decoder gave up."""


class CheckpointMissing(PermanentError):
    """A checkpoint is not configured, not pulled, or its files are not the recorded ones."""


class StorageFull(TransientError):
    """The storage folder has no room for another instance."""


class StorageUnavailable(TransientError):
    """The storage folder cannot be written at the moment."""


class InstanceDamaged(PermanentError):
    """A stored instance is missing, or its bytes are no longer those that were received.

    The same data set, sent again, repairs it.
    """

    SUBJECT = "the stored file"
    """What every message of it begins with: work that failed so is tried again after a repair."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{self.SUBJECT} {name} {what}")


class NotInQuarantine(PermanentError):
    """No file of this name waits in quarantine for a decision; the message says what it is."""


class StillInBacklog(TransientError):
    """A file has not left the backlog yet: what becomes of it is not known."""


class StudyNotReceiving(PermanentError):
    """A study cannot be called complete; the message says where it is."""


class PictureLost(PermanentError):
    """A stored picture is missing, or its bytes are no longer those that were hashed."""


class DatabaseUnavailable(TransientError):
    """The database does not answer at the moment."""


class DatabaseFull(TransientError):
    """The database has no disk space or memory left for a write; make room."""


class DeviceBroken(TransientError):
    """The engine answers nothing any more, whatever it is asked: only a new process helps."""


class SourceUnreadable(PermanentError):
    """A file that somebody named cannot be read."""


class Interrupted(TransientError):
    """Work was given up because its process was asked to stop; it is done again later."""


class RowExists(TransientError):
    """Another process wrote the same row at the same moment; looking again finds it."""


class ValueRefused(PermanentError):
    """The database cannot hold a value of this record; other records are not concerned."""


class SchemaMismatch(PermanentError):
    """The database has another schema version than this program."""


class AnswerNotFound(PermanentError):
    """No stored answer has this id."""


class VaultMissing(PermanentError):
    """This process was not given the identity vault, and cannot say who somebody is."""


class DecoderMissing(PermanentError):
    """This process was given no decoder, and cannot show a frame."""


class ReferenceRefused(PermanentError):
    """A file of truths cannot be imported as it is; the message says why."""


class WithdrawalRefused(PermanentError):
    """Nothing can be withdrawn so; the message says why."""


class WithdrawnListUnusable(TransientError):
    """The list of withdrawals cannot be read or written, or is another site's; nothing comes in and
    nothing goes without it."""


class AuditFilesUnusable(TransientError):
    """The heads of the audit log outside the database cannot be read or written; nothing is
    signed without them."""


class LogInconsistent(TransientError):
    """The audit log does not begin with what its last head says: nothing is signed before a person
    has looked."""


class OptOutUnusable(TransientError):
    """The list of patients of whom nothing is kept cannot be read; nothing comes in without it."""


class SnapshotNotFound(PermanentError):
    """The project has no snapshot of this name."""


class GrantRefused(PermanentError):
    """A database role is not given what was asked for it; the message says why."""


class SnapshotRefused(PermanentError):
    """No snapshot can be made so; the message says why."""


class ExportRefused(PermanentError):
    """Nothing can be exported so; the message says why."""


class WitnessRefused(PermanentError):
    """A head of the log is not cosigned, or nothing is proven of it; the message says why."""


class RestartRefused(PermanentError):
    """The audit log goes on from its last head, so that no other one begins."""


class AccountNotFound(PermanentError):
    """No account has this name."""


class AccountRefused(PermanentError):
    """An account cannot be made or changed so; the message says why."""


class PasswordRefused(PermanentError):
    """A password is too easy to guess, or too long."""


class SignInRefused(PermanentError):
    """What somebody signs in with is wrong, spent, or of an account that is closed."""


class ProviderUnavailable(TransientError):
    """The OpenID provider does not answer, or not as one."""


class ProtocolRefused(PermanentError):
    """A reading protocol cannot be started, or not be changed so; the message says why."""


class ProtocolNotFound(PermanentError):
    """There is no such reading protocol, or none that the caller may know of."""


class ResultsRefused(PermanentError):
    """A file of results cannot be made of what there is; the message says why."""


class ReviewRefused(PermanentError):
    """A review cannot be locked so; the message says what is missing, and the draft is kept."""


class ReadNotOpen(PermanentError):
    """A read is not, or no more, the caller's: the message says how they go on."""
