"""What a project has to read: its studies under some questions, and what the model says of each.

    selection of the latest version -> pictures -> their answers -> `study_answer`

A picture is a chosen frame through a window; the answers of all pictures of a study are put
together by the question's `aggregate`, the truths of them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.facets import find_truth
from medr1_pacs.db.research import narrow_rows
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    Checkpoint,
    Generation,
    Instance,
    OptionScore,
    Project,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Study,
    StudyAnswer,
    StudyAnswerPart,
    StudyVersion,
)
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.questions.schema import Aggregate
from medr1_pacs.questions.schema import Question as BankQuestion
from medr1_pacs.records.reviews import Candidate, ModelPicture, ModelSide, StudyAnswerMade
from medr1_pacs.records.words import PromptKind
from medr1_pacs.reviews.letters import letters_to_texts
from medr1_pacs.reviews.study_answers import (
    least_certain_source,
    put_together,
    put_truths_together,
    score_positive,
)


def list_candidates(
    session: Session, project: str, questions: Sequence[str], filters: AnswerFilters | None
) -> list[Candidate]:
    """Return what a protocol could take as cases, in the order of studies.

    `filters`: which answers' studies are meant; None: all.
    """
    rows = _pictures(session, project, questions, filters)
    answers = _answers(session, {(row.rendering_id, row.question_row) for row in rows})
    scores = _scores(session, {each.generation_id for each in answers.values() if each})
    bank: dict[int, BankQuestion] = {}
    candidates = []
    for (study_id, question_id), group in groupby(
        rows, key=lambda row: (row.study_id, row.question_id)
    ):
        pictures = [
            _Picture(row, answers.get((row.rendering_id, row.question_row)), scores)
            for row in group
        ]
        question = bank.get(pictures[0].row.question_row)
        if question is None:
            question = restore_question(pictures[0].row.definition)
            bank[pictures[0].row.question_row] = question
        for case in _cases_of(question, pictures):
            candidates.append(_candidate(study_id, question_id, question, case))
    return candidates


@dataclass(frozen=True, slots=True)
class _Picture:
    """A chosen frame through a window, and what was answered about it."""

    row: Any
    answer: Any
    scores: dict[int, dict[str, float]]

    @property
    def choice_text(self) -> str | None:
        return None if self.answer is None else self.answer.choice_text

    @property
    def option_scores(self) -> dict[str, float]:
        """Option -> how likely the engine held it to be."""
        if self.answer is None:
            return {}
        by_letter = self.scores.get(self.answer.generation_id, {})
        return {
            option: by_letter[letter]
            for letter, option in zip("ABCD", self.answer.options, strict=False)
            if letter in by_letter
        }


def _cases_of(question: BankQuestion, pictures: list[_Picture]) -> Iterable[list[_Picture]]:
    if question.aggregate is Aggregate.NONE:
        return ([picture] for picture in pictures)
    return [pictures]


def _candidate(
    study_id: int, question_id: str, question: BankQuestion, pictures: list[_Picture]
) -> Candidate:
    first = pictures[0].row
    is_a_picture = question.aggregate is Aggregate.NONE
    versions = {picture.row.question_row for picture in pictures}
    checkpoints = {picture.answer.checkpoint_row for picture in pictures if picture.answer}
    is_mixed = len(versions) > 1 or len(checkpoints) > 1
    is_whole = all(picture.answer is not None for picture in pictures)
    truths = [picture.row.truth for picture in pictures]
    stated = {
        (picture.row.truth_source, picture.row.truth_certainty)
        for picture in pictures
        if picture.row.truth is not None
    }
    truth = put_truths_together(question.aggregate, question.options, question.positive, truths)
    return Candidate(
        study_id=study_id,
        study_version_id=first.study_version_id,
        study_version=first.study_version,
        patient_id=first.patient_id,
        question_row=first.question_row,
        question_id=question_id,
        rendering_id=first.rendering_id if is_a_picture else None,
        picture=(first.first_instance_id, first.frame_number) if is_a_picture else None,
        answer=_put_together(question, pictures) if is_whole and not is_mixed else None,
        is_mixed=is_mixed,
        truth=truth,
        truth_source=least_certain_source(stated) if truth is not None else None,
    )


def _put_together(question: BankQuestion, pictures: list[_Picture]) -> StudyAnswerMade:
    choices = [picture.choice_text for picture in pictures]
    choice = put_together(question.aggregate, question.options, question.positive, choices)
    answer = pictures[0].answer
    parsed = sum(text is not None for text in choices)
    score = score_positive(
        question.options, question.positive, [picture.option_scores for picture in pictures]
    )
    return StudyAnswerMade(
        checkpoint_row=answer.checkpoint_row,
        aggregate=question.aggregate.value,
        choice_text=choice,
        answer_ids=tuple(picture.answer.answer_id for picture in pictures),
        parsed=parsed,
        score=score,
        side=ModelSide(
            choice_text=choice,
            score=None if score is None else repr(float(score)),
            answers=len(pictures),
            parsed=parsed,
            checkpoint=answer.checkpoint,
            checkpoint_revision=answer.revision,
            is_demo=answer.is_demo,
            pictures=tuple(map(_model_picture, pictures)),
        ),
    )


def _model_picture(picture: _Picture) -> ModelPicture:
    answer = picture.answer
    reasoning = answer.reasoning
    return ModelPicture(
        answer_id=answer.answer_id,
        instance_id=picture.row.instance_id,
        frame_number=picture.row.frame_number,
        png_sha256=answer.png_sha256,
        choice_text=answer.choice_text,
        reasoning=letters_to_texts(reasoning, answer.options) if reasoning else reasoning,
    )


def add_study_answer(session: Session, candidate: Candidate, now: datetime) -> int | None:
    """Keep what the model says of a case; returns its row id, None where it says nothing."""
    made = candidate.answer
    if made is None:
        return None
    row = StudyAnswer(
        study_version_id=candidate.study_version_id,
        question_id=candidate.question_row,
        rendering_id=candidate.rendering_id,
        checkpoint_id=made.checkpoint_row,
        aggregate=made.aggregate,
        choice_text=made.choice_text,
        answers=len(made.answer_ids),
        parsed=made.parsed,
        is_mixed=candidate.is_mixed,
        score=made.score,
        made_at=now,
    )
    session.add(row)
    session.flush()
    session.add_all(
        StudyAnswerPart(study_answer_id=row.id, answer_id=each) for each in made.answer_ids
    )
    return row.id


def _first_instance() -> Any:
    """Return the first instance that was received under the SOP Instance UID of a picture."""
    same = aliased(Instance)
    first = select(func.min(same.id)).where(same.sop_instance_uid == Instance.sop_instance_uid)
    return first.correlate(Instance).scalar_subquery().label("first_instance_id")


# -- what is read --------------------------------------------------------------------------------


def _pictures(
    session: Session, project: str, questions: Sequence[str], filters: AnswerFilters | None
) -> Sequence[Any]:
    """Return the chosen pictures of the latest version of each study, those of a case together."""
    study_id: Any = AnswerFacet.study_id
    truth = find_truth(Rendering.instance_id, Selection.question_id)
    conditions = [
        Project.name == project,
        ProjectStudy.withdrawn_at.is_(None),
        StudyVersion.version == Study.version,
        StudyVersion.planned_at.is_not(None),
        Question.question_id.in_(questions),
    ]
    if filters is not None:
        hits = narrow_rows(session, project, filters, study_id).subquery()
        conditions.append(Study.id.in_(select(hits.c.study_id)))
    return session.execute(
        select(
            Study.id.label("study_id"),
            Study.patient_id,
            StudyVersion.id.label("study_version_id"),
            StudyVersion.version.label("study_version"),
            Question.id.label("question_row"),
            Question.question_id,
            Question.definition,
            Rendering.id.label("rendering_id"),
            Rendering.instance_id,
            Rendering.frame_number,
            _first_instance(),
            truth.correlate(Rendering, Selection).scalar_subquery().label("truth"),
            *(
                truth.with_only_columns(column)
                .correlate(Rendering, Selection)
                .scalar_subquery()
                .label(f"truth_{column.key}")
                for column in (ReferenceStandard.source, ReferenceStandard.certainty)
            ),
        )
        .select_from(Selection)
        .join(StudyVersion, Selection.study_version_id == StudyVersion.id)
        .join(Study, StudyVersion.study_id == Study.id)
        .join(ProjectStudy, ProjectStudy.study_id == Study.id)
        .join(Project, ProjectStudy.project_id == Project.id)
        .join(Question, Selection.question_id == Question.id)
        .join(Rendering, Selection.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .where(*conditions)
        .order_by(Study.id, Question.question_id, Selection.id)
    ).all()


def _answers(session: Session, asked: set[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    """Return (rendering, question) -> its answer, where a model gave one."""
    found: dict[tuple[int, int], Any] = {}
    for chunk in iterate_chunks({rendering_id for rendering_id, _ in asked}):
        rows = session.execute(
            select(
                Prompt.rendering_id,
                Prompt.question_id,
                Prompt.options,
                Answer.id.label("answer_id"),
                Answer.choice_text,
                Answer.reasoning,
                Generation.id.label("generation_id"),
                Generation.png_sha256,
                Checkpoint.id.label("checkpoint_row"),
                Checkpoint.name.label("checkpoint"),
                Checkpoint.revision,
                Checkpoint.is_demo,
            )
            .join(Generation, Answer.generation_id == Generation.id)
            .join(Prompt, Generation.prompt_id == Prompt.id)
            .join(Checkpoint, Generation.checkpoint_id == Checkpoint.id)
            .where(
                Prompt.rendering_id.in_(chunk),
                Prompt.kind == PromptKind.PROTOCOL,
                Generation.run == 1,
                Generation.png_sha256.is_not(None),
            )
            .order_by(Answer.id)
        )
        # The last one: what was asked again is what counts now.
        found |= {(row.rendering_id, row.question_id): row for row in rows}
    return found


def _scores(session: Session, generation_ids: set[int]) -> dict[int, dict[str, float]]:
    scores: dict[int, dict[str, float]] = {}
    for chunk in iterate_chunks(generation_ids):
        for row in session.scalars(select(OptionScore).where(OptionScore.generation_id.in_(chunk))):
            scores.setdefault(row.generation_id, {})[row.letter] = row.score
    return scores
