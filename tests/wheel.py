"""Build our wheel; `python tests/wheel.py` says whether it holds what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
PACKAGED = ("medr1_pacs", "workers", "migrations")
LEFT_OUT = "workers/demo_checkpoint/training/"
"""How the demo checkpoint was made: in the repository, for those who want to make it again."""


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder; needs no network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def check(wheel: Path) -> list[str]:
    """Return what is missing from a wheel, and what is in it that should not be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGED],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    expected = {name for name in listed if not name.startswith(LEFT_OUT) and (ROOT / name).exists()}
    with ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    return [f"missing: {name}" for name in sorted(expected - found)] + [
        f"should not be there: {name}" for name in sorted(found - expected)
    ]


def main() -> int:
    with TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        problems = check(wheel)
    for problem in problems:
        print(f"{wheel.name}: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
