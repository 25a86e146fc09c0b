"""The verifier in one file: the modules that check an export, one behind the other.

Each is copied as it is, but for what it imports from the others.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

_MODULES = (
    "audit/canonical",
    "audit/merkle",
    "audit/ed25519",
    "audit/notes",
    "audit/keys",
    "audit/findings",
    "audit/events",
    "audit/records",
    "audit/export_form",
    "audit/reading_events",
    "verifier/files",
    "verifier/known_records",
    "verifier/record_rows",
    "verifier/reading_check",
    "verifier/export_check",
    "verifier/program",
)
"""In the order in which they need each other; they import these and the standard library."""
_OWN = ("medr1_pacs.audit.", "medr1_pacs.verifier.")
_TITLE = '''#!/usr/bin/env python3
"""Check an export of medr1-pacs: `python3 -I verify.py --key FILE`, with Python 3.11 or newer.

GUIDE.md says what each check proves. This file is put together from the modules of
medr1_pacs.audit and medr1_pacs.verifier; any installation's `medr1-pacs audit verify DIR` does
the same.
"""

from __future__ import annotations
'''


@cache
def assemble_verifier() -> str:
    """Return the source of `verify.py`."""
    folder = Path(__file__).parents[1]
    parts = [_TITLE]
    for name in _MODULES:
        source = (folder / f"{name}.py").read_text("utf-8")
        parts.append(f"\n\n# == {name} {'=' * (94 - len(name))}\n\n" + _without_own_imports(source))
    return "".join(parts)


def _without_own_imports(source: str) -> str:
    """Return a module without future imports, and imports of the others."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    cut: set[int] = set()
    for node in tree.body:
        is_own = isinstance(node, ast.ImportFrom) and (
            (node.module or "").startswith(_OWN) or node.module == "__future__"
        )
        if is_own:
            cut.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return "".join(line for number, line in enumerate(lines, 1) if number not in cut)
