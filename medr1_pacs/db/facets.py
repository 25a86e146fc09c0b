"""The narrow row of an answer: written in the transaction of whatever it tells.

    answer, study version, route, truth, project -> answer_outcome, answer_origin -> answer_facet

One statement reads the joined tables, for some answers or for a whole study. Whoever writes locks
the studies first: an answer that is stored while its study gets another version is told of by
whichever of the two commits last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOrigin,
    AnswerOutcome,
    Checkpoint,
    Generation,
    Instance,
    Patient,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.disclosure import AGE_MAX, BAND_YEARS
from medr1_pacs.records.words import Correctness

OUTCOME = (
    "question_id",
    "task",
    "kind",
    "coverage",
    "checkpoint",
    "is_demo",
    "parse_status",
    "choice",
    "correctness",
)
ORIGIN = ("modality", "anatomy", "scanner_key", "study_year", "sex", "age_band")
_OWN = ("project_id", "answer_id", "study_id", "is_current", "study_version", "study_date")


def lock_studies_of(session: Session, generation_ids: Collection[int]) -> None:
    """Lock the studies of generations, in order: nobody gives them another version meanwhile."""
    ids = session.scalars(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .join(Rendering, Rendering.instance_id == Instance.id)
        .join(Prompt, Prompt.rendering_id == Rendering.id)
        .join(Generation, Generation.prompt_id == Prompt.id)
        .where(Generation.id.in_(generation_ids))
        .distinct()
    ).all()
    _lock(session, ids)


def lock_study_of_rendering(session: Session, rendering_id: int) -> None:
    """Lock a rendering's study, before the rendering: whoever plans takes them in this order."""
    ids = session.scalars(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .join(Rendering, Rendering.instance_id == Instance.id)
        .where(Rendering.id == rendering_id)
    ).all()
    _lock(session, ids)


def add_facets(session: Session, answer_ids: Collection[int]) -> None:
    """Write the facets of answers that were just stored; their studies are locked already."""
    if answer_ids:
        _write(session, Answer.id.in_(answer_ids))


def refresh_facets(session: Session, study_id: int) -> None:
    """Write the facets of a study's answers as they are now: of new ones, and of changed ones."""
    _lock(session, [study_id])
    session.flush()
    _write(session, Study.id == study_id)


def refresh_all_facets(session: Session, study_ids: Collection[int]) -> None:
    """As `refresh_facets`, of several studies."""
    _lock(session, study_ids)
    session.flush()
    _write(session, Study.id.in_(study_ids))


def list_faults(session: Session, *, newest: int) -> list[int]:
    """Return the studies with an answer, among the newest, whose narrow row says something else."""
    since = session.scalar(select(Answer.id).order_by(Answer.id.desc()).offset(newest).limit(1))
    values = _values(Answer.id > (since or 0)).subquery()
    wrong = (
        select(values.c.study_id)
        .outerjoin(
            AnswerFacet,
            and_(
                AnswerFacet.project_id == values.c.project_id,
                AnswerFacet.answer_id == values.c.answer_id,
            ),
        )
        .outerjoin(AnswerOutcome, AnswerOutcome.id == AnswerFacet.outcome_id)
        .outerjoin(AnswerOrigin, AnswerOrigin.id == AnswerFacet.origin_id)
        .where(
            or_(
                AnswerFacet.answer_id.is_(None),
                *(
                    getattr(table, name).is_distinct_from(values.c[name])
                    for table, names in (
                        (AnswerOutcome, OUTCOME),
                        (AnswerOrigin, ORIGIN),
                        (AnswerFacet, ("study_id", "is_current", "study_version", "study_date")),
                    )
                    for name in names
                ),
            )
        )
        .distinct()
    )
    return list(session.scalars(wrong))


def _lock(session: Session, study_ids: Collection[int]) -> None:
    # Rows that refer to a study may be added meanwhile: its key does not change.
    session.execute(
        select(Study.id)
        .where(Study.id.in_(study_ids))
        .order_by(Study.id)
        .with_for_update(key_share=True)
    )


def _write(session: Session, which: ColumnElement[bool]) -> None:
    values = _values(which).subquery()
    _add_combinations(session, AnswerOutcome, OUTCOME, values)
    _add_combinations(session, AnswerOrigin, ORIGIN, values)
    rows = (
        select(*(values.c[name] for name in _OWN), AnswerOutcome.id, AnswerOrigin.id)
        .join(AnswerOutcome, _equal(AnswerOutcome, OUTCOME, values))
        .join(AnswerOrigin, _equal(AnswerOrigin, ORIGIN, values))
        .where(true())  # SQLite takes ON CONFLICT for a join's ON without a WHERE
        .order_by(values.c.project_id, values.c.answer_id)
    )
    columns = (*_OWN, "outcome_id", "origin_id")
    insert = insert_into(session, AnswerFacet).from_select(columns, rows)
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["project_id", "answer_id"],
            set_={name: insert.excluded[name] for name in columns[2:]},
            where=or_(
                *(
                    getattr(AnswerFacet, name).is_distinct_from(insert.excluded[name])
                    for name in columns[2:]
                )
            ),
        )
    )


def _add_combinations(
    session: Session,
    table: type[AnswerOutcome] | type[AnswerOrigin],
    names: Sequence[str],
    values: Any,
) -> None:
    new = (
        select(*(values.c[name] for name in names))
        .outerjoin(table, _equal(table, names, values))
        .where(table.id.is_(None))
        .distinct()
        .order_by(*(values.c[name] for name in names))
    )
    # Two workers may meet a combination for the first time at the same moment.
    insert = insert_into(session, table).from_select(names, new)
    session.execute(insert.on_conflict_do_nothing())


def _equal(
    table: type[AnswerOutcome] | type[AnswerOrigin], names: Sequence[str], values: Any
) -> ColumnElement[bool]:
    return and_(*(getattr(table, name) == values.c[name] for name in names))


def latest_study_version() -> Any:
    """Build the latest version of a study in which a prompt's picture was selected for it."""
    return (
        select(func.max(StudyVersion.version))
        .join(Selection, Selection.study_version_id == StudyVersion.id)
        .where(
            Selection.rendering_id == Prompt.rendering_id,
            Selection.question_id == Prompt.question_id,
        )
        .correlate(Prompt)
        .scalar_subquery()
    )


def newest_truth() -> Any:
    """Build the truth of a prompt's question for its instance, by the newest standard."""
    return (
        select(ReferenceStandard.truth)
        .where(
            ReferenceStandard.instance_id == Rendering.instance_id,
            ReferenceStandard.question_id == Prompt.question_id,
        )
        .order_by(ReferenceStandard.version.desc(), ReferenceStandard.id.desc())
        .limit(1)
        .correlate(Rendering, Prompt)
        .scalar_subquery()
    )


def _values(which: ColumnElement[bool]) -> Select[Any]:
    found = (
        select(
            ProjectStudy.project_id,
            Answer.id.label("answer_id"),
            Study.id.label("study_id"),
            Study.version.label("current_version"),
            latest_study_version().label("study_version"),
            ProjectStudy.shown_study_date.label("study_date"),
            Question.question_id,
            Question.task,
            Prompt.kind,
            Prompt.coverage,
            Checkpoint.name.label("checkpoint"),
            Checkpoint.is_demo,
            Answer.parse_status,
            func.coalesce(Answer.choice, "").label("choice"),
            Answer.choice_text,
            newest_truth().label("truth"),
            func.coalesce(Series.route_modality, "").label("modality"),
            func.coalesce(Series.anatomy, "").label("anatomy"),
            func.coalesce(Series.scanner_key, "").label("scanner_key"),
            func.coalesce(func.substr(ProjectStudy.shown_study_date, 1, 4), "").label("study_year"),
            func.coalesce(Patient.sex, "").label("sex"),
            _age_band().label("age_band"),
        )
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Question, Prompt.question_id == Question.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .join(Patient, Study.patient_id == Patient.id)
        .join(Checkpoint, Generation.checkpoint_id == Checkpoint.id)
        .join(ProjectStudy, ProjectStudy.study_id == Study.id)
        .where(which)
        .subquery()
    )
    correctness = case(
        (found.c.truth.is_(None), Correctness.UNKNOWN.value),
        (found.c.choice_text == found.c.truth, Correctness.RIGHT.value),
        else_=Correctness.WRONG.value,
    )
    is_current = func.coalesce(found.c.study_version == found.c.current_version, literal(False))
    derived = ("is_current", "correctness")
    return select(
        *(found.c[name] for name in (*_OWN, *OUTCOME, *ORIGIN) if name not in derived),
        is_current.label("is_current"),
        correctness.label("correctness"),
    )


def _age_band() -> Any:
    first = Study.age_years // BAND_YEARS * BAND_YEARS
    band = cast(first, String) + "-" + cast(first + (BAND_YEARS - 1), String)
    return case(
        (Study.age_years.is_(null()), ""),
        (Study.age_years > AGE_MAX, f"{AGE_MAX + 1}+"),
        else_=band,
    )
