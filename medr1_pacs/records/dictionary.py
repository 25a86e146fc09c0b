"""The data dictionary: what the fields of a record mean, as its own source says."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass, is_dataclass


@dataclass(frozen=True, slots=True)
class DictionaryEntry:
    """One field."""

    name: str
    type: str
    """As Python spells it."""
    meaning: str


def describe_fields(record: type) -> tuple[DictionaryEntry, ...]:
    """Return the fields of a dataclass in order, each with the comment that stands below it.

    Those of a class that it extends come first.

    Raises
    ------
    ValueError
        A field has none.
    """
    inherited = [base for base in record.__bases__ if is_dataclass(base)]
    entries = [entry for base in inherited for entry in describe_fields(base)]
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    assert isinstance(definition, ast.ClassDef)
    for field, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign):
            continue
        name = ast.unparse(field.target)
        match below:
            case ast.Expr(value=ast.Constant(value=str(comment))):
                meaning = " ".join(inspect.cleandoc(comment).split())
            case _:
                raise ValueError(f"{record.__name__}.{name} has no comment below it")
        entries.append(DictionaryEntry(name, ast.unparse(field.annotation), meaning))
    return tuple(entries)
