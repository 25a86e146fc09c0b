"""Real parts for every test: databases with the migrated schema, servers of our own, a store."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PostgresqlServer, RedisServer

from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.settings import Settings
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore

TEMPLATE = "medr1_template"
"""The PostgreSQL database that every test's database is a copy of."""

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A private PostgreSQL; a test that stops it starts it again."""
    server = PostgresqlServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A private Redis; a test that kills it starts it again."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: PostgresqlServer) -> PostgresqlServer:
    """The private PostgreSQL with the template that was migrated from empty."""
    _upgrade(Settings(database_url=postgresql_server.create_database(TEMPLATE)))
    return postgresql_server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both SQLite databases, migrated from empty."""
    folder = tmp_path_factory.mktemp("sqlite")
    _upgrade(Settings(data_dir=folder))
    return folder


def _upgrade(settings: Settings) -> None:
    for url, branch in (
        (settings.database_url, Branch.RESEARCH),
        (settings.vault_url, Branch.VAULT),
    ):
        database = Database(url)
        upgrade_schema(database, branch)
        database.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a site whose two databases are migrated and empty.

    For one of the two only: `@pytest.mark.parametrize("site", ["sqlite"], indirect=True)`.
    """
    data_dir = tmp_path / "data"
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("migrated_sqlite"), data_dir)
        yield Settings(data_dir=data_dir)
        return
    server: PostgresqlServer = request.getfixturevalue("migrated_postgresql")
    server.start()  # a test before this one may have stopped it
    data_dir.mkdir()
    name = f"site_{next(_numbers)}"
    yield Settings(data_dir=data_dir, database_url=server.create_database(name, TEMPLATE))
    server.drop_database(name)


@pytest.fixture
def research_url(site: Settings) -> str:
    """The URL of a fresh research database."""
    return site.database_url


@pytest.fixture
def vault_url(site: Settings) -> str:
    """The URL of the fresh vault beside it."""
    return site.vault_url


@pytest.fixture
def database(research_url: str) -> Iterator[Database]:
    """A fresh research database."""
    database = Database(research_url)
    yield database
    database.dispose()


@pytest.fixture
def vault(vault_url: str) -> Iterator[Database]:
    """The fresh vault beside it."""
    vault = Database(vault_url)
    yield vault
    vault.dispose()


@pytest.fixture
def pictures(tmp_path: Path) -> PictureStore:
    """The empty pictures of the storage folder."""
    return PictureStore(tmp_path / "storage")


@pytest.fixture
def store(tmp_path: Path) -> InstanceStore:
    """An empty storage folder."""
    return InstanceStore(tmp_path / "storage")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests recorded, whichever process they ran in."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == "table":
                    terminalreporter.write_line(f"\n{value}")


@pytest.fixture
def exports(tmp_path: Path) -> ExportStore:
    """The empty exports of the storage folder."""
    return ExportStore(tmp_path / "storage")
