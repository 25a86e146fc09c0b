"""The narrow row of an answer: written in the transaction of whatever it tells.

    answer, study version, route, truth, project -> answer_outcome, answer_origin -> answer_facet

One statement reads the joined tables, for some answers or for whole studies. Whoever writes locks
the studies first: of an answer that is stored while its study gets another version, whichever of
the two commits last tells.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Select,
    and_,
    bindparam,
    case,
    cast,
    event,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy import insert as sql_insert
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from medr1_pacs.audit.export_form import CERTAINTIES, UNITS
from medr1_pacs.db.past import keep_past
from medr1_pacs.db.rows import insert_into, iterate_chunks
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
from medr1_pacs.records.words import Certainty, Correctness, JsonObject, TruthUnit

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
_IS_KNOWN = and_(ProjectStudy.patient_pseudonym.is_not(None), ProjectStudy.withdrawn_at.is_(None))
"""A project finds nothing of a study before it has names for it; who gives them writes the rows.
Nor does it find anything of one that was withdrawn from it."""
_OWN = ("study_id", "is_current", "study_version", "study_date", "truth")
_CHANGED = "study.answers_changed"
_TOLD = ("is_current", "study_version", "truth")
"""What an export as of an earlier day has to know as it was."""


def lock_studies(session: Session, study_ids: Collection[int]) -> None:
    """Lock studies, in order: nobody gives them another version meanwhile."""
    _lock(session, Study, study_ids)


def lock_patients(session: Session, patient_ids: Select[Any]) -> None:
    """Lock patients, in order: nothing is stated of them meanwhile, and no plan reads what is.

    Whoever locks both locks patients before studies.
    """
    # Studies may be added meanwhile: they have no plan before it reads what was stated.
    _lock(session, Patient, patient_ids)


def _lock(
    session: Session, table: type[Patient | Study], ids: Collection[int] | Select[Any]
) -> None:
    if session.get_bind().dialect.name == "sqlite":
        return  # whoever writes has the whole file
    # Rows that refer to these may be added meanwhile: their keys do not change.
    session.execute(
        select(table.id).where(table.id.in_(ids)).order_by(table.id).with_for_update(key_share=True)
    )


def lock_study_of_rendering(session: Session, rendering_id: int) -> None:
    """Lock a rendering's study, before the rendering: whoever plans takes them in this order."""
    ids = session.scalars(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .join(Rendering, Rendering.instance_id == Instance.id)
        .where(Rendering.id == rendering_id)
    ).all()
    lock_studies(session, ids)


def add_facets(session: Session, answer_ids: Collection[int]) -> None:
    """Write the facets of answers that were just stored; their studies are locked already."""
    if not answer_ids:
        return
    # Nearly always every combination is known, and one statement does.
    written = Counter(_add_with_known_combinations(session, answer_ids))
    complete = {answer_id for (answer_id, uses), number in written.items() if number == uses}
    if incomplete := set(answer_ids) - complete:
        _write(session, _BY_ANSWER, incomplete)


def _add_with_known_combinations(
    session: Session, answer_ids: Collection[int]
) -> list[tuple[int, int]]:
    """Write what needs no new combination.

    Returns
    -------
    list
        For each row its answer, and in how many projects the answer's study has its pseudonyms.
    """
    connection = session.connection()
    statement = _add_statement(connection.dialect)
    if connection.dialect.name == "sqlite":
        ids: Any = json.dumps(list(answer_ids))
    else:
        ids = list(answer_ids)
        # Planned once a connection: that takes ten times as long as to run it.
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    return [(row[0], row[1]) for row in connection.exec_driver_sql(statement, (ids,))]


@cache
def _add_statement(dialect: Dialect) -> str:
    """Return the statement as text, with one parameter: the ids, as an array or a JSON list."""
    is_sqlite = dialect.name == "sqlite"
    # ANY: the planner takes an array that it does not see for a handful.
    among = Answer.id.bool_op("IN" if is_sqlite else "= ANY")
    values = _values(among(literal_column("(THESE)"))).subquery()
    rows = (
        select(
            values.c.project_id,
            values.c.answer_id,
            *(values.c[name] for name in _OWN),
            AnswerOutcome.id,
            AnswerOrigin.id,
        )
        .join(AnswerOutcome, _equal(AnswerOutcome, OUTCOME, values))
        .join(AnswerOrigin, _equal(AnswerOrigin, ORIGIN, values))
        .where(values.c.has_outcome_id.is_(None))
    )
    columns = ("project_id", "answer_id", *_OWN, "outcome_id", "origin_id")
    insert = sql_insert(AnswerFacet).from_select(columns, rows)
    uses = (
        select(func.count())
        # As text: in RETURNING, SQLAlchemy would not take it for the row that was written.
        .where(ProjectStudy.study_id == literal_column("answer_facet.study_id"), _IS_KNOWN)
        .scalar_subquery()
    )
    compiled = insert.returning(AnswerFacet.answer_id, uses).compile(
        dialect=dialect, compile_kwargs={"literal_binds": True}
    )
    these = "SELECT value FROM json_each(?)" if is_sqlite else "%s::bigint[]"
    return str(compiled).replace("(THESE)", f"({these})")


def refresh_facets(session: Session, *study_ids: int) -> None:
    """Write the facets of studies' answers as they are now: of new ones, and of changed ones."""
    lock_studies(session, study_ids)
    session.flush()
    _write(session, _BY_STUDY, study_ids)


def refresh_many(session: Session, study_ids: Collection[int]) -> None:
    """Do as `refresh_facets` for more studies than one statement takes; they are locked."""
    session.flush()
    chunks = list(iterate_chunks(study_ids))
    if len(chunks) > 1:
        # All at once, in one order: chunk by chunk, two who add the same ones could wait for each
        # other.
        outcomes: set[tuple[Any, ...]] = set()
        origins: set[tuple[Any, ...]] = set()
        for chunk in chunks:
            for row in session.execute(_BY_STUDY, {"ids": list(chunk)}):
                outcomes.add(_key(row, OUTCOME))
                origins.add(_key(row, ORIGIN))
        _ids_of(session, AnswerOutcome, OUTCOME, outcomes)
        _ids_of(session, AnswerOrigin, ORIGIN, origins)
    for chunk in chunks:
        _write(session, _BY_STUDY, chunk)


def fill_truths(session: Session) -> None:
    """Write the truths of answers into narrow rows that an earlier schema made without."""
    truth = (
        select(newest_truth())
        .select_from(Answer)
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .where(Answer.id == AnswerFacet.answer_id)
        .correlate(AnswerFacet)
        .scalar_subquery()
    )
    session.execute(
        update(AnswerFacet).values(truth=truth).execution_options(synchronize_session=False)
    )


def list_faults(session: Session, *, newest: int | None = None) -> list[int]:
    """Return the studies with an answer, of all or the newest, whose narrow row says something
    else."""
    since = None
    if newest is not None:
        since = session.scalar(select(Answer.id).order_by(Answer.id.desc()).offset(newest).limit(1))
    values = _values(Answer.id > (since or 0)).subquery()
    wrong = (
        select(values.c.study_id)
        .outerjoin(AnswerOutcome, AnswerOutcome.id == values.c.has_outcome_id)
        .outerjoin(AnswerOrigin, AnswerOrigin.id == values.c.has_origin_id)
        .where(
            or_(
                values.c.has_outcome_id.is_(None),
                *(values.c[f"has_{name}"].is_distinct_from(values.c[name]) for name in _OWN),
                *(
                    getattr(table, name).is_distinct_from(values.c[name])
                    for table, names in ((AnswerOutcome, OUTCOME), (AnswerOrigin, ORIGIN))
                    for name in names
                ),
            )
        )
        .distinct()
    )
    return list(session.scalars(wrong))


def _write(session: Session, statement: Select[Any], ids: Collection[int]) -> None:
    found = session.execute(statement, {"ids": list(ids)}).all()
    outcomes = _ids_of(session, AnswerOutcome, OUTCOME, {_key(row, OUTCOME) for row in found})
    origins = _ids_of(session, AnswerOrigin, ORIGIN, {_key(row, ORIGIN) for row in found})
    changed = []
    was: dict[tuple[int, int], dict[int, JsonObject]] = {}
    for row in found:
        outcome_id, origin_id = outcomes[_key(row, OUTCOME)], origins[_key(row, ORIGIN)]
        own = {name: getattr(row, name) for name in _OWN}
        has = {name: getattr(row, f"has_{name}") for name in _OWN}
        if row.has_outcome_id is not None:
            past = {name: has[name] for name in _TOLD if has[name] != own[name]}
            if past:
                was.setdefault((row.study_id, row.project_id), {})[row.answer_id] = past
        if (has, row.has_outcome_id, row.has_origin_id) != (own, outcome_id, origin_id):
            changed.append(
                own
                | {"project_id": row.project_id, "answer_id": row.answer_id}
                | {"outcome_id": outcome_id, "origin_id": origin_id}
            )
    for (study_id, project_id), values in sorted(was.items()):
        keep_past(session, _CHANGED, study_id, "answer", values, project_id=project_id)
    if changed:
        insert = insert_into(session, AnswerFacet)
        written = {name: insert.excluded[name] for name in (*_OWN, "outcome_id", "origin_id")}
        session.execute(
            insert.on_conflict_do_update(index_elements=["project_id", "answer_id"], set_=written),
            changed,
        )


_known: WeakKeyDictionary[Any, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""Engine -> (table, combination) -> id. Combinations stay for ever, and nearly all are known."""


def _ids_of(
    session: Session,
    table: type[AnswerOutcome] | type[AnswerOrigin],
    names: Sequence[str],
    combinations: Collection[tuple[Any, ...]],
) -> dict[tuple[Any, ...], int]:
    """Return combination -> id of its row, which is added where there is none."""
    known = _known.setdefault(session.get_bind().engine, {})
    ids = {}
    new = {}
    # In order: two workers who meet the same ones for the first time wait for each other in turn.
    for combination in sorted(combinations):
        known_id = known.get((table, *combination))
        if known_id is None:
            known_id = new[table, *combination] = _find_or_add(session, table, names, combination)
        ids[combination] = known_id
    if new:
        # Not before: what is rolled back was never there.
        event.listen(session, "after_commit", lambda _: known.update(new), once=True)
    return ids


def _find_or_add(
    session: Session,
    table: type[AnswerOutcome] | type[AnswerOrigin],
    names: Sequence[str],
    combination: tuple[Any, ...],
) -> int:
    values = dict(zip(names, combination, strict=True))
    find = select(table.id).filter_by(**values)
    if (found := session.scalar(find)) is not None:
        return found
    session.execute(insert_into(session, table).values(**values).on_conflict_do_nothing())
    return session.scalars(find).one()


def _equal(
    table: type[AnswerOutcome] | type[AnswerOrigin], names: Sequence[str], values: Any
) -> ColumnElement[bool]:
    return and_(*(getattr(table, name) == values.c[name] for name in names))


def _key(row: Any, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


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


def find_truth(instance_id: Any, question_id: Any) -> Select[Any]:
    """Build the truth of a question for an instance; None, or no row: none is known.

    Of what no later version supersedes the narrowest, then the most certain, then the last one.
    """
    return (
        select(ReferenceStandard.truth)
        .where(
            ReferenceStandard.instance_id == instance_id,
            ReferenceStandard.question_id == question_id,
            ReferenceStandard.superseded_at.is_(None),
        )
        .order_by(
            _place(ReferenceStandard.unit, tuple(map(TruthUnit, UNITS))),
            _place(ReferenceStandard.certainty, tuple(map(Certainty, CERTAINTIES))),
            ReferenceStandard.id.desc(),
        )
        .limit(1)
    )


def _place(column: Any, order: Sequence[Any]) -> ColumnElement[int]:
    """Build the place of a value in an order; what is not in it comes last."""
    places = ((column == value, place) for place, value in enumerate(order))
    return case(*places, else_=len(order))


def newest_truth() -> Any:
    """Build the truth of a prompt's question for its instance."""
    found = find_truth(Rendering.instance_id, Prompt.question_id)
    return found.correlate(Rendering, Prompt).scalar_subquery()


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
            AnswerFacet.outcome_id.label("has_outcome_id"),
            AnswerFacet.origin_id.label("has_origin_id"),
            *(getattr(AnswerFacet, name).label(f"has_{name}") for name in _OWN),
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
        .outerjoin(
            AnswerFacet,
            and_(
                AnswerFacet.project_id == ProjectStudy.project_id,
                AnswerFacet.answer_id == Answer.id,
            ),
        )
        .where(which, _IS_KNOWN)
        .subquery()
    )
    correctness = case(
        (found.c.truth.is_(None), Correctness.UNKNOWN.value),
        (found.c.choice_text == found.c.truth, Correctness.RIGHT.value),
        else_=Correctness.WRONG.value,
    )
    is_current = func.coalesce(found.c.study_version == found.c.current_version, literal(False))
    return select(
        *(each for each in found.c if each.name != "choice_text"),
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


_IDS: Any = bindparam("ids", expanding=True)
# Built once: to build one takes longer than to run it.
_BY_ANSWER = _values(Answer.id.in_(_IDS))
_BY_STUDY = _values(Study.id.in_(_IDS))
