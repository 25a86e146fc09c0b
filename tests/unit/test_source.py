"""What formatters, linters and types cannot see of the source: that exceptions give a reason."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("medr1_pacs", "workers", "migrations", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
OURS = [path for path in SOURCES if not path.is_relative_to(ROOT / "tests")]

every_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(ROOT))
)
every_module = pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))


def comments_of(path: Path) -> dict[int, str]:
    """Return line -> comment."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def broad_excepts(path: Path) -> list[ast.ExceptHandler]:
    """Return the handlers that catch everything and do not pass it on."""
    handlers = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    return [
        handler
        for handler in handlers
        if not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]


def test_there_is_source_to_look_at():
    assert len(OURS) > 100
    assert sum(len(broad_excepts(path)) for path in OURS) > 5


@every_source
def test_every_ignore_has_its_reason(path):
    for line, comment in comments_of(path).items():
        if re.search(r"noqa|type: ignore", comment):
            assert re.search(r"(noqa: [A-Z0-9, ]+|type: ignore\[.+\])( #)? - \S", comment), line


@every_module
def test_every_broad_except_has_its_reason(path):
    comments = comments_of(path)
    for handler in broad_excepts(path):
        assert {handler.lineno, handler.lineno + 1} & set(comments), handler.lineno
