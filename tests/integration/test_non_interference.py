"""Two sites that differ only in what the model and the other readers said: a reader who is blinded
cannot tell them apart, by whatever they ask for and in whatever role, until they lock.

Ids, times, nonces, hashes, roots and signatures are masked; statuses, headers, bodies and lengths
are compared byte for byte.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from browsers import app_routes
from factories import SITE_KEY, make_engine_identity, put_instance
from fakes import FakeClock, FakeEngine, InProcessDecoder, make_passwords
from fastapi import FastAPI
from fastapi.testclient import TestClient
from readers import ReaderClient, make_chest, make_protocol, start

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.accounts import add_account, give_role
from medr1_pacs.db.api_tokens import add_token
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import open_session
from medr1_pacs.db.tables import Study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.people import Scope
from medr1_pacs.records.words import Role, SignInMethod
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.settings import Settings
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.app import make_app
from medr1_pacs.web.security.csrf import HEADER, csrf_token_of
from medr1_pacs.web.security.door import Door

PROJECT = "default"
RULES = ProjectRules((Project(PROJECT),), ())
PEOPLE = {
    "anna": [Role.READER, Role.RESEARCHER, Role.AUDITOR, Role.CUSTODIAN],
    "ben": [Role.READER],
    "carla": [Role.READER],
}
"""Anna, who is compared, is everything that one can be, and an administrator besides."""
STUDIES = 4


@dataclass
class World:
    """A site with its pages."""

    database: Database
    app: FastAPI
    clock: FakeClock

    def sign_in(self, account: str) -> TestClient:
        with self.database.write() as session:
            opened = open_session(
                session,
                _account_id(account),
                SignInMethod.PASSWORD,
                address="127.0.0.1",
                device_token=None,
                max_s=10**6,
                now=self.clock.now(),
            )
        client = self._client()
        client.cookies.set("medr1_session", opened.token)
        client.headers[HEADER] = csrf_token_of(opened.token)
        return client

    def token(self, *scopes: Scope) -> TestClient:
        """Return a program of Anna's."""
        with self.database.write() as session:
            token = add_token(
                session,
                _account_id("anna"),
                "test",
                scopes,
                project=None,
                days=1,
                actor="test",
                now=self.clock.now(),
            )
        client = self._client()
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def read_as(self, account: str, name: str = "chest") -> ReaderClient:
        base = f"/api/v1/projects/{PROJECT}/reading/{name}/1"
        return ReaderClient(self.sign_in(account), base)

    def _client(self) -> TestClient:
        return TestClient(
            self.app,
            base_url="http://127.0.0.1",
            client=("127.0.0.1", 50_000),
            follow_redirects=False,
        )


def _account_id(account: str) -> int:
    return list(PEOPLE).index(account) + 1


@pytest.fixture
def make_world(tmp_path, migrated_sqlite, headers) -> Iterator[Callable[..., World]]:
    """Build a site whose model says this; the others have read already, each with their choice."""
    worlds = []

    def make_world(letter: str, reasoning: str, choices: dict[str, str]) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        shutil.copytree(migrated_sqlite, folder)
        world = _build(Settings(data_dir=folder), headers, letter, reasoning)
        worlds.append(world)
        for name in ("chest", "blind"):
            for account, choice in choices.items():
                world.read_as(account, name).read_all(lambda case, choice=choice: choice)
        return world

    yield make_world
    for world in worlds:
        world.database.dispose()


def _build(settings: Settings, headers, letter: str, reasoning: str) -> World:
    database, vault = Database(settings.database_url), Database(settings.vault_url)
    store, pictures = InstanceStore(settings.storage_path), PictureStore(settings.storage_path)
    for seed in range(1, STUDIES + 1):
        for ds in make_chest(seed):
            put_instance(store, ds)
    Indexer(store, database, vault, SITE_KEY, ProjectRules(), headers).index()
    complete_studies(database, quiet_s=0)
    questionnaire = Questionnaire(
        load_bank(PACKAGED_BANK), load_synonyms(), lambda _: "xray", is_demo=False, think=True
    )
    while plan_study(database, questionnaire):
        pass
    while name_for_research(database, SITE_KEY):
        pass
    while render_planned(database, store, pictures, InProcessDecoder(), owner="renderer"):
        pass
    identity = make_engine_identity(checkpoint="xray", is_demo=False)
    raw_output = f"<think>{reasoning}</think><answer>{letter}</answer>"
    engine = FakeEngine(lambda prompt: raw_output, identity=identity)
    while answer_batch(database, pictures, engine, owner="answerer"):
        pass
    clock = FakeClock()
    _let_in(database, clock)
    make_snapshot(database, PROJECT, "Table 1", AnswerFilters(), actor="test")
    # The first cases are everybody's; of the second protocol Anna has read nothing yet.
    start(
        database, make_protocol(readers=["anna", "ben"], adjudicators=["carla"], arm="sequential")
    )
    start(database, make_protocol(name="blind", readers=["anna", "ben"], adjudicators=["carla"]))
    door = Door(passwords=make_passwords(), now=clock.now, monotonic=clock.monotonic)
    app = make_app(
        database,
        store,
        pictures,
        exports=ExportStore(settings.storage_path),
        vault=vault,
        door=door,
        decoder=InProcessDecoder(),
    )
    return World(database, app, clock)


def _let_in(database: Database, clock: FakeClock) -> None:
    with database.write() as session:
        for account, roles in PEOPLE.items():
            add_account(session, account, actor="test", now=clock.now())
            for role in roles:
                give_role(
                    session, account, role, PROJECT, rules=RULES, actor="test", now=clock.now()
                )
        give_role(
            session,
            "anna",
            Role.ADMINISTRATOR,
            None,
            rules=RULES,
            actor="test",
            now=clock.now(),
        )


# -- what is compared ----------------------------------------------------------------------------

_MASKS = [
    (re.compile(rb"\b\d{10,}-[0-9a-f]{16}-[0-9a-f]{16}\.dcm\b"), b"<stored name>"),
    (re.compile(rb"\b[0-9a-f]{64}\b"), b"<sha256>"),
    (re.compile(rb"\b[0-9a-f]{32}\b"), b"<nonce>"),
    (re.compile(rb"medr1_[A-Za-z0-9_-]{43}"), b"<token>"),
    (re.compile(rb"[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), b"<token>"),
    (re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?"), b"<time>"),
]


@dataclass(frozen=True)
class Seen:
    """An answer as the reader got it, without what no two sites have in common."""

    asked: str
    status: int
    headers: tuple[tuple[str, bytes], ...]
    body: bytes
    length: int


def look(client: TestClient, method: str, path: str, **request: Any) -> Seen:
    answer = client.request(method, path, **request)
    headers = tuple(sorted((name, _mask(value.encode())) for name, value in answer.headers.items()))
    return Seen(
        f"{method} {path} {request or ''}",
        answer.status_code,
        headers,
        _mask(answer.content),
        len(answer.content),
    )


def _mask(text: bytes) -> bytes:
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


FORMS: dict[str, dict[str, Any]] = {
    "/account/tokens": {"data": {"name": "x", "scopes": ["answers:read"], "days": "1"}},
    "/accounts": {"data": {"name": "somebody"}},
    "/api/v1/snapshots": {"json": {"name": "Figure 1"}},
    "/projects/{project}/snapshots": {"data": {"name": "Figure 1"}},
    "/projects/{project}/exports": {"data": {"formats": "csv"}},
    "/projects/{project}/re-identify": {"data": {"reason": "a test", "pseudonym": "p" * 32}},
    "/projects/{project}/withdrawals": {"data": {"reason": "a test", "pseudonym": "p" * 32}},
}
"""What a form needs to be more than not understood."""
LEFT_OUT = {
    ("POST", "/sign-out"),  # nothing could be asked afterwards: asked last, by itself
    ("POST", "/accounts/{name}/close"),
    ("POST", "/account/sessions/{session_id}/end"),
    ("POST", "/operations/studies/{study_instance_uid}/withdraw"),
    ("POST", "/account/password"),
}
"""What would end the script: it is asked for at its end, on both sites alike."""


def paths_of(world: World, path: str) -> list[str]:
    """Fill the parameters of a route with what there is, and with what there is not."""
    with world.database.read() as session:
        uid = session.query(Study).order_by(Study.id).first().study_instance_uid
    known = {
        "project": [PROJECT],
        "answer_id": ["1", "2", "999"],
        "name": ["chest", "blind", "Table 1", "anna"],
        "version": ["1"],
        "read_id": ["1", "2", "3", "9", "17", "18", "25", "999"],
        "series": ["0"],
        "frame": ["1"],
        "place": ["0"],
        "file": ["long.csv", "wide.csv", "figures.csv", "codebook.csv"],
        "export_id": ["1"],
        "study_instance_uid": [uid],
        "sop_instance_uid": ["1.2.3"],
        "stored_name": ["x"],
        "withdrawal_id": ["1"],
        "session_id": ["999"],
        "token_id": ["999"],
        "token": ["once"],
        "output": ["csv", "jsonl"],
    }
    filled = [path]
    for name in re.findall(r"\{(\w+)\}", path):
        filled = [each.replace(f"{{{name}}}", value) for each in filled for value in known[name]]
    return filled


def ask_everything(world: World) -> Iterator[Seen]:
    """Yield what Anna gets by every route there is, in every role and with every token."""
    callers = {
        "browser": world.sign_in("anna"),
        "answers": world.token(Scope.ANSWERS_READ),
        "snapshots": world.token(Scope.SNAPSHOTS_WRITE),
        "operations": world.token(Scope.OPERATIONS_READ),
        "all": world.token(*Scope),
    }
    for method, path in sorted(app_routes(world.app.routes)):
        if method == "HEAD" or (method, path) in LEFT_OUT or path == "/static":
            continue
        for filled in paths_of(world, path):
            for caller in callers.values():
                yield look(caller, method, filled, **FORMS.get(path, {}))
    for query in ("", "?truth=right", "?choice=A", "?words=nodule", "?question=xr-chest-finding"):
        for page in ("/api/v1/answers", "/api/v1/answers/counts", "/api/v1/accuracy"):
            yield look(callers["all"], "GET", page + query)
        for page in ("answers", "accuracy", "exports"):
            yield look(callers["browser"], "GET", f"/projects/{PROJECT}/{page}{query}")


def read_until_the_lock(world: World, reader: ReaderClient) -> Iterator[Seen]:
    """Yield what Anna gets while she reads a case, with everything that she may try."""
    client, base = reader.client, reader.base
    yield look(client, "POST", f"{base}/next")
    case = reader.next()
    url = f"{base}/reads/{case['read']}"
    judged = {"phase": "blind", "choice_text": case["question"]["options"][0], "confidence": 70}
    for series in case["series"]:
        yield look(client, "GET", series["url"].replace("{n}", "1"))
    yield look(client, "GET", url)
    yield look(client, "GET", f"{base}/upcoming")
    yield look(client, "GET", f"{url}/pictures/0.png")
    yield look(client, "GET", f"{url}/series/9/frames/9")
    yield look(client, "PUT", f"{url}/draft", json={"draft": {"confidence": 1}, "active_ms": 5})
    for wrong in (
        {"phase": "assisted", "reasoning_grade": 3},
        {"phase": "adjudication"},
        {"confidence": None},
        {"choice_text": "Something else"},
        {"reasoning_grade": 3},
        {"flags": ["no_flag"]},
    ):
        yield look(client, "POST", f"{url}/lock", json=judged | {"active_ms": 0} | wrong)
    yield look(client, "POST", f"{url}/amend", json=judged | {"reason": "a slip"})


def compare(first: Iterator[Seen], second: Iterator[Seen]) -> int:
    """Hold two scripts against each other; returns how many answers they have."""
    count = 0
    for one, other in zip(first, second, strict=True):
        assert one == other, _differences(one, other)
        count += 1
    return count


def _differences(one: Seen, other: Seen) -> str:
    lines = zip(one.body.split(b"\n"), other.body.split(b"\n"), strict=False)
    differing = [f"- {a!r}\n+ {b!r}" for a, b in lines if a != b]
    return "\n".join([one.asked, *differing[:5]])


def test_a_blinded_reader_cannot_tell_what_the_model_and_the_others_said(make_world):
    first = make_world("A", "There is nothing.", {"ben": "Pneumothorax"})
    second = make_world(
        "C", "A nodule stands beside the hilum, and much more than that.", {"ben": "None of these"}
    )

    asked = compare(ask_everything(first), ask_everything(second))
    for name in ("chest", "blind"):
        readers = [world.read_as("anna", name) for world in (first, second)]
        asked += compare(*map(read_until_the_lock, (first, second), readers))
    asked += compare(ask_everything(first), ask_everything(second))

    assert asked > 1_000
    after = []
    for world in (first, second):
        reader = world.read_as("anna")
        reader.next()
        after.append(reader.lock("Airspace opacity").json()["case"]["model"])
    assert after[0] != after[1]


def test_the_same_sites_are_told_apart_once_the_protocols_are_over(make_world):
    first = make_world("A", "There is nothing.", {"ben": "Pneumothorax"})
    second = make_world("C", "A nodule.", {"ben": "None of these"})
    for world in (first, second):
        for name in ("chest", "blind"):
            world.read_as("anna", name).read_all(lambda case: "Airspace opacity")
            world.read_as("carla", name).read_all(lambda case: "Airspace opacity")

    different = {
        one.asked
        for one, other in zip(ask_everything(first), ask_everything(second), strict=True)
        if one != other
    }

    assert any(f"GET /projects/{PROJECT}/answers " in asked for asked in different)
    assert any("GET /api/v1/answers/counts" in asked for asked in different)
