"""YAML files with line numbers, so that every complaint about a question can name its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medr1_pacs.errors import QuestionInvalid


@dataclass(frozen=True, slots=True)
class Source:
    """Where a question stands."""

    path: Path
    line: int
    """From 1."""
    field_lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, name: object = None) -> str:
        """Return `file:line` of a field, or of the question where the field is not written."""
        return f"{self.path}:{self.field_lines.get(str(name), self.line)}"


@dataclass(frozen=True, slots=True)
class RawFile:
    """A question file before its questions are understood."""

    header: Mapping[str, Any]
    """What stands beside `questions:`."""
    source: Source
    """Of the file itself; its fields are the header's."""
    questions: tuple[tuple[Any, Source], ...]


def read_file(path: Path) -> RawFile:
    """Read one file. Raises `QuestionInvalid` where it is no mapping with a list of questions."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise QuestionInvalid(f"{path}:{line}: YAML syntax: {problem}; correct it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionInvalid(f"{path}:1: the file cannot be read as UTF-8: {error}") from error
    if not isinstance(root, yaml.MappingNode) or not isinstance(content.get("questions"), list):
        raise QuestionInvalid(
            f"{path}:1: questions: no list of questions; start the file with `questions:`"
        )
    for node in _mappings(root):
        _refuse_duplicate_keys(path, node)
    nodes = next(value for key, value in root.value if key.value == "questions")
    return RawFile(
        header={key: value for key, value in content.items() if key != "questions"},
        source=_source(path, root),
        questions=tuple(
            (value, _source(path, node))
            for value, node in zip(content["questions"], nodes.value, strict=True)
        ),
    )


def _source(path: Path, node: yaml.Node) -> Source:
    lines = {}
    if isinstance(node, yaml.MappingNode):
        lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return Source(path, node.start_mark.line + 1, lines)


def _mappings(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)


def _refuse_duplicate_keys(path: Path, node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(key.value)
        if name in seen:
            line = key.start_mark.line + 1
            raise QuestionInvalid(f"{path}:{line}: {name}: written twice; keep one")
        seen.add(name)
