"""The question bank: every question of some folders, checked, each with its place in a file.

    *.yaml -> source.py (lines) -> schema.py (types) -> the checks below -> QuestionBank

A file is `modality:`, optionally `reviewed_by:` and `reviewed_at:` for all its questions, and
`questions:`. The shipped folder comes first; a site's folder adds questions, or replaces one by its
id under a higher version. All complaints come at once, one a line, each `file:line: field: what is
wrong; the remedy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from medr1_pacs.errors import QuestionInvalid
from medr1_pacs.questions.conditions import keyword_problem
from medr1_pacs.questions.hints import did_you_mean
from medr1_pacs.questions.schema import Aggregate, Question, Truth, TruthKind
from medr1_pacs.questions.source import RawFile, Source, read_file
from medr1_pacs.questions.truths import FUNCTIONS
from medr1_pacs.records.words import CheckpointName, JsonObject, Modality

PACKAGED_BANK = Path(__file__).parent / "bank"

_SHARED_FIELDS = ("modality", "reviewed_by", "reviewed_at")
"""What a file may say once for all its questions."""


@dataclass(frozen=True, slots=True)
class QuestionBank:
    """Questions in the order of their files, and where each one stands."""

    questions: tuple[Question, ...]
    sources: Mapping[str, Source]

    def find(self, question_id: str) -> Question | None:
        """Return the question with this id, if there is one."""
        return next((question for question in self.questions if question.id == question_id), None)

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """Question id -> options, as a reference standard is held against them."""
        return {question.id: question.options for question in self.questions}


def load_bank(*folders: Path) -> QuestionBank:
    """Load every `*.yaml` of the folders, in order. Raises `QuestionInvalid`.

    Usually `load_bank(PACKAGED_BANK)`, or with the site's folder after it.
    """
    questions: dict[str, Question] = {}
    sources: dict[str, Source] = {}
    problems: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise QuestionInvalid(f"{folder}:1: no such folder of questions; create or unset it")
        own: dict[str, Source] = {}
        for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            for question, source in _load_file(read_file(path), problems):
                earlier = questions.get(question.id)
                if question.id in own:
                    problems.append(
                        f"{source.at('id')}: id: `{question.id}` is also at "
                        f"{own[question.id].at('id')}; ids are unique in a folder"
                    )
                elif earlier is not None and question.version <= earlier.version:
                    problems.append(
                        f"{source.at('version')}: version: `{question.id}` replaces version "
                        f"{earlier.version}; give it version {earlier.version + 1}"
                    )
                else:
                    questions[question.id], sources[question.id] = question, source
                own[question.id] = source
    if problems:
        raise QuestionInvalid("\n".join(problems))
    return QuestionBank(tuple(questions.values()), sources)


def questions_for(bank: QuestionBank, modality: Modality, *, demo: bool) -> tuple[Question, ...]:
    """Return the questions of a modality; those of the demo only while its checkpoint stands in."""
    return tuple(
        question
        for question in bank.questions
        if question.modality is modality and (demo or not question.is_demo)
    )


def restore_question(definition: JsonObject) -> Question:
    """Return the question that a stored definition is of.

    Raises
    ------
    ValueError
        It names something that this program no longer knows.
    """
    truth = definition["truth"]
    stored = Truth(TruthKind(truth["kind"]), truth.get("name", ""), truth.get("map", {}))
    question = Question.model_validate(definition | {"truth": stored})
    if problems := [f"{name}: {problem}" for name, problem in _problems(question)]:
        raise ValueError("\n".join(problems))
    return question


def _load_file(raw_file: RawFile, problems: list[str]) -> Iterator[tuple[Question, Source]]:
    for name in raw_file.header:
        if name not in _SHARED_FIELDS:
            problems.append(
                f"{raw_file.source.at(name)}: {name}: unknown field; "
                + did_you_mean(name, (*_SHARED_FIELDS, "questions"))
            )
    shared = {k: v for k, v in raw_file.header.items() if k in _SHARED_FIELDS}
    shared_lines = {k: raw_file.source.field_lines[k] for k in shared}
    for values, own_source in raw_file.questions:
        source = replace(own_source, field_lines=shared_lines | dict(own_source.field_lines))
        if not isinstance(values, dict):
            problems.append(f"{source.at()}: questions: not a mapping; write `- id: ...`")
            continue
        try:
            question = Question.model_validate(shared | values)
        except ValidationError as error:
            problems.extend(_type_problems(error, source))
            continue
        found = list(_problems(question))
        problems.extend(f"{source.at(name)}: {name}: {problem}" for name, problem in found)
        if not found:
            yield question, source


def _type_problems(error: ValidationError, source: Source) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        name = str(detail["loc"][0]) if detail["loc"] else "question"
        problem = detail["msg"].removeprefix("Value error, ")  # of ours: a line a problem
        if detail["type"] == "extra_forbidden":
            problem = "unknown field; " + did_you_mean(name, Question.model_fields)
        elif detail["type"] == "missing":
            problem = "is missing; add it"
        elif detail["type"] == "string_type" and isinstance(detail["input"], (bool, int, float)):
            problem = f"a text is wanted, not {detail['input']!r}; put it in quotes"
        elif name == "id":
            problem = "use 2 to 64 lower-case letters, digits and dashes, a letter first"
        for line in problem.splitlines():
            yield f"{source.at(name)}: {name}: {line[0].lower()}{line[1:]}"


def _problems(question: Question) -> Iterator[tuple[str, str]]:
    """Yield (field, what is wrong and the remedy) for what the types alone cannot tell."""
    for option in question.positive:
        if option not in question.options:
            hint = did_you_mean(option, question.options)
            yield "positive", f"`{option}` is not one of the options; {hint}"
    if question.aggregate is Aggregate.ANY_POSITIVE and not question.positive:
        yield "aggregate", "`any positive` needs `positive`; name the positive options"
    for name in ("window", "second_window"):
        window = getattr(question, name)
        if window and window.preset and question.modality is not Modality.CT:
            yield name, "presets are in HU, for CT only; drop it"
    yield from (("truth", problem) for problem in _truth_problems(question))
    if question.checkpoint is not None and question.checkpoint not in set(CheckpointName):
        hint = did_you_mean(question.checkpoint, CheckpointName)
        yield "checkpoint", f"`{question.checkpoint}` is no checkpoint; {hint}"


def _truth_problems(question: Question) -> Iterator[str]:
    truth = question.truth
    if truth.kind is TruthKind.HEADER and (problem := keyword_problem(truth.name)):
        yield problem
    if truth.kind is TruthKind.FUNCTION and truth.name not in FUNCTIONS:
        yield f"`{truth.name}` is no truth function; " + did_you_mean(truth.name, FUNCTIONS)
    for value, option in truth.map.items():
        if option not in question.options:
            hint = did_you_mean(option, question.options)
            yield f"`{value}` maps to `{option}`, which is not an option; {hint}"
