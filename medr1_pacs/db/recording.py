"""Records as they are hashed: read from their rows, and told by events that carry the hash.

A record whose texts are gone, as of a study that was withdrawn, is hashed by the commitments that
were kept in their place: the hash stays the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from medr1_pacs.audit.records import FORMS, commit_fields, record_sha256
from medr1_pacs.db.audit import (
    SERVICE,
    RecordTold,
    add_record_events,
    canonical_time,
    write_events,
)
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Account,
    Answer,
    Assignment,
    Base,
    Checkpoint,
    Generation,
    Instance,
    Project,
    ProjectMember,
    Prompt,
    Question,
    ReadingCase,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Review,
    Series,
)

_NO_TEXTS = ("versions", "stated_by", "opened_at", "locked_at")
"""Committed fields that stay when a record's texts go: they tell nothing of a patient."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as its rows say it."""

    object_id: int
    values: Mapping[str, Any]
    salt: str | None
    commitments: Mapping[str, str] | None
    """In place of texts that are gone."""

    def commit(self, kind: str) -> Mapping[str, str] | None:
        """Return field -> commitment; None: no salt was ever given to it."""
        if self.commitments is not None:
            return self.commitments
        if self.salt is None:
            return None if FORMS[kind].committed else {}
        return commit_fields(kind, self.salt, self.values)

    def has_texts(self, kind: str) -> bool:
        """Whether any field that can be hidden says something; those of a model stay."""
        return any(self.values[name] for name in FORMS[kind].committed if name not in _NO_TEXTS)

    def sha256(self, kind: str) -> str | None:
        """Return the hash of its canonical form; None: it was never hashed."""
        commitments = self.commit(kind)
        return None if commitments is None else record_sha256(kind, self.values, commitments)


def read_records(session: Session, kind: str, object_ids: Collection[int]) -> Iterator[Record]:
    """Yield records by their row ids, in order."""
    source = _SOURCES[kind]
    for chunk in iterate_chunks(object_ids):
        for row in session.execute(source.statement().where(source.key.in_(chunk))):
            yield _record(kind, row)


def iterate_record_ids(session: Session, kind: str) -> Iterator[int]:
    """Yield the row id of every record of a kind; streaming."""
    table = _SOURCES[kind].table
    ids = select(table.id).order_by(table.id).execution_options(yield_per=10_000)
    yield from session.scalars(ids)


def adopt_records(session: Session) -> None:
    """Tell of the records that were there before there was a log: from now on they are hashed."""
    for kind in _SOURCES:
        for chunk in iterate_chunks(list(iterate_record_ids(session, kind))):
            tell_records(session, f"{kind}.adopted", kind, chunk)
            write_events(session)


def _record(kind: str, row: Any) -> Record:
    values = dict(row._mapping)
    salt, commitments = values.pop("record_salt"), values.pop("record_commitments")
    object_id = values.pop("record_id")
    if "seconds" in values:  # a fraction has no canonical form but its text
        values["seconds"] = None if values["seconds"] is None else repr(float(values["seconds"]))
    if "decoding" in values:
        said = json.dumps(values.pop("decoding"), sort_keys=True)
        if hashlib.sha256(said.encode()).hexdigest() != values["decoding_sha256"]:
            values["decoding_sha256"] = None  # which of the two was changed, no hash can say
    for name in ("opened_at", "locked_at"):
        if name in values:
            values[name] = canonical_time(values[name])
    if "definition" in values:
        values["definition"] = json.dumps(
            values["definition"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
    return Record(object_id, values, salt, commitments)


def hash_record(session: Session, kind: str, object_id: int) -> str:
    """Return the hash of one record's canonical form."""
    [record] = read_records(session, kind, [object_id])
    digest = record.sha256(kind)
    assert digest is not None, "whoever adds a record gives it a salt"
    return digest


def tell_records(
    session: Session,
    action: str,
    kind: str,
    object_ids: Collection[int],
    *,
    actor: str = SERVICE,
) -> None:
    """Add an event for each of these records, with its hash and what of it names nobody."""
    told = []
    for record in read_records(session, kind, object_ids):
        digest = record.sha256(kind)
        assert digest is not None, "whoever adds a record gives it a salt"
        new = {name: record.values[name] for name in _TOLD[kind]}
        told.append(RecordTold(record.object_id, digest, new))
    add_record_events(session, action, kind, told, actor=actor)


_TOLD: Mapping[str, Sequence[str]] = {
    "answer": ("parse_status", "choice"),
    "question": ("question_id", "question_version", "question_sha256"),
    "checkpoint": ("checkpoint", "checkpoint_revision", "checkpoint_sha256"),
    "reference_standard": ("source", "unit", "version"),
    "reference_statement": ("unit", "version"),
    "reading_case": ("protocol_id", "number"),
    "review": ("assignment_id", "case_id", "phase", "version"),
    "account": ("account_id",),
    "project_member": ("account_id", "role", "project"),
}
"""What the event of a record says besides its hash."""


def keep_commitments(session: Session, kind: str, object_ids: Collection[int]) -> None:
    """Put commitments in the place of the salts of records, whose texts are about to go.

    Without the salt nobody can find out by guessing what the text was.
    """
    table = _SOURCES[kind].table
    for record in list(read_records(session, kind, object_ids)):
        if record.commitments is not None or record.salt is None:
            continue
        session.execute(
            update(table)
            .where(table.id == record.object_id)
            .values(record_salt=None, record_commitments=dict(record.commit(kind) or {}))
        )


# -- where records are read from -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    table: type[Base]
    key: Any
    statement: Callable[[], Select[Any]]


def _answers() -> Select[Any]:
    return (
        _select(
            Answer,
            answer_id=Answer.id,
            generation_id=Generation.id,
            run=Generation.run,
            prompt_id=Prompt.id,
            kind=Prompt.kind,
            rendering_id=Rendering.id,
            frame_number=Rendering.frame_number,
            instance_id=Instance.id,
            series_id=Series.id,
            study_id=Series.study_id,
            question_row=Question.id,
            question_id=Question.question_id,
            question_version=Question.version,
            question_sha256=Question.question_sha256,
            checkpoint_row=Checkpoint.id,
            checkpoint=Checkpoint.name,
            checkpoint_revision=Checkpoint.revision,
            checkpoint_sha256=Checkpoint.sha256,
            is_demo=Checkpoint.is_demo,
            requested_checkpoint=Prompt.requested_checkpoint,
            coverage=Prompt.coverage,
            option_order=Prompt.option_order,
            prompt_sha256=Prompt.prompt_sha256,
            decoding=Prompt.decoding,
            decoding_sha256=Prompt.decoding_sha256,
            png_sha256=Generation.png_sha256,
            engine=Generation.engine,
            dtype=Generation.dtype,
            attention=Generation.attention,
            finish_reason=Generation.finish_reason,
            prompt_tokens=Generation.prompt_tokens,
            completion_tokens=Generation.completion_tokens,
            seconds=Generation.seconds,
            choice=Answer.choice,
            parse_status=Answer.parse_status,
            options=Prompt.options,
            prompt_text=Prompt.prompt_text,
            chat_text=Generation.chat_text,
            raw_output=Generation.raw_output,
            reasoning=Answer.reasoning,
            choice_text=Answer.choice_text,
            versions=Generation.versions,
        )
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Question, Prompt.question_id == Question.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .join(Checkpoint, Generation.checkpoint_id == Checkpoint.id)
    )


def _standards() -> Select[Any]:
    statement = _select(
        ReferenceStandard,
        study_id=Series.study_id,  # not hashed, as it follows from the instance
        reference_id=ReferenceStandard.id,
        instance_id=ReferenceStandard.instance_id,
        question_row=ReferenceStandard.question_id,
        source=ReferenceStandard.source,
        unit=ReferenceStandard.unit,
        version=ReferenceStandard.version,
        statement_id=ReferenceStandard.statement_id,
        truth=ReferenceStandard.truth,
        certainty=ReferenceStandard.certainty,
        stated_by=ReferenceStandard.stated_by,
    )
    return statement.join(Instance, Instance.id == ReferenceStandard.instance_id).join(
        Series, Series.id == Instance.series_id
    )


def _statements() -> Select[Any]:
    return _select(
        ReferenceStatement,
        statement_id=ReferenceStatement.id,
        import_id=ReferenceStatement.import_id,
        unit=ReferenceStatement.unit,
        patient_id=ReferenceStatement.patient_id,
        study_id=ReferenceStatement.study_id,
        instance_id=ReferenceStatement.instance_id,
        side=ReferenceStatement.side,
        question_id=ReferenceStatement.question_id,
        version=ReferenceStatement.version,
        truth=ReferenceStatement.truth,
        certainty=ReferenceStatement.certainty,
        stated_by=ReferenceStatement.stated_by,
    )


def _questions() -> Select[Any]:
    return _select(
        Question,
        question_row=Question.id,
        question_id=Question.question_id,
        question_version=Question.version,
        question_sha256=Question.question_sha256,
        modality=Question.modality,
        task=Question.task,
        role=Question.role,
        definition=Question.definition,
    )


def _checkpoints() -> Select[Any]:
    return _select(
        Checkpoint,
        checkpoint_row=Checkpoint.id,
        checkpoint=Checkpoint.name,
        checkpoint_revision=Checkpoint.revision,
        checkpoint_sha256=Checkpoint.sha256,
        is_demo=Checkpoint.is_demo,
    )


def _cases() -> Select[Any]:
    return _select(
        ReadingCase,
        case_id=ReadingCase.id,
        protocol_id=ReadingCase.protocol_id,
        number=ReadingCase.number,
        case_kind=ReadingCase.kind,
        study_id=ReadingCase.study_id,
        study_version_id=ReadingCase.study_version_id,
        question_row=ReadingCase.question_id,
        rendering_id=ReadingCase.rendering_id,
        study_answer_id=ReadingCase.study_answer_id,
        truth_source=ReadingCase.truth_source,
        pictures=ReadingCase.pictures,
        model_side=ReadingCase.model_side,
        truth=ReadingCase.truth,
    )


def _reviews() -> Select[Any]:
    statement = _select(
        Review,
        study_id=ReadingCase.study_id,  # not hashed, as it follows from the case
        review_id=Review.id,
        assignment_id=Review.assignment_id,
        read_kind=Assignment.kind,
        arm=Assignment.arm,
        case_id=Review.case_id,
        account_id=Review.account_id,
        phase=Review.phase,
        version=Review.version,
        is_after_reveal=Review.is_after_reveal,
        confidence=Review.confidence,
        reasoning_grade=Review.reasoning_grade,
        reasoning_error=Review.reasoning_error,
        place=Review.place,
        active_ms=Review.active_ms,
        wall_ms=Review.wall_ms,
        choice_text=Review.choice_text,
        cannot_assess=Review.cannot_assess,
        flags=Review.flags,
        comment=Review.comment,
        reason=Review.reason,
        opened_at=Review.opened_at,
        locked_at=Review.locked_at,
    )
    # Outer: a review whose case or read is gone is not the one that was hashed, and there.
    return statement.outerjoin(ReadingCase, ReadingCase.id == Review.case_id).outerjoin(
        Assignment, Assignment.id == Review.assignment_id
    )


def _accounts() -> Select[Any]:
    return _select(Account, account_id=Account.id, name=Account.name)


def _members() -> Select[Any]:
    return _select(
        ProjectMember,
        member_id=ProjectMember.id,
        account_id=ProjectMember.account_id,
        project_id=ProjectMember.project_id,
        project=Project.name,
        role=ProjectMember.role,
        is_from_provider=ProjectMember.is_from_provider,
    ).join(Project, ProjectMember.project_id == Project.id)


def _select(table: Any, **columns: Any) -> Select[Any]:
    own = {
        "record_id": table.id,
        "record_salt": table.record_salt,
        "record_commitments": table.record_commitments,
    }
    return (
        select(*(value.label(name) for name, value in (own | columns).items()))
        .select_from(table)
        .order_by(table.id)
    )


_SOURCES: Mapping[str, _Source] = {
    "answer": _Source(Answer, Answer.id, _answers),
    "reference_standard": _Source(ReferenceStandard, ReferenceStandard.id, _standards),
    "reference_statement": _Source(ReferenceStatement, ReferenceStatement.id, _statements),
    "question": _Source(Question, Question.id, _questions),
    "checkpoint": _Source(Checkpoint, Checkpoint.id, _checkpoints),
    "reading_case": _Source(ReadingCase, ReadingCase.id, _cases),
    "review": _Source(Review, Review.id, _reviews),
    "account": _Source(Account, Account.id, _accounts),
    "project_member": _Source(ProjectMember, ProjectMember.id, _members),
}
