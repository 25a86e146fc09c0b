"""Who may read what the service stores."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medr1_pacs.storage import permissions
from medr1_pacs.storage.permissions import (
    guard_database,
    guard_file,
    guard_folder,
    open_to_others,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a mode."""

    def folder(mode: int) -> Path:
        path = tmp_path / "folder"
        path.mkdir()
        path.chmod(mode)
        return path

    return folder


@pytest.fixture
def file(tmp_path):
    """Make a file with a mode."""

    def file(mode: int, name: str = "file") -> Path:
        path = tmp_path / name
        path.touch()
        path.chmod(mode)
        return path

    return file


@pytest.mark.parametrize(
    ("before", "group_access", "after"),
    [
        (0o755, False, 0o700),
        (0o2770, False, 0o2700),
        (0o700, False, 0o700),
        (0o755, True, 0o2770),
        (0o700, True, 0o2770),
        (0o1777, False, 0o1777),  # everybody's, as /tmp
    ],
)
def test_a_folder_gets_the_mode_that_it_should_have(folder, before, group_access, after):
    path = folder(before)

    guard_folder(path, group_access=group_access)

    assert mode_of(path) == after


@pytest.mark.parametrize(
    ("before", "group_access", "after"),
    [(0o644, False, 0o600), (0o400, False, 0o400), (0o664, True, 0o660), (0o600, True, 0o600)],
)
def test_a_file_is_never_opened_wider(file, before, group_access, after):
    path = file(before)

    guard_file(path, group_access=group_access)

    assert mode_of(path) == after


def test_a_database_is_guarded_with_the_files_beside_it(file):
    paths = [file(0o644, f"vault.sqlite{suffix}") for suffix in ("", "-wal", "-shm")]

    guard_database(paths[0], group_access=False)

    assert [mode_of(path) for path in paths] == [0o600] * 3


def test_a_group_may_write_the_database_that_it_shares(file):
    path = file(0o640, "vault.sqlite")

    guard_database(path, group_access=True)

    assert mode_of(path) == 0o660


def test_what_another_user_owns_is_left_alone(folder, monkeypatch):
    path = folder(0o755)
    monkeypatch.setattr(permissions.os, "geteuid", lambda: path.stat().st_uid + 1)

    guard_folder(path, group_access=False)

    assert mode_of(path) == 0o755


def test_what_is_not_there_needs_no_guard(tmp_path):
    guard_file(tmp_path / "none", group_access=False)


@pytest.mark.parametrize(
    ("mode", "group_access", "remedy"),
    [
        (0o755, False, "(mode 0755): run `chmod -R go= "),
        (0o770, False, "(mode 0770): run `chmod -R go= "),
        (0o775, True, "(mode 0775): run `chmod -R o= "),
    ],
)
def test_what_others_can_use_is_named_with_mode_and_remedy(folder, mode, group_access, remedy):
    path = folder(mode)

    [said] = open_to_others([path], group_access=group_access)

    assert said.startswith(str(path))
    assert said.endswith(f"{remedy}{path}`")


@pytest.mark.parametrize(("mode", "group_access"), [(0o700, False), (0o770, True)])
def test_of_what_nobody_else_can_use_nothing_is_said(folder, mode, group_access):
    assert list(open_to_others([folder(mode)], group_access=group_access)) == []
