"""The verifier in one file: the modules that check an export, one behind the other.

Each is copied as it is, but for what it imports from the others.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

_MODULES = (
    "canonical",
    "merkle",
    "ed25519",
    "notes",
    "keys",
    "findings",
    "events",
    "records",
    "export_form",
    "export_check",
)
"""In the order in which they need each other; they import these and the standard library."""
_OWN = "medr1_pacs.audit."
_TITLE = '''#!/usr/bin/env python3
"""Check an export of medr1-pacs: `python3 verify.py --key FILE`, with Python 3.11 or newer alone.

GUIDE.md says what each check proves. This file is put together from the modules of
medr1_pacs.audit; any installation's `medr1-pacs audit verify DIR` does the same.
"""

from __future__ import annotations
'''


@cache
def assemble_verifier() -> str:
    """Return the source of `verify.py`."""
    folder = Path(__file__).parent
    parts = [_TITLE]
    for name in _MODULES:
        source = (folder / f"{name}.py").read_text("utf-8")
        parts.append(f"\n\n# == {name} {'=' * (94 - len(name))}\n\n" + _without_own_imports(source))
    return "".join(parts)


def _without_own_imports(source: str) -> str:
    """Return a module without its docstring's quotes, future imports and imports of the others."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    cut: set[int] = set()
    for node in tree.body:
        is_own = isinstance(node, ast.ImportFrom) and (
            (node.module or "").startswith(_OWN) or node.module == "__future__"
        )
        is_main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if is_own or (is_main and not source.endswith("sys.exit(main())\n")):
            cut.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return "".join(line for number, line in enumerate(lines, 1) if number not in cut)
