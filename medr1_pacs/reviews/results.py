"""What a reading protocol comes to, question by question.

A share over several questions rarely means anything.

    cases with all that was said of them -> what counts -> figures, matrices, curves

Every figure is of one condition, or compares two by name: no two arms or phases are put together.
Evaluated are cases of the kind `case`, and reads that are done; controls are reported apart,
practice never, and repeats are compared with what their reader said before. The truth of a case is
the one that was frozen when the protocol started, whatever was brought since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medr1_pacs.records.judged import JudgedCase, JudgedProtocol
from medr1_pacs.records.review_words import Arm, CaseKind
from medr1_pacs.reviews.agreeing import (
    Matrix,
    count_confusions,
    estimate_agreement,
    estimate_repeats,
    estimate_upholding,
    list_cells,
)
from medr1_pacs.reviews.changes import ChangeCounts, count_changes, estimate_changes
from medr1_pacs.reviews.checkpoints import (
    CheckpointCases,
    count_checkpoints,
    warn_of_checkpoints,
)
from medr1_pacs.reviews.curves import Curve, estimate_areas, list_curves
from medr1_pacs.reviews.figures import Condition, Figure
from medr1_pacs.reviews.notes import Notes, make_notes
from medr1_pacs.reviews.phases import adjudicated_phase
from medr1_pacs.reviews.readings import (
    list_conditions,
    list_readings,
    readers_of,
)
from medr1_pacs.reviews.rightness import estimate_controls, estimate_rightness
from medr1_pacs.reviews.times import estimate_times


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """The cases under a question."""

    evaluated: int
    unknown_truth: int
    """Of these, those whose truth is not known: in no figure against the truth."""
    patients: int
    """Whose the evaluated ones are."""
    controls: int
    practice: int
    withdrawn: int
    unanswered: int
    """Of the evaluated ones, those that no model answered."""
    unfinished_reads: int
    """Reads of which a phase is locked and another is not, controls too: they count nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionResults:
    """What the cases under a question come to."""

    question_id: str
    question_version: int
    options: Sequence[str]
    positive: Sequence[str]
    is_grade: bool
    conditions: Sequence[Condition]
    readers: Sequence[str]
    cases: CaseCounts
    checkpoints: Sequence[CheckpointCases]
    """That answered the evaluated cases."""
    figures: Sequence[Figure]
    notes: Notes
    """What is said of them, and of the cells of the matrices."""
    matrices: Sequence[Matrix]
    changes: Sequence[ChangeCounts]
    curves: Sequence[Curve]

    def list_all(self) -> Iterator[Figure]:
        """Yield every number: the figures, and the cells of the confusion matrices."""
        yield from self.figures
        for matrix in self.matrices:
            yield from self.notes.note(list_cells(self.question_id, self.options, matrix))


@dataclass(frozen=True, slots=True)
class ProtocolResults:
    """What a reading protocol comes to."""

    questions: Sequence[QuestionResults]

    def list_all(self) -> Iterator[Figure]:
        """Yield every number of every question."""
        for question in self.questions:
            yield from question.list_all()


def compute_results(protocol: JudgedProtocol) -> ProtocolResults:
    """Return what a protocol comes to so far."""
    keys = sorted({(case.question_id, case.question_version) for case in protocol.cases})
    return ProtocolResults(
        tuple(
            _results(
                [c for c in protocol.cases if (c.question_id, c.question_version) == key],
                protocol.arms,
            )
            for key in keys
        )
    )


def _results(cases: Sequence[JudgedCase], arms: Sequence[Arm]) -> QuestionResults:
    first = cases[0]
    question, is_grade = first.question_id, first.is_grade
    conditions = list_conditions(
        [case for case in cases if case.kind is not CaseKind.PRACTICE and not case.is_withdrawn],
        arms,
    )
    evaluated = [case for case in cases if case.is_evaluated]
    readings = list_readings(cases, conditions)
    controls = list_readings(cases, conditions, case_kind=CaseKind.CONTROL)
    checkpoints = count_checkpoints(evaluated)
    notes = make_notes(arms, readings, warn_of_checkpoints(checkpoints))
    of_control_cases = count_checkpoints(
        case for case in cases if case.kind is CaseKind.CONTROL and not case.is_withdrawn
    )
    control_notes = make_notes(arms, controls, warn_of_checkpoints(of_control_cases))
    figures = (
        *estimate_rightness(question, evaluated, readings, conditions),
        *estimate_areas(question, evaluated, readings, conditions),
        *estimate_agreement(question, is_grade, readings, conditions),
        *estimate_repeats(question, is_grade, evaluated, conditions),
        *estimate_upholding(question, evaluated, readings, adjudicated_phase(arms)),
        *estimate_changes(question, readings, conditions),
        *estimate_times(question, readings, conditions),
    )
    of_controls = estimate_controls(question, controls, conditions)
    return QuestionResults(
        question_id=question,
        question_version=first.question_version,
        options=first.options,
        positive=first.positive,
        is_grade=is_grade,
        conditions=conditions,
        readers=readers_of(readings),
        cases=_count(cases, evaluated),
        checkpoints=checkpoints,
        figures=(*notes.note(figures), *control_notes.note(of_controls)),
        notes=notes,
        matrices=tuple(count_confusions(evaluated, readings, conditions)),
        changes=tuple(count_changes(readings, conditions)),
        curves=tuple(list_curves(evaluated, readings, conditions)),
    )


def _count(cases: Sequence[JudgedCase], evaluated: Sequence[JudgedCase]) -> CaseCounts:
    there = [case for case in cases if not case.is_withdrawn]
    return CaseCounts(
        evaluated=len(evaluated),
        unknown_truth=sum(case.truth is None for case in evaluated),
        patients=len({case.patient for case in evaluated}),
        controls=sum(case.kind is CaseKind.CONTROL for case in there),
        practice=sum(case.kind is CaseKind.PRACTICE for case in there),
        withdrawn=len(cases) - len(there),
        unanswered=sum(not case.has_model for case in evaluated),
        unfinished_reads=sum(
            not read.is_done
            for case in there
            if case.kind is not CaseKind.PRACTICE
            for read in case.reads
        ),
    )
