"""Browsers and programs of the pages, as fixtures: `tests/integration/conftest.py` has them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import InProcessDecoder, make_passwords
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount

from medr1_pacs.db.accounts import add_account, find_credentials, give_role
from medr1_pacs.db.api_tokens import add_token
from medr1_pacs.db.project_exports import (
    finish_export,
    note_progress,
    request_export,
    take_export,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import open_session
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.records.people import Scope
from medr1_pacs.records.project_exports import ExportWish, export_name
from medr1_pacs.records.words import Role, SignInMethod
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.app import make_app
from medr1_pacs.web.security.csrf import HEADER, csrf_token_of
from medr1_pacs.web.security.door import Door


def app_routes(routes: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield method and path of every route, those of included routers too."""
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", prefix + route.path
        elif hasattr(route, "original_router"):
            inner = route.original_router.routes
            yield from app_routes(inner, prefix + route.include_context.prefix)
        else:
            for method in route.methods:
                yield method, prefix + route.path


@pytest.fixture
def make_pages(
    database: Database,
    vault: Database,
    store: InstanceStore,
    pictures: PictureStore,
    exports: ExportStore,
) -> Callable[..., FastAPI]:
    """Build the web application; keywords as `Door`, whose passwords are cheap here."""

    def make_pages(**door: object) -> FastAPI:
        door_of_ours = Door(passwords=make_passwords(), **door)
        return make_app(
            database,
            store,
            pictures,
            exports=exports,
            vault=vault,
            door=door_of_ours,
            decoder=InProcessDecoder(),
        )

    return make_pages


@pytest.fixture
def app(make_pages: Callable[..., FastAPI]) -> FastAPI:
    """The web application for browsers on this machine."""
    return make_pages()


@pytest.fixture
def browse() -> Callable[..., TestClient]:
    """Open a browser on this machine that nobody is signed in with; keywords as `TestClient`."""

    def browse(app: FastAPI, **changes: object) -> TestClient:
        arguments = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 50_000)}
        return TestClient(app, **(arguments | {"follow_redirects": False} | changes))

    return browse


@pytest.fixture
def have_account(database: Database) -> Callable[..., int]:
    """Make sure that an account has these roles (project -> roles); returns its id."""

    def have_account(account="anna", roles=None, is_administrator=False) -> int:
        rules = ProjectRules(tuple(Project(name) for name in (roles or {})))
        now = datetime.now(UTC)
        with database.write() as session:
            found = find_credentials(session, account)
            account_id = found.account_id if found else None
            if account_id is None:
                account_id = add_account(session, account, actor="test", now=now)
            if is_administrator:
                give_role(
                    session, account, Role.ADMINISTRATOR, None, rules=rules, actor="test", now=now
                )
            for project, names in (roles or {}).items():
                for name in names:
                    give_role(
                        session, account, Role(name), project, rules=rules, actor="test", now=now
                    )
        return account_id

    return have_account


@pytest.fixture
def sign_in(browse, have_account) -> Callable[..., TestClient]:
    """Return a browser in which an account is signed in; it is made when missing.

    Its requests carry the CSRF token, as the forms of its pages do.
    """

    def sign_in(app, account="anna", roles=None, is_administrator=False, **changes) -> TestClient:
        account_id = have_account(account, roles, is_administrator)
        door = app.state.door
        with app.state.database.write() as session:
            opened = open_session(
                session,
                account_id,
                SignInMethod.PASSWORD,
                address="127.0.0.1",
                device_token=None,
                max_s=door.session_max_s,
                now=door.now(),
            )
        client = browse(app, **changes)
        is_https = str(client.base_url).startswith("https")
        name = "__Host-medr1_session" if is_https else "medr1_session"
        client.cookies.set(name, opened.token)
        client.headers[HEADER] = csrf_token_of(opened.token)
        return client

    return sign_in


@pytest.fixture
def give_token(browse, have_account) -> Callable[..., TestClient]:
    """Return a program that calls the API with a token of an account, made when missing."""

    def give_token(
        app, account="anna", roles=None, is_administrator=False, scopes=tuple(Scope), project=None
    ) -> TestClient:
        account_id = have_account(account, roles, is_administrator)
        with app.state.database.write() as session:
            token = add_token(
                session,
                account_id,
                "test",
                scopes,
                project=project,
                days=1,
                actor="test",
                now=app.state.door.now(),
            )
        client = browse(app)
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    return give_token


@pytest.fixture
def signed_in_client(app: FastAPI, sign_in: Callable[..., TestClient]) -> TestClient:
    """A browser of an administrator."""
    return sign_in(app, "admin-anna", is_administrator=True)


@pytest.fixture
def make_finished_export(database: Database, exports: ExportStore) -> Callable[..., int]:
    """Have an export of a project that is finished, with a file for its tables; returns its id."""

    def make_finished_export(project: str, account: str) -> int:
        now = datetime.now(UTC)
        wish = ExportWish(
            filters={}, is_everything=False, formats=["csv"], as_of=None, has_pictures=True
        )
        with database.write() as session:
            request_export(session, project, wish, actor=account, now=now)
            taken = take_export(session, now, is_gone=lambda _: False)
            note_progress(session, taken, {"answers": 2}, now, expected_answers=2)
        unfinished = exports.begin(taken.folder)
        unfinished.mkdir()
        (unfinished / "answers.csv").write_text("answer_id\n1\n2\n")
        size_bytes = exports.finish(taken.folder, export_name(project, 12))
        with database.write() as session:
            finish_export(session, taken, now, head_size=12, size_bytes=size_bytes)
        return taken.export_id

    return make_finished_export
