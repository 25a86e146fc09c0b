"""Backups as the pages describe them: docs/operating.md (one machine: SQLite, cp) and docs/site.md
(compose: pg_dump, tar), without the containers around them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers import PostgresqlServer, find_program
from service import Service
from sqlalchemy.engine import make_url


def run(*command: str | Path, folder: Path) -> None:
    """Run a command that has to succeed."""
    done = _run(command, folder)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def copy_while_busy(*command: str | Path, folder: Path) -> None:
    """Run a copy of the storage folder, which may miss what moves on meanwhile and nothing else."""
    done = _run(command, folder)
    assert done.returncode in (0, 1), f"{command}: {done.stderr}"
    for line in done.stderr.splitlines():
        is_of_a_folder = line.endswith("file changed as we read it")
        assert "/incoming/" in line or ".part" in line or is_of_a_folder, done.stderr


def _run(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, umask=0o077, capture_output=True, text=True, timeout=60, check=False
    )


class OneMachine:
    """SQLite, as docs/operating.md backs it up; runs in the data folder."""

    def __init__(self, service: Service) -> None:
        self.service, self.folder = service, service.data_dir

    def back_up_databases(self, copy: Path) -> None:
        for name in ("medr1.sqlite", "vault.sqlite"):
            sql = f"VACUUM INTO '{copy / name}'"
            run(find_program("sqlite3"), name, sql, folder=self.folder)

    def back_up_incoming(self, copy: Path) -> None:
        run("mkdir", "-p", copy / "storage", copy / "key", folder=self.folder)
        copy_while_busy("cp", "-a", "storage/incoming", copy / "storage", folder=self.folder)

    def back_up_storage(self, copy: Path) -> None:
        copy_while_busy("cp", "-a", "storage", copy, folder=self.folder)
        run("cp", "-a", "site.key", "audit.key", copy / "key", folder=self.folder)

    def lose_databases(self) -> None:
        for path in self.folder.glob("*.sqlite*"):
            path.unlink()

    def lose_everything(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def restore_files(self, copy: Path) -> None:
        keys = (copy / "key/site.key", copy / "key/audit.key")
        run("cp", "-a", *keys, copy / "storage", ".", folder=self.folder)

    def restore_databases(self, copy: Path) -> None:
        run("rm", "-f", *self.folder.glob("*.sqlite*"), folder=self.folder)
        run("cp", "-a", copy / "medr1.sqlite", copy / "vault.sqlite", ".", folder=self.folder)


class Site:
    """PostgreSQL, the vault as a schema of its own, as docs/site.md backs it up."""

    def __init__(self, service: Service, server: PostgresqlServer) -> None:
        self.service, self.folder, self._server = service, service.data_dir, server
        url = make_url(service.environ["MEDR1_DATABASE_URL"])
        self._name = str(url.database)
        self._whom = ["-h", str(url.host), "-p", str(url.port), "-U", str(url.username)]

    def back_up_databases(self, copy: Path) -> None:
        dump = f"--file={copy / 'medr1.dump'}"
        run(find_postgresql("pg_dump"), *self._whom, "-Fc", dump, self._name, folder=self.folder)

    def back_up_incoming(self, copy: Path) -> None:
        tar = ["tar", "-cf", copy / "incoming.tar", "-C", self.folder]
        copy_while_busy(*tar, "storage/incoming", folder=self.folder)

    def back_up_storage(self, copy: Path) -> None:
        tar = ["tar", "-cf", copy / "storage.tar", "-C", self.folder]
        copy_while_busy(*tar, "storage", folder=self.folder)
        keys = ("site.key", "audit.key")
        run("tar", "-cf", copy / "key.tar", "-C", self.folder, *keys, folder=self.folder)

    def lose_everything(self) -> None:
        self._server.drop_database(self._name)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self._server.create_database(self._name)  # as a container with an empty volume does

    def restore_files(self, copy: Path) -> None:
        for name in ("key.tar", "incoming.tar", "storage.tar"):
            run("tar", "-xf", copy / name, "-C", self.folder, folder=self.folder)

    def restore_databases(self, copy: Path) -> None:
        restore = [find_postgresql("pg_restore"), *self._whom, "-d", "postgres"]
        how = ["--clean", "--if-exists", "--create"]
        run(*restore, *how, copy / "medr1.dump", folder=self.folder)


def find_postgresql(name: str) -> str:
    return find_program(name, "usr/lib/postgresql/*/bin")
