"""The question bank: every question of some folders, checked, each with its place in a file.

    *.yaml -> source.py (lines) -> schema.py (types) -> the checks below -> QuestionBank

A file is `modality:`, optionally `reviewed_by:` and `reviewed_at:` for all its questions, and
`questions:`. The shipped folder comes first; a site's folder adds questions, or replaces one by its
id under a higher version. All complaints come at once, one a line, each `file:line: field: what is
wrong; the remedy`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from medr1_pacs.errors import QuestionInvalid
from medr1_pacs.questions.conditions import condition_problem, keyword_problem
from medr1_pacs.questions.schema import CHECKPOINTS, Aggregate, Question, TruthKind
from medr1_pacs.questions.source import RawFile, Source, read_file
from medr1_pacs.questions.truths import FUNCTIONS
from medr1_pacs.questions.windows import OBJECT_WINDOW, PRESETS
from medr1_pacs.records import Modality
from medr1_pacs.selection import parse_policy

PACKAGED_BANK = Path(__file__).parent / "bank"

_SHARED_FIELDS = ("modality", "reviewed_by", "reviewed_at")
"""What a file may say once for all its questions."""

_FORBIDDEN_IN_OPTION = {
    ",": "a comma",
    ")": "a closing bracket",
    "\n": "a line break",
}  # the prompt prints `A)x, B)y`


@dataclass(frozen=True, slots=True)
class QuestionBank:
    """Questions in the order of their files, and where each one stands."""

    questions: tuple[Question, ...]
    sources: Mapping[str, Source]

    def find(self, question_id: str) -> Question | None:
        """Return the question with this id, if there is one."""
        return next((question for question in self.questions if question.id == question_id), None)


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


def _load_file(raw_file: RawFile, problems: list[str]) -> Iterator[tuple[Question, Source]]:
    for name in raw_file.header:
        if name not in _SHARED_FIELDS:
            problems.append(
                f"{raw_file.source.at(name)}: {name}: unknown field; "
                + _did_you_mean(name, (*_SHARED_FIELDS, "questions"))
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
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            problem = "unknown field; " + _did_you_mean(name, tuple(Question.model_fields))
        elif detail["type"] == "missing":
            problem = "is missing; add it"
        elif detail["type"] == "string_type" and isinstance(detail["input"], (bool, int, float)):
            problem = f"a text is wanted, not {detail['input']!r}; put it in quotes"
        elif name == "id":
            problem = "use 2 to 64 lower-case letters, digits and dashes, a letter first"
        yield f"{source.at(name)}: {name}: {problem[0].lower()}{problem[1:]}"


def _did_you_mean(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean `{close[0]}`?" if close else "use one of: " + ", ".join(known)


def _problems(question: Question) -> Iterator[tuple[str, str]]:
    """Yield (field, what is wrong and the remedy) for what the types alone cannot tell."""
    if not question.stem.strip() or question.stem != " ".join(question.stem.split()):
        yield "stem", "one line of text, without spaces around it"
    yield from (("options", problem) for problem in _option_problems(question.options))
    for option in question.positive:
        if option not in question.options:
            hint = _did_you_mean(option, question.options)
            yield "positive", f"`{option}` is not one of the options; {hint}"
    if question.aggregate is Aggregate.ANY_POSITIVE and not question.positive:
        yield "aggregate", "`any positive` needs `positive`; name the positive options"
    for keyword, condition in question.when.items():
        if problem := condition_problem(keyword, condition):
            yield "when", problem
    try:
        parse_policy(question.select)
    except ValueError as error:
        yield "select", str(error)
    for name in ("window", "second_window"):
        if problem := _window_problem(question, name):
            yield name, problem
    yield from (("truth", problem) for problem in _truth_problems(question))
    if question.checkpoint is not None and question.checkpoint not in CHECKPOINTS:
        hint = _did_you_mean(question.checkpoint, CHECKPOINTS)
        yield "checkpoint", f"`{question.checkpoint}` is no checkpoint; {hint}"


def _option_problems(options: Sequence[str]) -> Iterator[str]:
    if not 2 <= len(options) <= 4:
        yield f"{len(options)} options; Med-R1 knows 2 to 4"
    if len({option.casefold() for option in options}) < len(options):
        yield "two options are equal; make them differ"
    for option in options:
        for character, name in _FORBIDDEN_IN_OPTION.items():
            if character in option:
                yield f"`{option}` has {name}, which breaks `A)x, B)y`; reword it"
        if option != option.strip() or not option:
            yield f"`{option}` is empty or has spaces around it; remove them"


def _window_problem(question: Question, name: str) -> str | None:
    window = getattr(question, name)
    if window is None or (window == OBJECT_WINDOW and name == "window"):
        return None
    if window not in PRESETS:
        return f"`{window}` is no window preset; " + _did_you_mean(window, tuple(PRESETS))
    if question.modality is not Modality.CT:
        return "presets are in HU, for CT only; drop it"
    return None


def _truth_problems(question: Question) -> Iterator[str]:
    truth = question.truth
    if truth.kind is TruthKind.HEADER and (problem := keyword_problem(truth.name)):
        yield problem
    if truth.kind is TruthKind.FUNCTION and truth.name not in FUNCTIONS:
        yield f"`{truth.name}` is no truth function; " + _did_you_mean(truth.name, tuple(FUNCTIONS))
    for value, option in truth.map.items():
        if option not in question.options:
            hint = _did_you_mean(option, question.options)
            yield f"`{value}` maps to `{option}`, which is not an option; {hint}"
