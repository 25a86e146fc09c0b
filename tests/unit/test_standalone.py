"""The verifier that travels with an export: one file, which needs Python and nothing else."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from medr1_pacs.verifier import standalone
from medr1_pacs.verifier.standalone import assemble_verifier

MODULES = [Path(standalone.__file__).parents[1] / f"{name}.py" for name in standalone._MODULES]


def names_of(source: str) -> Iterator[str]:
    """Yield what a module calls its own, as often as it does so."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def imports_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name or alias) of whatever is imported anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((each.name, each.asname or each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or ".", each.asname or each.name) for each in node.names)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The verifier by itself in a folder."""
    path = tmp_path / "verify.py"
    path.write_text(assemble_verifier(), "utf-8")
    return path


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", program, *arguments],
        capture_output=True,
        text=True,
        cwd=program.parent,
        env={"PATH": os.defpath},
        timeout=60,
    )


def test_no_two_modules_use_one_name_for_two_things():
    names: Counter[str] = Counter()
    for path in MODULES:
        names.update(set(names_of(path.read_text("utf-8"))))

    assert {name: count for name, count in names.items() if count > 1} == {}


def test_nothing_is_imported_under_the_name_of_something_else():
    meanings: dict[str, set[str]] = {}
    for path in MODULES:
        source = path.read_text("utf-8")
        for name in names_of(source):
            meanings.setdefault(name, set()).add("a module's own")
        for module, name in imports_of(source):
            if not module.startswith("medr1_pacs."):
                meanings.setdefault(name, set()).add(module)

    assert {name: of for name, of in meanings.items() if len(of) > 1} == {}


def test_only_the_standard_library_is_imported():
    imported = {module.partition(".")[0] for module, _ in imports_of(assemble_verifier())}

    assert imported - set(sys.stdlib_module_names) == set()


def test_modules_come_behind_those_that_they_import():
    for place, path in enumerate(MODULES):
        needed = {
            module.rpartition(".")[2]
            for module, _ in imports_of(path.read_text("utf-8"))
            if module.startswith("medr1_pacs.")
        }
        assert needed <= {earlier.stem for earlier in MODULES[:place]}, path.stem


def test_it_says_of_an_empty_folder_that_nothing_is_verified(program: Path):
    done = run(program)

    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("FAULT: manifest.json: it cannot be read")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("option", "content"),
    [
        *(("--key", content) for content in (None, b"no key", b"\xff", b"{}")),
        *(("--expect-head", content) for content in (None, b"\xff", b"{}", b"{")),
    ],
)
def test_a_key_or_head_that_it_cannot_read_is_not_taken_for_a_fault(
    program: Path, option: str, content: bytes | None
):
    file = program.with_name("given")
    if content is not None:
        file.write_bytes(content)

    done = run(program, option, file)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("verify: ")


def test_it_refuses_options_that_it_does_not_know(program: Path):
    assert run(program, "--trust-everybody").returncode == 2
