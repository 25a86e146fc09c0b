"""An installation whose common names are another program's says so, with the remedy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medr1_pacs import installation
from medr1_pacs.errors import InstallationBroken
from medr1_pacs.installation import ROOT, check_installation


def test_ours_is_whole():
    assert check_installation() == str(ROOT)


@pytest.mark.parametrize("command", ["doctor", "db", "sweep"])
def test_a_folder_workers_where_somebody_stands_is_noticed_by_every_command(tmp_path, command):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").touch()

    done = subprocess.run(
        [sys.executable, "-m", "medr1_pacs", command], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert f"finds the package `workers` in {tmp_path / 'workers'}, not beside" in done.stderr
    assert "away from folders of that name" in done.stderr


def test_missing_workers_are_noticed(monkeypatch):
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(InstallationBroken, match="finds the package `workers` in no folder"):
        check_installation()


@pytest.mark.parametrize("missing", ["env.py", "vault/v0001.py"])
def test_missing_migrations_are_noticed(tmp_path, monkeypatch, missing):
    for name in ("env.py", "research/r0001.py", "vault/v0001.py"):
        if name != missing:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    monkeypatch.setattr(installation, "MIGRATIONS", tmp_path)

    with pytest.raises(
        InstallationBroken, match=r"no migrations of the .*install medr1-pacs again"
    ):
        check_installation()
