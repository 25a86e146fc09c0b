"""Services as their operators run them, one a test or one a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import PostgresqlServer, RedisServer
from service import Service

from medr1_pacs.demo.tour import free_port

MakeService = Callable[..., Service]


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Build services that are stopped at the end."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        folder = tmp_path / f"service{len(made)}"
        folder.mkdir()
        made.append(Service(folder, **settings))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def site_service(
    make_service: MakeService, postgresql_server: PostgresqlServer, redis_server: RedisServer
) -> Iterator[Service]:
    """A service over PostgreSQL and Redis, not yet started."""
    postgresql_server.start()
    redis_server.start()
    name = f"acceptance_{free_port()}"
    service = make_service(
        MEDR1_DATABASE_URL=postgresql_server.create_database(name),
        MEDR1_BROKER_URL=redis_server.url,
    )
    yield service
    service.stop()
    postgresql_server.start()
    postgresql_server.drop_database(name)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder that the backup goes to."""
    folder = tmp_path / "copy"
    folder.mkdir()
    return folder
