"""Answers as research finds them: filtered over narrow rows, then read whole, a page at a time.

    AnswerFilters -> narrow rows of one project -> answer ids -> ResearchAnswer

Every function takes the project; what is not in it is not found. Nothing here needs the site key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    any_,
    case,
    column,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOrigin,
    AnswerOutcome,
    AuditEvent,
    Checkpoint,
    Generation,
    Instance,
    Patient,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Prompt,
    Question,
    Rendering,
    Series,
    Study,
)
from medr1_pacs.disclosure import AGE_MAX, shown_age, shown_moment
from medr1_pacs.errors import AnswerNotFound
from medr1_pacs.filters import UNKNOWN, AnswerFilters, Demo, Versions
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.reading import Reading
from medr1_pacs.records.research import FIELDS, Count, FacetCounts, Page, ResearchAnswer
from medr1_pacs.records.words import DatePolicy, PromptKind

WORD_HITS_MAX = 10_000
"""Hits of a search for words after which counting stops."""
_CHUNK = 1_000
_WINDOWS = (5_000,)
"""Rows among which a page is looked for first."""
_WINDOWS_WITH_WORDS = (1_000, 4_000)
"""The same where each row's words are looked at, which takes longer."""

_YEAR = len("2024")

OUTCOME_OF = {
    "question": "question_id",
    "task": "task",
    "checkpoint": "checkpoint",
    "choice": "choice",
    "parse_status": "parse_status",
    "coverage": "coverage",
    "truth": "correctness",
}
ORIGIN_OF = {
    "modality": "modality",
    "anatomy": "anatomy",
    "scanner": "scanner_key",
    "sex": "sex",
    "age_band": "age_band",
    "year": "study_year",
}


def find_page(
    session: Session,
    project: str,
    filters: AnswerFilters,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
    from_the_end: bool = False,
) -> Page:
    """Return a page of answers, the newest first.

    Parameters
    ----------
    before
        Only answers with a lower id: the page that follows one that ended with it.
    after
        Only answers with a higher id, those next to it: the page that came before.
    from_the_end
        The last page: the oldest answers.
    """
    is_upward = from_the_end or after is not None
    bounds = []
    if before is not None:
        bounds.append(AnswerFacet.answer_id < before)
    if after is not None:
        bounds.append(AnswerFacet.answer_id > after)
    found = _next_ids(session, project, filters, bounds, limit=limit + 1, is_upward=is_upward)
    has_more, ids = len(found) > limit, sorted(found[:limit], reverse=True)
    answers = tuple(reversed(read_answers(session, project, ids)))
    if from_the_end:
        return Page(answers, has_newer=has_more, has_older=False)
    if after is not None:
        return Page(answers, has_newer=has_more, has_older=True)
    return Page(answers, has_newer=before is not None, has_older=has_more)


def iterate_found(
    database: Database, project: str, filters: AnswerFilters
) -> Iterator[ResearchAnswer]:
    """Yield all answers that are found, the oldest first; each thousand in a transaction of its
    own, so that a reader who takes hours holds nothing up."""
    after: int | None = 0
    while after is not None:
        with database.read() as session:
            answers, after = find_next(session, project, filters, after=after, limit=_CHUNK)
        yield from answers


def iterate_found_at_once(
    database: Database, project: str, filters: AnswerFilters
) -> Iterator[ResearchAnswer]:
    """As `iterate_found`, but all as they are at one moment."""
    with database.read() as session:
        if not database.is_sqlite:  # whose reads see one moment anyway
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        after: int | None = 0
        while after is not None:
            answers, after = find_next(session, project, filters, after=after, limit=_CHUNK)
            yield from answers


def find_next(
    session: Session, project: str, filters: AnswerFilters, *, after: int, limit: int
) -> tuple[list[ResearchAnswer], int | None]:
    """Return the answers that follow an id, the oldest first, and the id that the next ones follow;
    None: there are no more."""
    bounds = [AnswerFacet.answer_id > after]
    ids = _next_ids(session, project, filters, bounds, limit=limit + 1, is_upward=True)
    answers = read_answers(session, project, ids[:limit])
    return answers, ids[limit - 1] if len(ids) > limit else None


def get_research_answer(session: Session, project: str, answer_id: int) -> ResearchAnswer:
    """Return one answer of a project.

    Raises
    ------
    AnswerNotFound
        The project has none with this id.
    """
    for answer in read_answers(session, project, [answer_id]):
        return answer
    raise AnswerNotFound(f"the project {project} has no answer {answer_id}")


def count_found(session: Session, project: str, filters: AnswerFilters) -> Count:
    """Return how many answers are found."""
    narrow = narrow_rows(session, project, filters)
    if filters.word_list:
        narrow = narrow.limit(WORD_HITS_MAX + 1)
    number = session.scalar(select(func.count()).select_from(narrow.subquery())) or 0
    return _capped(number, filters)


def count_facets(session: Session, project: str, filters: AnswerFilters) -> FacetCounts:
    """Return how many of the found answers have each value of each facet: one pass over numbers,
    then sums over the few combinations of values that there are."""
    narrow = narrow_rows(session, project, filters)
    if filters.word_list:
        narrow = narrow.limit(WORD_HITS_MAX + 1)
    hits = narrow.subquery()
    pairs = (
        select(hits.c.outcome_id, hits.c.origin_id, func.count().label("n"))
        .group_by(hits.c.outcome_id, hits.c.origin_id)
        .cte("pairs")
    )
    by_outcome = (
        select(pairs.c.outcome_id, func.sum(pairs.c.n).label("n"))
        .group_by(pairs.c.outcome_id)
        .cte("by_outcome")
    )
    by_origin = (
        select(pairs.c.origin_id, func.sum(pairs.c.n).label("n"))
        .group_by(pairs.c.origin_id)
        .cte("by_origin")
    )
    sums: list[Any] = []
    for facet, name in OUTCOME_OF.items():
        value = getattr(AnswerOutcome, name)
        sums.append(
            select(literal(facet), _as_text(value), func.sum(by_outcome.c.n))
            .join(AnswerOutcome, AnswerOutcome.id == by_outcome.c.outcome_id)
            .group_by(value)
        )
    for facet, name in ORIGIN_OF.items():
        value = getattr(AnswerOrigin, name)
        sums.append(
            select(literal(facet), _as_text(value), func.sum(by_origin.c.n))
            .join(AnswerOrigin, AnswerOrigin.id == by_origin.c.origin_id)
            .group_by(value)
        )
    values: dict[str, list[tuple[str, int]]] = {name: [] for name in (*ORIGIN_OF, *OUTCOME_OF)}
    for facet, value, number in session.execute(union_all(*sums)):
        values[facet].append((value, int(number)))
    for found in values.values():
        found.sort(key=lambda pair: (-pair[1], pair[0]))
    # Every answer has one choice, or an empty one.
    total = sum(number for _, number in values["choice"])
    return FacetCounts(_capped(total, filters), values)


def list_history(session: Session, answer_id: int) -> list[str]:
    """Return what happened to an answer and what it was made from, the first first.

    The actions alone: a time would give a study's date away that a project does not show, and so
    would a reason that names a stored file, which is named by when it was received. Events of its
    study are left out, and who looked at it.
    """
    made_from = session.execute(
        select(Answer.generation_id, Generation.prompt_id, Prompt.rendering_id)
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Answer.id == answer_id)
    ).one()
    objects = {
        "answer": answer_id,
        "generation": made_from.generation_id,
        "prompt": made_from.prompt_id,
        "rendering": made_from.rendering_id,
    }
    rows = session.scalars(
        select(AuditEvent.action)
        .where(
            or_(
                *(
                    and_(AuditEvent.object_type == kind, AuditEvent.object_id == row_id)
                    for kind, row_id in objects.items()
                )
            ),
            AuditEvent.action.not_in([*Reading]),
        )
        .order_by(AuditEvent.id)
    )
    return list(rows)


def read_answers(
    session: Session, project: str, answer_ids: Collection[int]
) -> list[ResearchAnswer]:
    """Return answers of a project by their ids, in the order of these."""
    if not answer_ids:
        return []
    wide = wide_answers(project).where(AnswerFacet.answer_id.in_(answer_ids))
    return [_answer(row) for row in session.execute(wide.order_by(AnswerFacet.answer_id))]


def wide_answers(project: str) -> Select[Any]:
    """Build the whole answers of a project, `_answer` makes some columns presentable."""
    more = {
        "answered_at": Answer.answered_at,
        "dates": Project.dates,
    }
    return joined_answers(project, answer_columns() | more)


def answers_as_shown(project: str) -> Select[Any]:
    """Build what PostgreSQL itself can show of a project: the same fields in the same order."""
    columns = answer_columns()
    truth = columns["truth"]
    derived = {
        "age_years": case((Study.age_years <= AGE_MAX, Study.age_years)),
        "is_correct": case(
            (truth.is_(None), null()), else_=func.coalesce(Answer.choice_text == truth, False)
        ),
        "answered_on": case(
            (
                Project.dates == DatePolicy.YEAR,
                func.to_char(func.timezone("UTC", Answer.answered_at), "YYYY"),
            )
        ),
    }
    every = columns | derived
    return joined_answers(project, {name: every[name] for name in FIELDS}).where(
        AnswerFacet.is_current,
        Prompt.kind == PromptKind.PROTOCOL,
        Checkpoint.is_demo.is_(False),
    )


def answer_columns() -> dict[str, Any]:
    """Return field -> what it is read from, but for those that are derived."""
    return {
        "answer_id": AnswerFacet.answer_id,
        "project": Project.name,
        "kind": Prompt.kind,
        "run": Generation.run,
        "is_demo": Checkpoint.is_demo,
        "is_current": AnswerFacet.is_current,
        "study_version": AnswerFacet.study_version,
        "patient_pseudonym": ProjectStudy.patient_pseudonym,
        "study_instance_uid": ProjectStudy.pseudonymous_uid,
        "series_instance_uid": ProjectSeries.pseudonymous_uid,
        "sop_instance_uid": ProjectInstance.pseudonymous_uid,
        "frame_number": Rendering.frame_number,
        "study_date": AnswerFacet.study_date,
        "sex": Patient.sex,
        "age_years": Study.age_years,
        "age_band": AnswerOrigin.age_band,
        "modality": Series.route_modality,
        "anatomy": Series.anatomy,
        "plane": Series.plane,
        "weighting": Series.weighting,
        "stain": Series.stain,
        "scanner_key": Series.scanner_key,
        "manufacturer": Series.manufacturer,
        "manufacturer_model_name": Series.manufacturer_model_name,
        "kvp": Series.kvp,
        "slice_thickness_mm": Series.slice_thickness_mm,
        "coverage": Prompt.coverage,
        "window_center": Rendering.window_center,
        "window_width": Rendering.window_width,
        "window_source": Rendering.window_source,
        "png_sha256": Generation.png_sha256,
        "pixels_sha256": Rendering.pixels_sha256,
        "question_id": Question.question_id,
        "question_version": Question.version,
        "question_sha256": Question.question_sha256,
        "task": Question.task,
        "options": Prompt.options,
        "option_order": Prompt.option_order,
        "prompt_text": Prompt.prompt_text,
        "chat_text": Generation.chat_text,
        "requested_checkpoint": Prompt.requested_checkpoint,
        "checkpoint": Checkpoint.name,
        "checkpoint_revision": Checkpoint.revision,
        "checkpoint_sha256": Checkpoint.sha256,
        "engine": Generation.engine,
        "versions": Generation.versions,
        "dtype": Generation.dtype,
        "attention": Generation.attention,
        "decoding": Prompt.decoding,
        "raw_output": Generation.raw_output,
        "finish_reason": Generation.finish_reason,
        "prompt_tokens": Generation.prompt_tokens,
        "completion_tokens": Generation.completion_tokens,
        "reasoning": Answer.reasoning,
        "choice": Answer.choice,
        "choice_text": Answer.choice_text,
        "parse_status": Answer.parse_status,
        "truth": AnswerFacet.truth,
        "seconds": Generation.seconds,
    }


def joined_answers(project: str, columns: dict[str, Any]) -> Select[Any]:
    """Build these columns of the whole answers of a project."""
    return (
        select(*(value.label(name) for name, value in columns.items()))
        .select_from(AnswerFacet)
        .join(Project, AnswerFacet.project_id == Project.id)
        .join(AnswerOrigin, AnswerFacet.origin_id == AnswerOrigin.id)
        .join(Answer, AnswerFacet.answer_id == Answer.id)
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Question, Prompt.question_id == Question.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .join(Patient, Study.patient_id == Patient.id)
        .join(Checkpoint, Generation.checkpoint_id == Checkpoint.id)
        .join(ProjectStudy, _of_project(ProjectStudy, ProjectStudy.study_id == Study.id))
        .join(ProjectSeries, _of_project(ProjectSeries, ProjectSeries.series_id == Series.id))
        .join(
            ProjectInstance,
            _of_project(ProjectInstance, ProjectInstance.instance_id == Instance.id),
        )
        .where(Project.name == project)
    )


def _of_project(table: Any, same: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(table.project_id == AnswerFacet.project_id, same)


def _answer(row: Any) -> ResearchAnswer:
    values = dict(row._mapping)
    age, truth = values.pop("age_years"), values["truth"]
    policy = values.pop("dates")
    return ResearchAnswer(
        **values
        | {
            "options": tuple(values["options"]),
            "option_order": tuple(values["option_order"]),
            "decoding": Decoding.from_json(values["decoding"]),
            "age_years": shown_age(age),
            "is_correct": None if truth is None else values["choice_text"] == truth,
            "answered_on": shown_moment(values.pop("answered_at"), policy),
        }
    )


def _next_ids(
    session: Session,
    project: str,
    filters: AnswerFilters,
    bounds: Sequence[ColumnElement[bool]],
    *,
    limit: int,
    is_upward: bool,
) -> Sequence[int]:
    """Return the ids of the next answers in their order.

    Looked for among the nearest rows first: where what is found is frequent, they have enough of
    it. Where it is rare, all of it is collected and put in order, since going through the rows one
    by one would go through all. A database's planner cannot tell the two apart: it takes filters
    for independent of each other, and of the order.
    """
    conditions = _conditions(session, project, filters)
    if conditions is None:
        return []
    if filters.since or filters.until:
        bounds = [*bounds, *_begin_at_date(session, conditions, is_upward)]
    order = AnswerFacet.answer_id if is_upward else AnswerFacet.answer_id.desc()
    for window in _WINDOWS_WITH_WORDS if filters.word_list else _WINDOWS:
        near = (
            select(AnswerFacet)
            .where(AnswerFacet.project_id == conditions.project_id, *bounds)
            .order_by(order)
            .limit(window)
            .cte("near")
        )
        row = aliased(AnswerFacet, near)
        near_order = row.answer_id if is_upward else row.answer_id.desc()
        found = session.scalars(
            select(row.answer_id)
            .where(*conditions.of(row, is_near=True))
            .order_by(near_order)
            .limit(limit)
        ).all()
        if len(found) == limit:
            return found
    unindexed = AnswerFacet.answer_id + 0
    return session.scalars(
        select(AnswerFacet.answer_id)
        .where(*conditions.of(AnswerFacet), *bounds)
        .order_by(unindexed if is_upward else unindexed.desc())
        .limit(limit)
    ).all()


def _begin_at_date(
    session: Session, conditions: _Conditions, is_upward: bool
) -> list[ColumnElement[bool]]:
    """Build the bound from which answers about studies of the wanted dates begin.

    Studies mostly come in the order of their dates: without it all of the others would be walked
    through first.
    """
    filters, shown = conditions.filters, AnswerFacet.study_date
    dated = [AnswerFacet.project_id == conditions.project_id]
    if filters.since:
        dated.append(shown >= filters.since[:_YEAR])
    if filters.until:
        # No day of a year sorts behind the next year, in any collation.
        dated.append(shown < f"{min(int(filters.until[:_YEAR]) + 1, 9999):04}")
    end = func.min if is_upward else func.max
    # Unindexed: else PostgreSQL walks through the others by their ids, to find the first.
    first = session.scalar(select(end(AnswerFacet.answer_id + 0)).where(*dated))
    if first is None:
        return [false()]
    return [AnswerFacet.answer_id >= first if is_upward else AnswerFacet.answer_id <= first]


def narrow_rows(
    session: Session, project: str, filters: AnswerFilters, *more: ColumnElement[Any]
) -> Select[Any]:
    """Build the narrow rows that filters mean: what an index has of them, and more columns."""
    columns: list[Any] = [AnswerFacet.answer_id, AnswerFacet.outcome_id, AnswerFacet.origin_id]
    conditions = _conditions(session, project, filters)
    found = conditions.of(AnswerFacet) if conditions else [false()]
    return select(*columns, *more).where(*found)


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What narrow rows must fulfil."""

    session: Session
    project_id: int
    filters: AnswerFilters
    outcome_ids: Sequence[int]
    """Of the outcomes that are meant: so few that PostgreSQL's planner may see them one by one."""

    def of(self, row: Any, *, is_near: bool = False) -> list[ColumnElement[bool]]:
        """Return the conditions on a table of narrow rows, or on the few nearest of them."""
        filters = self.filters
        conditions = [row.project_id == self.project_id, self._has_outcome(row.outcome_id)]
        if filters.versions == Versions.CURRENT:
            conditions.append(row.is_current)
        if origin := _origin(filters):
            conditions.append(row.origin_id.in_(select(AnswerOrigin.id).where(*origin)))
        # The origin knows the year; only a month or a day is asked of the row.
        if len(filters.since) > _YEAR:
            since = func.substr(filters.since, 1, func.length(row.study_date))
            conditions.append(row.study_date >= since)
        if len(filters.until) > _YEAR:
            until = func.substr(row.study_date, 1, len(filters.until))
            conditions.append(until <= filters.until)
        uses = select(ProjectStudy.study_id).where(ProjectStudy.project_id == self.project_id)
        if filters.patient:
            of_patient = uses.where(ProjectStudy.patient_pseudonym == filters.patient)
            conditions.append(row.study_id.in_(of_patient))
        if filters.study:
            of_study = uses.where(ProjectStudy.pseudonymous_uid == filters.study)
            conditions.append(row.study_id.in_(of_study))
        if filters.word_list:
            conditions.append(self._has_words(row, is_near))
        return conditions

    def _has_words(self, row: Any, is_near: bool) -> ColumnElement[bool]:
        """Build the search by the index that the database keeps; see the migration."""
        words = self.filters.word_list
        condition: ColumnElement[bool]
        if self._is_sqlite:
            # In quotes a word is no operator of FTS5.
            hits = text("SELECT rowid FROM answer_words WHERE answer_words MATCH :words")
            quoted = hits.bindparams(words=" ".join(f'"{word}"' for word in words))
            condition = row.answer_id.in_(quoted.columns(column("rowid")))
            return condition
        # Cut as the index is, so that one locale decides what belongs to a word.
        cut = func.regexp_replace(" ".join(words), r"[\W_]+", " ", "g")
        wanted = func.plainto_tsquery(literal_column("'simple'"), cut)
        matches = literal_column("answer.reasoning_words").op("@@")(wanted)
        if is_near:  # row by row, whatever a planner thinks of the index
            condition = select(matches).where(Answer.id == row.answer_id).scalar_subquery()
        else:
            condition = row.answer_id.in_(select(Answer.id).where(matches))
        return condition

    @property
    def _is_sqlite(self) -> bool:
        return self.session.get_bind().dialect.name == "sqlite"

    def _has_outcome(self, outcome_id: Any) -> ColumnElement[bool]:
        condition: ColumnElement[bool]
        if self._is_sqlite:
            meant = select(AnswerOutcome.id).where(*_outcome(self.filters))
            condition = outcome_id.in_(meant)
        else:
            ids = literal(list(self.outcome_ids), ARRAY(BigInteger))
            condition = outcome_id == any_(ids)
        return condition


def _conditions(session: Session, project: str, filters: AnswerFilters) -> _Conditions | None:
    """Look up what filters mean; None: nothing has such values."""
    project_id = session.scalar(select(Project.id).where(Project.name == project))
    outcome_ids = session.scalars(select(AnswerOutcome.id).where(*_outcome(filters))).all()
    if project_id is None or not outcome_ids:
        return None
    origin = _origin(filters)
    if origin and session.scalar(select(AnswerOrigin.id).where(*origin).limit(1)) is None:
        return None
    return _Conditions(session, project_id, filters, outcome_ids)


def _outcome(filters: AnswerFilters) -> list[ColumnElement[bool]]:
    conditions = [
        _is_one_of(getattr(AnswerOutcome, name), getattr(filters, facet))
        for facet, name in OUTCOME_OF.items()
        if facet != "truth" and getattr(filters, facet)
    ]
    if filters.correctness:
        conditions.append(AnswerOutcome.correctness.in_(filters.correctness))
    if filters.kind:
        conditions.append(AnswerOutcome.kind.in_(filters.kind))
    if filters.demo != Demo.YES:
        conditions.append(AnswerOutcome.is_demo.is_(filters.demo == Demo.ONLY))
    return conditions


def _origin(filters: AnswerFilters) -> list[ColumnElement[bool]]:
    conditions = [
        _is_one_of(getattr(AnswerOrigin, name), getattr(filters, facet))
        for facet, name in ORIGIN_OF.items()
        if getattr(filters, facet)
    ]
    if filters.since:
        conditions.append(AnswerOrigin.study_year >= filters.since[:_YEAR])
    if filters.until:
        conditions.append(AnswerOrigin.study_year <= filters.until[:_YEAR])
        conditions.append(AnswerOrigin.study_year != "")
    return conditions


def _is_one_of(column: Any, values: Sequence[str]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = column.in_(["" if v == UNKNOWN else v for v in values])
    return condition


def _as_text(value: Any) -> ColumnElement[str]:
    return func.coalesce(value, literal_column("''")).label("value")


def _capped(number: int, filters: AnswerFilters) -> Count:
    if filters.word_list and number > WORD_HITS_MAX:
        return Count(WORD_HITS_MAX, is_at_least=True)
    return Count(number)
