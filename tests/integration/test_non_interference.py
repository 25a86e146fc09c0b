"""Two sites that differ only in what is hidden: who is blinded cannot tell them apart, by whatever
they ask for and in whatever role, at any moment until it is shown to them.

    a reader        what the model says, and the other readers, of every case but those revealed
    an adjudicator  what the model says, and what readers said after they had seen it
    who reads again what was seen in the earlier read, in the other arm, in another protocol

Ids, times, nonces, hashes, roots and signatures are masked, and of a case that was revealed the
model's side; statuses, headers, bodies and lengths are compared byte for byte.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from anyio.from_thread import BlockingPortal
from browsers import app_routes
from factories import SITE_KEY, make_engine_identity, put_instance
from fakes import FakeClock, FakeEngine, InProcessDecoder, make_passwords
from fastapi import FastAPI
from fastapi.testclient import TestClient
from readers import OPTIONS, ReaderClient, make_chest, make_protocol, start_regardless

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.accounts import add_account, give_role
from medr1_pacs.db.api_tokens import add_token
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import open_session
from medr1_pacs.db.tables import Assignment, ReadingCase, Study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.people import Scope
from medr1_pacs.records.review_words import AssignmentState, Phase
from medr1_pacs.records.words import Role, SignInMethod
from medr1_pacs.reviews.protocols import ReadingProtocol
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.settings import Settings
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.naming import declare, name_for_research
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.app import make_app
from medr1_pacs.web.security.csrf import HEADER, csrf_token_of
from medr1_pacs.web.security.door import Door

PROJECT, SECOND = "default", "second"
RULES = ProjectRules(
    (Project(PROJECT), Project(SECOND)),
    tuple(ProjectRule(name, {"called_ae_title": "BOTH"}) for name in (PROJECT, SECOND)),
)
"""Both projects use every study."""
PEOPLE = {
    "anna": [Role.READER, Role.RESEARCHER, Role.AUDITOR, Role.CUSTODIAN],
    "ben": [Role.READER],
    "carla": [Role.READER],
}
"""Anna, who is compared, is everything that one can be, and an administrator besides."""
STUDIES = 4
HOUR_S = 3_600
DAY_S = 86_400
WASHOUT_DAYS = 7

SAID = {
    "nothing": "<think>There is nothing.</think><answer>A</answer>",
    "a nodule": (
        "<think>A nodule stands beside the hilum, and much more than that.</think>"
        "<answer>C</answer>"
    ),
    "no answer": "I would rather look at something else",
}
"""What the model of a site says of everything."""
MODELS = ("nothing", "a nodule")


# -- the sites -----------------------------------------------------------------------------------


@dataclass
class World:
    """A site with its pages."""

    database: Database
    app: FastAPI
    clock: FakeClock
    portal: BlockingPortal
    protocols: dict[str, str] = field(default_factory=dict)
    """Name -> project of those that were started."""

    @property
    def projects(self) -> list[str]:
        """Those that Anna is in: the second one as long as a protocol of it is compared."""
        return sorted({PROJECT, *self.protocols.values()})

    def begin(self, protocol: ReadingProtocol, project: str = PROJECT) -> None:
        if project not in self.projects:
            _let_in(self.database, self.clock, project)
        # The ids of reads are drawn by chance: here it draws the same ones on both sites.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "SystemRandom", partial(random.Random, 1))
            start_regardless(self.database, protocol, project)
        self.protocols[protocol.name] = project

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

    def token(self, *scopes: Scope, project: str = PROJECT) -> TestClient:
        """Return a program of Anna's, in a project."""
        with self.database.write() as session:
            token = add_token(
                session,
                _account_id("anna"),
                "test",
                scopes,
                project=project,
                days=1,
                actor="test",
                now=self.clock.now(),
            )
        client = self._client()
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def read_as(self, account: str, name: str = "chest") -> ReaderClient:
        base = f"/api/v1/projects/{self.protocols[name]}/reading/{name}/1"
        return ReaderClient(self.sign_in(account), base)

    def reads(self, of: int | None = None) -> list[int]:
        """Return the reads that Anna has open or is done with; those of one's case alone."""
        with self.database.read() as session:
            study_of = {row.id: row.study_id for row in session.query(ReadingCase)}
            rows = {row.id: row for row in session.query(Assignment).order_by(Assignment.id)}
            return [
                row.id
                for row in rows.values()
                if row.account_id == _account_id("anna")
                and row.state in (AssignmentState.OPEN, AssignmentState.DONE)
                and (of is None or study_of[row.case_id] == study_of[rows[of].case_id])
            ]

    def other_reads(self) -> list[int]:
        """Return a read that Anna has not opened yet, and one of somebody else."""
        own = set(self.reads())
        with self.database.read() as session:
            rows = session.query(Assignment).order_by(Assignment.id.desc()).all()
            left = [row for row in rows if row.id not in own]
            anna = [row.id for row in left if row.account_id == _account_id("anna")]
            others = [row.id for row in left if row.account_id != _account_id("anna")]
        return [*anna[:1], *others[:1]]

    def _client(self) -> TestClient:
        client = TestClient(
            self.app,
            base_url="http://127.0.0.1",
            client=("127.0.0.1", 50_000),
            follow_redirects=False,
        )
        client.portal = self.portal
        return client


def _account_id(account: str) -> int:
    return list(PEOPLE).index(account) + 1


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """The thread that answers: one for all requests, of which there are thousands."""
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, migrated_sqlite, headers) -> Callable[[str], Path]:
    """Return the folder of a site whose model says this, filled once for all tests."""
    folders: dict[str, Path] = {}

    def folder_of(model: str) -> Path:
        if model not in folders:
            folders[model] = tmp_path_factory.mktemp("site") / "data"
            shutil.copytree(migrated_sqlite, folders[model])
            _fill(Settings(data_dir=folders[model]), headers, SAID[model])
        return folders[model]

    return folder_of


@pytest.fixture
def make_world(tmp_path, folder_of, portal) -> Iterator[Callable[[str], World]]:
    """Serve a site of its own whose model says this."""
    worlds: list[World] = []

    def make_world(model: str) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        shutil.copytree(folder_of(model), folder)
        worlds.append(_serve(Settings(data_dir=folder), portal))
        return worlds[-1]

    yield make_world
    for world in worlds:
        world.database.dispose()


@pytest.fixture
def make_worlds(make_world) -> Callable[..., list[World]]:
    """Serve two sites that differ in what their models say, with these protocols."""

    def make_worlds(*protocols: ReadingProtocol, models: Sequence[str] = MODELS) -> list[World]:
        worlds = [make_world(model) for model in models]
        for world in worlds:
            for protocol in protocols:
                world.begin(protocol)
        return worlds

    return make_worlds


def _fill(settings: Settings, headers, raw_output: str) -> None:
    """Receive the studies and let them be answered, and people in."""
    database, vault = Database(settings.database_url), Database(settings.vault_url)
    store, pictures = InstanceStore(settings.storage_path), PictureStore(settings.storage_path)
    declare(database, RULES)
    for seed in range(1, STUDIES + 1):
        for ds in make_chest(seed):
            put_instance(store, ds, called_ae_title="BOTH")
    Indexer(store, database, vault, SITE_KEY, RULES, headers).index()
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
    engine = FakeEngine(lambda prompt: raw_output, identity=identity)
    while answer_batch(database, pictures, engine, owner="answerer"):
        pass
    with database.write() as session:
        now = FakeClock().now()
        for account in PEOPLE:
            add_account(session, account, actor="test", now=now)
        give_role(session, "anna", Role.ADMINISTRATOR, None, rules=RULES, actor="test", now=now)
    _let_in(database, FakeClock(), PROJECT)
    make_snapshot(database, PROJECT, "Table 1", AnswerFilters(), actor="test")
    for each in (database, vault):
        each.dispose()


def _serve(settings: Settings, portal: BlockingPortal) -> World:
    database, vault = Database(settings.database_url), Database(settings.vault_url)
    clock = FakeClock()
    app = make_app(
        database,
        InstanceStore(settings.storage_path),
        PictureStore(settings.storage_path),
        exports=ExportStore(settings.storage_path),
        vault=vault,
        door=Door(passwords=make_passwords(), now=clock.now, monotonic=clock.monotonic),
        decoder=InProcessDecoder(),
    )
    return World(database, app, clock, portal)


def _let_in(database: Database, clock: FakeClock, project: str) -> None:
    with database.write() as session:
        give = partial(give_role, session, rules=RULES, actor="test", now=clock.now())
        for account, roles in PEOPLE.items():
            for role in roles:
                give(account, role, project)


# -- what is compared ----------------------------------------------------------------------------

_MASKS = [
    (re.compile(rb"\b\d{10,}-[0-9a-f]{16}-[0-9a-f]{16}\.dcm\b"), b"<stored name>"),
    (re.compile(rb"\b[0-9a-f]{64}\b"), b"<sha256>"),
    (re.compile(rb"\b[0-9a-f]{32}\b"), b"<nonce>"),
    (re.compile(rb"medr1_[A-Za-z0-9_-]{43}"), b"<token>"),
    (re.compile(rb"[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), b"<token>"),
    (re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?"), b"<time>"),
]
Revealed = Collection[int]
"""Reads of which the model's side was shown, and may be seen."""


@dataclass(frozen=True)
class Seen:
    """An answer as the reader got it, without what no two sites have in common."""

    asked: str
    status: int
    headers: tuple[tuple[str, bytes], ...]
    body: bytes
    length: int


def look(
    client: TestClient, method: str, path: str, revealed: Revealed = (), **request: Any
) -> Seen:
    answer = client.request(method, path, **request)
    headers, body = dict(answer.headers), answer.content
    if b'"case":' in body and headers["content-type"] == "application/json":
        body = _without_what_may_be_seen(answer.json(), revealed)
        headers["content-length"] = str(len(body))
    return Seen(
        f"{method} {path} {request or ''}",
        answer.status_code,
        tuple(sorted((name, _mask(value.encode())) for name, value in headers.items())),
        _mask(body),
        len(body),
    )


def _without_what_may_be_seen(told: dict[str, Any], revealed: Revealed) -> bytes:
    for case in filter(None, (told.get("case"), told.get("next"))):
        if case["read"] in revealed:
            assert case["model"] is None or case["phase"] != "blind"
            case["model"] = "<revealed>"
        # Which of the readers is called A is drawn anew on every site.
        others = [each | {"label": "Reader ?"} for each in case["others"]]
        case["others"] = sorted(others, key=json.dumps)
    return json.dumps(told).encode()


def _mask(text: bytes) -> bytes:
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


READ = "/api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}"
SAYING = {"phase": "blind", "choice_text": OPTIONS[1], "confidence": 70}
FORMS: dict[str, dict[str, Any]] = {
    "/account/tokens": {"data": {"name": "x", "scopes": ["answers:read"], "days": "1"}},
    "/accounts": {"data": {"name": "somebody"}},
    "/api/v1/snapshots": {"json": {"name": "Figure 1"}},
    "/projects/{project}/snapshots": {"data": {"name": "Figure 1"}},
    "/projects/{project}/exports": {"data": {"formats": "csv"}},
    "/projects/{project}/re-identify": {"data": {"reason": "a test", "pseudonym": "p" * 32}},
    "/projects/{project}/withdrawals": {"data": {"reason": "a test", "pseudonym": "p" * 32}},
    f"{READ}/draft": {"json": {"draft": {"confidence": 1}, "active_ms": 5}},
    f"{READ}/lock": {"json": SAYING | {"choice_text": "Something else", "active_ms": 0}},
    f"{READ}/amend": {"json": SAYING | {"reason": "a slip"}},
}
"""What a form needs to be more than not understood; nothing is locked by it."""
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
    if "/reading/{name}" in path:
        filled = [
            path.replace("{project}", project).replace("{name}", name)
            for name, project in world.protocols.items()
        ]
    else:
        projects = world.projects if "{project}" in path else [PROJECT]
        filled = [path.replace("{project}", project) for project in projects]
    known = {
        "answer_id": ["1", "999"],
        "name": ["Table 1" if "snapshots" in path else "anna"],
        "version": ["1"],
        "read_id": [*map(str, (*world.reads(), *world.other_reads())), "999"],
        "series": ["0"],
        "frame": ["1"],
        "place": ["0"],
        "file": ["long.csv", "wide.csv", "figures.csv", "codebook.csv"],
        "export_id": ["1"],
        "study_instance_uid": [_first_study(world)],
        "sop_instance_uid": ["1.2.3"],
        "stored_name": ["x"],
        "withdrawal_id": ["1"],
        "session_id": ["999"],
        "token_id": ["999"],
        "token": ["once"],
        "output": ["csv", "jsonl"],
    }
    for name in re.findall(r"\{(\w+)\}", filled[0]):
        filled = [each.replace(f"{{{name}}}", value) for each in filled for value in known[name]]
    return filled


def _first_study(world: World) -> str:
    with world.database.read() as session:
        return session.query(Study).order_by(Study.id).first().study_instance_uid


def ask_everything(
    world: World, revealed: Revealed = (), *, scopes: bool = False
) -> Iterator[Seen]:
    """Yield what Anna gets by every route there is, in every role and with a token for everything;
    `scopes`: with a token of each scope besides."""
    browser = world.sign_in("anna")
    programs = [world.token(*Scope, project=project) for project in world.projects]
    programs += [world.token(scope) for scope in Scope if scopes]
    for method, path in sorted(app_routes(world.app.routes)):
        if method == "HEAD" or (method, path) in LEFT_OUT or path == "/static":
            continue
        form = FORMS.get(path, {})
        for place, filled in enumerate(paths_of(world, path)):
            for caller in (browser, *programs) if place == 0 else (browser,):
                yield look(caller, method, filled, revealed, **form)
    for query in ("", "?truth=right", "?choice=A", "?words=nodule", "?question=xr-chest-finding"):
        for page in ("/api/v1/answers", "/api/v1/answers/counts", "/api/v1/accuracy"):
            yield look(programs[0], "GET", page + query)
        for page in ("answers", "accuracy", "exports"):
            yield look(browser, "GET", f"/projects/{PROJECT}/{page}{query}")


def read_until_the_lock(reader: ReaderClient, revealed: Revealed = ()) -> Iterator[Seen]:
    """Yield what Anna gets while she reads a case without the model, with everything that she
    may try."""
    client, base = reader.client, reader.base
    yield look(client, "POST", f"{base}/next", revealed)
    case = reader.next()
    url, phase = reader.url(), case["phase"]
    judged = SAYING | {"phase": phase, "choice_text": case["question"]["options"][0]}
    for series in case["series"]:
        yield look(client, "GET", series["url"].replace("{n}", "1"))
    yield look(client, "GET", url, revealed)
    yield look(client, "GET", f"{base}/upcoming")
    yield look(client, "GET", f"{url}/pictures/0.png")
    yield look(client, "GET", f"{url}/series/9/frames/9")
    draft = {"phase": phase, "confidence": 1}
    yield look(client, "PUT", f"{url}/draft", json={"draft": draft, "active_ms": 5})
    others = [each for each in Phase if each != phase]
    for wrong in (
        *({"phase": each, "reasoning_grade": 3} for each in others),
        {"confidence": None},
        {"choice_text": "Something else"},
        {"reasoning_grade": 3},
        {"flags": ["no_flag"]},
    ):
        yield look(client, "POST", f"{url}/lock", json=judged | {"active_ms": 0} | wrong)
    yield look(client, "POST", f"{url}/amend", revealed, json=judged | {"reason": "a slip"})


def lock(reader: ReaderClient, revealed: Revealed = (), **fields: Any) -> Iterator[Seen]:
    """Yield what Anna gets when she locks the running phase of her open case."""
    url, judged = reader.url(), reader.judge("Airspace opacity", **fields)
    yield look(reader.client, "POST", f"{url}/lock", revealed, json=judged)


def compare(scripts: Sequence[Iterator[Seen]]) -> int:
    """Hold two scripts against each other; returns how many answers they have."""
    count = 0
    for one, other in zip(*scripts, strict=True):
        assert one == other, _differences(one, other)
        count += 1
    return count


def _differences(one: Seen, other: Seen) -> str:
    lines = zip(one.body.split(b"\n"), other.body.split(b"\n"), strict=False)
    differing = [f"- {a!r}\n+ {b!r}" for a, b in lines if a != b]
    return "\n".join([f"{one.asked}: {one.status}, {other.status}", *differing[:5]])


# -- a reader ------------------------------------------------------------------------------------


def begin_what_others_have_read(worlds: Sequence[World], *protocols: ReadingProtocol) -> None:
    """Start protocols of which Ben has read everything, on each site with a choice of his own."""
    for world, choice in zip(worlds, ("Pneumothorax", "None of these"), strict=True):
        for protocol in protocols:
            world.begin(protocol)
            world.read_as("ben", protocol.name).read_all(lambda case, choice=choice: choice)


WITH_BEN = {"readers": ["anna", "ben"], "adjudicators": ["carla"]}


def test_a_blinded_reader_cannot_tell_what_the_model_and_the_others_said(make_worlds):
    worlds = make_worlds()
    begin_what_others_have_read(
        worlds,
        make_protocol(**WITH_BEN, arm="sequential"),
        make_protocol(**WITH_BEN, name="blind"),
    )

    def script(world: World) -> Iterator[Seen]:
        yield from ask_everything(world, scopes=True)
        for name in ("chest", "blind"):
            yield from read_until_the_lock(world.read_as("anna", name))
        yield from ask_everything(world)

    assert compare([script(world) for world in worlds]) > 400
    after = []
    for world in worlds:
        reader = world.read_as("anna")
        reader.next()
        after.append(reader.lock("Airspace opacity").json()["case"]["model"])
    assert after[0] != after[1]


def test_what_is_revealed_of_a_case_tells_nothing_of_another(make_worlds):
    worlds = make_worlds()
    begin_what_others_have_read(worlds, make_protocol(**WITH_BEN, arm="sequential"))

    def script(world: World) -> Iterator[Seen]:
        reader = world.read_as("anna")
        yield from read_until_the_lock(reader)
        revealed = {reader.case["read"]}
        yield from lock(reader, revealed)
        reader.next()
        yield from ask_everything(world, revealed)
        yield from lock(reader, revealed, goes_on=True)
        yield from ask_everything(world, revealed)
        yield from read_until_the_lock(reader, revealed)
        yield from lock(reader, revealed | {reader.case["read"]})

    assert compare([script(world) for world in worlds]) > 400


def test_whether_the_model_answered_is_told_by_nothing(make_worlds):
    worlds = make_worlds(
        make_protocol(readers=["anna", "ben"], arm="sequential"), models=("nothing", "no answer")
    )

    def script(world: World) -> Iterator[Seen]:
        yield from ask_everything(world)
        reader = world.read_as("anna")
        yield from read_until_the_lock(reader)
        yield from lock(reader, {reader.case["read"]})

    assert compare([script(world) for world in worlds]) > 200
    shown = [world.read_as("anna").next()["model"]["choice_text"] for world in worlds]
    assert [choice is None for choice in shown] == [False, True]


# -- an adjudicator ------------------------------------------------------------------------------


def test_an_adjudicator_cannot_tell_what_was_said_once_the_model_was_seen(make_worlds):
    protocol = make_protocol(readers=["ben", "carla"], adjudicators=["anna"], arm="sequential")
    worlds = make_worlds(protocol)
    alone = {"ben": "Pneumothorax", "carla": "Pleural effusion"}
    helped = (
        {"ben": "Airspace opacity", "carla": "Airspace opacity"},
        {"ben": "Pneumothorax", "carla": "None of these"},
    )
    for world, then in zip(worlds, helped, strict=True):
        for account, choice in alone.items():
            reader = world.read_as(account)
            while reader.next() is not None:
                reader.lock(choice, comment=f"{choice} on both sides")
                reader.lock(then[account], comment=f"Rather {then[account]}", confidence=99)
                reader.amend(reader.case["read"], then[account])

    def script(world: World) -> Iterator[Seen]:
        yield from ask_everything(world)
        reader = world.read_as("anna")
        for _ in range(2):
            yield from read_until_the_lock(reader)
            yield from lock(reader)

    assert compare([script(world) for world in worlds]) > 200
    case = worlds[0].read_as("anna").next()
    assert {each["choice_text"] for each in case["others"]} == set(alone.values())


# -- who reads again -----------------------------------------------------------------------------


def ask_for_earlier_reads(reader: ReaderClient, reads: Collection[int]) -> Iterator[Seen]:
    """Yield what Anna gets by all ways to reads that she is done with."""
    for read in reads:
        url = reader.url(read)
        for part in ("", "/pictures/0.png", "/series/0/frames/1"):
            yield look(reader.client, "GET", url + part)
        for phase in ("blind", "assisted"):
            said = SAYING | {"phase": phase, "reason": "a slip"}
            graded = said | ({"reasoning_grade": 2} if phase == "assisted" else {})
            yield look(reader.client, "POST", f"{url}/amend", json=graded)
            yield look(reader.client, "POST", f"{url}/lock", json=SAYING | {"active_ms": 0})


@pytest.mark.parametrize(
    "fields",
    [{"arm": None, "crossover": ["assisted", "blind"]}, {"arm": "sequential", "repeats": 2}],
    ids=["crossover", "repeats"],
)
def test_who_reads_a_case_again_blind_gets_nothing_of_the_first_time(make_worlds, fields):
    worlds = make_worlds(
        make_protocol(**fields, readers=["anna", "ben"], washout_days=WASHOUT_DAYS)
    )
    for world in worlds:
        world.read_as("anna").read_all(lambda case: "Airspace opacity")
        world.clock.pass_s(WASHOUT_DAYS * DAY_S)

    def script(world: World) -> Iterator[Seen]:
        first, reader, revealed = world.reads(), world.read_as("anna"), set()
        is_asked = False
        while reader.next() is not None:
            if reader.case["phase"] == "blind":
                earlier = world.reads(of=reader.case["read"])
                yield from ask_for_earlier_reads(reader, set(first) & set(earlier))
                yield from read_until_the_lock(reader, revealed)
                if not is_asked:
                    yield from ask_everything(world, revealed)
                    is_asked = True
            revealed.add(reader.case["read"])
            while reader.case["phase"] is not None:
                assert reader.lock("Airspace opacity").status_code == 200
        assert is_asked

    assert compare([script(world) for world in worlds]) > 200


@pytest.mark.parametrize("project", [PROJECT, SECOND])
def test_who_reads_a_case_by_another_protocol_gets_nothing_of_the_first(make_worlds, project):
    worlds = make_worlds(make_protocol(readers=["anna", "ben"], arm="sequential"))
    for world in worlds:
        world.read_as("anna").read_all(lambda case: "Airspace opacity")
        world.begin(make_protocol(name="blind", readers=["anna", "ben"]), project)
        world.clock.pass_s(HOUR_S + 1)  # the sitting in which she saw it all is over

    def script(world: World) -> Iterator[Seen]:
        earlier, reader = world.reads(), world.read_as("anna", "blind")
        yield from ask_for_earlier_reads(world.read_as("anna"), earlier)
        yield from ask_everything(world)
        yield from ask_for_earlier_reads(world.read_as("anna"), earlier)
        yield from read_until_the_lock(reader)
        yield from lock(reader)
        # What waited for this case waits no more; the others do.
        waiting = set(earlier) - set(world.reads(of=reader.case["read"]))
        yield from ask_for_earlier_reads(world.read_as("anna"), waiting)

    assert compare([script(world) for world in worlds]) > 400


# -- afterwards ----------------------------------------------------------------------------------


def test_the_same_sites_are_told_apart_once_the_protocols_are_over(make_worlds):
    worlds = make_worlds()
    begin_what_others_have_read(
        worlds, *(make_protocol(**WITH_BEN, name=name) for name in ("chest", "blind"))
    )
    for world in worlds:
        for name in ("chest", "blind"):
            for account in ("anna", "carla"):
                world.read_as(account, name).read_all(lambda case: "Airspace opacity")

    def script(world: World) -> Iterator[Seen]:
        yield look(world.sign_in("anna"), "GET", f"/projects/{PROJECT}/answers")
        yield look(world.token(*Scope), "GET", "/api/v1/answers/counts")
        yield look(world.sign_in("anna"), "GET", f"/projects/{PROJECT}/reading/blind/1/results")

    pairs = zip(*map(script, worlds), strict=True)
    assert [(one.status, one != other) for one, other in pairs] == [(200, True)] * 3
