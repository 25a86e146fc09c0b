"""An export checked as somebody does who has Python and nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_verifier(program: Path, *arguments: str | Path) -> tuple[int, list[str]]:
    """Run a `verify.py`; returns its exit status, and the lines that it says."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", program, *arguments],
        capture_output=True,
        cwd=program.parent,
        env={"PATH": os.defpath, "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=False,
    )
    assert done.stderr == b"", done.stderr.decode()
    return done.returncode, done.stdout.decode().splitlines()
