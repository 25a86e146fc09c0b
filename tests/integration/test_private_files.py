"""What the commands write is the service's user's alone, whatever umask they are started with."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from factories import make_instance

from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.processes import module_command, module_environment


@pytest.fixture
def data_dir(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data_dir, tmp_path):
    """Run a command of the CLI with the umask of a login shell."""

    def run(*arguments: str, **settings: str) -> None:
        environ = {k: v for k, v in module_environment().items() if not k.startswith("MEDR1_")}
        subprocess.run(
            module_command("medr1_pacs", *arguments),
            env=environ | {"MEDR1_DATA_DIR": str(data_dir)} | settings,
            cwd=tmp_path,
            umask=0o022,
            check=True,
            timeout=60,
        )

    return run


@pytest.fixture
def ingested(tmp_path) -> Path:
    """An instance in a file that everybody may read."""
    path = tmp_path / "instance.dcm"
    make_instance().save_as(path, enforce_file_format=True)
    return path


def modes_below(folder: Path) -> tuple[set[int], set[int]]:
    """Return the modes of the folders and of the files below a folder and of itself."""
    paths = [folder, *folder.rglob("*")]
    modes = [(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths]
    return {mode for is_dir, mode in modes if is_dir}, {m for is_dir, m in modes if not is_dir}


def test_everything_that_is_written_is_the_users_alone(run, data_dir, ingested):
    run("db", "upgrade")
    run("ingest", str(ingested))

    assert (data_dir / "vault.sqlite").exists()
    assert list((data_dir / "storage" / "incoming").iterdir())
    assert modes_below(data_dir) == ({0o700}, {0o600})


def test_with_group_access_it_is_the_groups_too(run, data_dir, ingested):
    run("db", "upgrade", MEDR1_GROUP_ACCESS="true")
    run("ingest", str(ingested), MEDR1_GROUP_ACCESS="true")

    assert modes_below(data_dir) == ({0o2770}, {0o660})


def test_what_an_earlier_program_left_open_is_closed_at_the_next_start(run, data_dir, ingested):
    (data_dir / "storage").mkdir(parents=True)
    for name, branch in (("medr1", Branch.RESEARCH), ("vault", Branch.VAULT)):
        database = Database(f"sqlite:///{data_dir}/{name}.sqlite")
        upgrade_schema(database, branch)
        database.dispose()
    for path in (data_dir, data_dir / "storage"):
        path.chmod(0o755)
    for name in ("medr1.sqlite", "vault.sqlite"):
        (data_dir / name).chmod(0o644)

    run("ingest", str(ingested))

    assert modes_below(data_dir) == ({0o700}, {0o600})


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_files_beside_a_database_have_its_mode(tmp_path, mode):
    path = tmp_path / "vault.sqlite"
    path.touch()
    path.chmod(mode)
    before = os.umask(0o022)
    database = Database(f"sqlite:///{path}")
    try:
        upgrade_schema(database, Branch.VAULT)
        beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
        assert [stat.S_IMODE(file.stat().st_mode) for file in beside] == [mode] * 2
    finally:
        database.dispose()
        os.umask(before)
