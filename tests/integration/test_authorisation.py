"""Who gets what: every route for every kind of caller, by one table; and nobody learns of more."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from browsers import app_routes
from factories import SITE_KEY, make_instance, make_uid, put_instance
from fakes import make_passwords
from readers import make_protocol, start

from medr1_pacs.db.accounts import close_account, set_password
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.sign_ins import make_link
from medr1_pacs.db.studies import set_state
from medr1_pacs.db.tables import (
    AccountSession,
    ApiToken,
    AuditEvent,
    Instance,
    QuarantinedInstance,
    Study,
)
from medr1_pacs.db.withdrawals import request_withdrawal
from medr1_pacs.demo.studies import make_study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.pseudonyms import patient_pseudonym, pseudonym, pseudonymous_uid
from medr1_pacs.records.people import Scope
from medr1_pacs.records.review_words import Phase
from medr1_pacs.records.reviews import Judgement, Reader
from medr1_pacs.records.words import Modality, StudyState
from medr1_pacs.reviews.protocol_text import write_protocol
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.steps.reviewing import lock, open_next
from medr1_pacs.web.security.csrf import HEADER

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

RULES = ProjectRules(
    (Project("default"), Project("lung"), Project("heart")),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)
PASSWORD = "coffee table lantern"
DEFINITION = write_protocol(make_protocol(readers=["target"], version=9))

CALLERS = (
    "nobody",
    "reader",  # of lung, as the next two
    "researcher",
    "auditor",
    "administrator",  # in no project
    "stranger",  # a researcher of heart
    "closed",  # the session of a closed account that was all of these
    "answers:read",  # tokens of a researcher of lung
    "snapshots:write",
    "operations:read",  # a token of the administrator
    "heart",  # every scope for heart alone, of an administrator and researcher of both
    "custodian",  # of lung; where a line has no cell for one, a custodian is as a reader
)
"""In the order of the table's columns."""

# `done` is the status where the caller may; `in` leads to the sign-in; any other is itself.
# The project of a path is lung. A token is for the API: elsewhere its program is nobody.
TABLE = """
  done | nob rea res aud adm str clo | ans sna opr hea | cus
-- open
GET /static                                                                    200 | + + + + + + + | + + + +
GET /healthz                                                                   200 | + + + + + + + | + + + +
GET /readyz                                                                    503 | + + + + + + + | + + + +
GET /sign-in                                                                   200 | + 303 303 303 303 303 + | + + + +
GET /sign-in/link/{token}                                                      200 | + + + + + + + | + + + +
GET /sign-in/provider                                                          404 | + + + + + + + | + + + +
GET /sign-in/provider/callback                                                 404 | + + + + + + + | + + + +
POST /sign-in                                                                  303 | + + + + + + + | + + + +
POST /sign-in/link/{token}                                                     303 | + + + + + + + | + + + +
-- one's own
GET /                                                                          200 | in + + + + + in | in in in in
GET /api                                                                       200 | in + + + + + in | in in in in
GET /account                                                                   200 | in + + + + + in | in in in in
POST /account/sessions/{session_id}/end                                        303 | in + + + + + in | in in in in
POST /account/tokens                                                           200 | in + + + + + in | in in in in
POST /account/tokens/{token_id}/revoke                                         303 | in + + + + + in | in in in in
POST /account/password                                                         200 | in + + + + + in | in in in in
POST /sign-out                                                              leaves | in + + + + + in | in in in in
-- a project's
GET /projects/{project}/answers                                                200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/answers.{output}                                       200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/answers/{answer_id}                                    200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/answers/{answer_id}/picture.png                        200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/accuracy                                               200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/accuracy.csv                                           200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/dictionary                                             200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/snapshots                                              200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/snapshots/{name}                                       200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/snapshots/{name}/answers.{output}                      200 | in 403 + + 404 404 in | in in in in
POST /projects/{project}/snapshots                                             303 | in 403 + 403 404 404 in | in in in in
GET /projects/{project}/exports                                                200 | in 403 + + 404 404 in | in in in in | +
GET /projects/{project}/fragments/exports                                      200 | in 403 + + 404 404 in | in in in in | +
POST /projects/{project}/exports                                               303 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/exports/{export_id}/export.zip                         200 | in 403 + + 404 404 in | in in in in
POST /projects/{project}/exports/{export_id}/remove                            303 | in 403 + 403 404 404 in | in in in in | +
GET /projects/{project}/reading/{name}/{version}/results                       200 | in 403 + + 404 404 in | in in in in
GET /projects/{project}/reading/{name}/{version}/results/{file}                200 | in 403 + + 404 404 in | in in in in
-- of a project's custodians
GET /projects/{project}/re-identify                                            200 | in 403 403 403 404 404 in | in in in in | +
POST /projects/{project}/re-identify                                           200 | in 403 403 403 404 404 in | in in in in | +
GET /projects/{project}/withdrawals                                            200 | in 403 403 403 404 404 in | in in in in | +
POST /projects/{project}/withdrawals                                           303 | in 403 403 403 404 404 in | in in in in | +
GET /projects/{project}/references                                             200 | in 403 + + 404 404 in | in in in in | +
POST /projects/{project}/references                                            200 | in 403 403 403 404 404 in | in in in in | +
-- a project's reading: everybody of it sees what is theirs to see
GET /projects/{project}/reading                                                200 | in + + + 404 404 in | in in in in | +
GET /projects/{project}/reading/{name}/{version}                               200 | in + + + 404 404 in | in in in in | 404
GET /projects/{project}/reading/new                                            200 | in 403 + 403 404 404 in | in in in in | 403
POST /projects/{project}/reading/new                                           200 | in 403 + 403 404 404 in | in in in in | 403
POST /projects/{project}/reading/{name}/{version}/unblind                      303 | in 403 + 403 404 404 in | in in in in | 403
POST /projects/{project}/reading/{name}/{version}/stop                         303 | in 403 + 403 404 404 in | in in in in | 403
-- of a project's readers: `reader` is in a reading protocol
GET /projects/{project}/reading/{name}/{version}/read                          200 | in + 403 403 404 404 in | in in in in | 403
POST /api/v1/projects/{project}/reading/{name}/{version}/next                  200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
GET /api/v1/projects/{project}/reading/{name}/{version}/upcoming               200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
GET /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}        200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
PUT /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}/draft  204 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
POST /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}/lock  200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
POST /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}/amend 200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
GET /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}/series/{series}/frames/{frame} 200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
GET /api/v1/projects/{project}/reading/{name}/{version}/reads/{read_id}/pictures/{place}.png 200 | 401 + 403 403 404 404 401 | 403 403 404 404 | 403
-- for programs, and for browsers too
GET /api/v1/openapi.json                                                       200 | 401 + + + + + 401 | + + + +
GET /api/v1/projects                                                           200 | 401 + + + + + 401 | + + + +
GET /api/v1/answers                                                            200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/answers/counts                                                     200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/accuracy                                                           200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/answers/{answer_id}                                                200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/answers/{answer_id}/picture                                        200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/dictionary                                                         200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/snapshots                                                          200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/snapshots/{name}                                                   200 | 401 403 + + 404 404 401 | + 403 404 404
GET /api/v1/snapshots/{name}/answers                                           200 | 401 403 + + 404 404 401 | + 403 404 404
POST /api/v1/snapshots                                                         201 | 401 403 + 403 404 404 401 | 403 + 404 404
GET /api/v1/operations/studies                                                 200 | 401 403 403 403 + 403 401 | 403 403 + 403
GET /api/v1/operations/status                                                  200 | 401 403 403 403 + 403 401 | 403 403 + 403
-- an administrator's
GET /operations                                                                200 | in 403 403 403 + 403 in | in in in in
GET /operations/fragments/status                                               200 | in 403 403 403 + 403 in | in in in in
GET /operations/studies/{study_instance_uid}                                   200 | in 403 403 403 + 403 in | in in in in
GET /operations/fragments/studies/{study_instance_uid}                         200 | in 403 403 403 + 403 in | in in in in
GET /operations/quarantine                                                     200 | in 403 403 403 + 403 in | in in in in
GET /operations/quarantine/{stored_name}                                       200 | in 403 403 403 + 403 in | in in in in
GET /operations/withdrawals                                                    200 | in 403 403 403 + 403 in | in in in in
GET /operations/withdrawals/{withdrawal_id}                                    200 | in 403 403 403 + 403 in | in in in in
POST /operations/studies/{study_instance_uid}/withdraw                         303 | in 403 403 403 + 403 in | in in in in
GET /operations/audit                                                          200 | in 403 403 403 + 403 in | in in in in
GET /operations/refused                                                        200 | in 403 403 403 + 403 in | in in in in
POST /operations/studies/{study_instance_uid}/retry                            303 | in 403 403 403 + 403 in | in in in in
POST /operations/studies/{study_instance_uid}/complete                         303 | in 403 403 403 + 403 in | in in in in
POST /operations/studies/{study_instance_uid}/instances/{sop_instance_uid}/accept 303 | in 403 403 403 + 403 in | in in in in
POST /operations/studies/{study_instance_uid}/instances/{sop_instance_uid}/refuse 303 | in 403 403 403 + 403 in | in in in in
POST /operations/quarantine/{stored_name}/retry                                303 | in 403 403 403 + 403 in | in in in in
POST /operations/quarantine/{stored_name}/drop                                 303 | in 403 403 403 + 403 in | in in in in
GET /accounts                                                                  200 | in 403 403 403 + 403 in | in in in in
POST /accounts                                                                 200 | in 403 403 403 + 403 in | in in in in
POST /accounts/{name}/roles                                                    303 | in 403 403 403 + 403 in | in in in in
POST /accounts/{name}/roles/remove                                             303 | in 403 403 403 + 403 in | in in in in
POST /accounts/{name}/link                                                     200 | in 403 403 403 + 403 in | in in in in
POST /accounts/{name}/close                                                    303 | in 403 403 403 + 403 in | in in in in
POST /accounts/{name}/reopen                                                   303 | in 403 403 403 + 403 in | in in in in
"""  # noqa: E501 - a table is read along its lines


@dataclass(frozen=True, slots=True)
class Line:
    """What one route answers to each caller."""

    method: str
    path: str
    done: str
    cells: tuple[str, ...]

    def expected(self, caller: str) -> str:
        cell = self.cells[CALLERS.index(caller)]
        return self.done if cell == "+" else cell


def read_table() -> list[Line]:
    lines = [line for line in TABLE.splitlines()[2:] if not line.startswith("--")]
    parts = [line.replace("|", " ").split() for line in lines]
    reader = CALLERS.index("reader")
    return [
        Line(method, path, done, (*cells, *[cells[reader]] * (len(CALLERS) - len(cells))))
        for method, path, done, *cells in parts
    ]


LINES = read_table()


_numbers = itertools.count(1)


class Place:
    """A site with one of everything, and what a request needs to be a right one."""

    def __init__(self, database, store, pictures, have_account, **ids) -> None:
        self._database, self._have_account = database, have_account
        self.ids = ids

    def path_of(self, line: Line) -> str:
        if line.path == "/static":
            return "/static/medr1.css"
        return re.sub(r"\{(\w+)\}", lambda found: self._value(line, found[1]), line.path)

    def _value(self, line: Line, name: str) -> str:
        if name == "token":
            now = datetime.now(UTC)
            with self._database.write() as session:
                return make_link(session, self._have_account("target"), actor="test", now=now)
        if name == "name":
            if "/reading/" in line.path:
                return "chest"
            return "target" if line.path.startswith("/accounts") else "Table 1"
        by_action = f"{name} to {line.path.rpartition('/')[2]}"
        return str(self.ids.get(by_action) or self.ids[name])

    def judged(self, verb: str) -> dict[str, object]:
        """Return what a reader sends of a case whose first phase is locked."""
        if verb == "draft":
            return {"draft": {"confidence": 40}, "active_ms": 10}
        judgement = {"cannot_assess": "not visible", "reasoning_grade": 2}
        more = {"reason": "a slip"} if verb == "amend" else {"active_ms": 10}
        return judgement | more | {"phase": "assisted"}

    def request_of(self, line: Line) -> dict[str, object]:
        number = next(_numbers)
        request = {"params": {"project": "lung"}} if line.path.startswith("/api/v1") else {}
        forms: dict[str, dict[str, object]] = {
            "/sign-in": {"name": "target", "password": PASSWORD},
            "/account/tokens": {"name": "x", "scopes": ["answers:read"], "days": "1"},
            "/account/password": {"new_password": PASSWORD, "repeated": PASSWORD},
            "/accounts": {"name": f"new-{number}"},
            "/accounts/{name}/roles": {"role": "reader", "project": "lung"},
            "/accounts/{name}/roles/remove": {"role": "reader", "project": "lung"},
            "/projects/{project}/snapshots": {"name": f"Figure {number}"},
            "/projects/{project}/exports": {"formats": "csv"},
            "/projects/{project}/reading/new": {"definition": DEFINITION, "do": "check"},
            "/projects/{project}/reading/{name}/{version}/unblind": {
                "account": "target",
                "reason": "a test",
            },
            "/projects/{project}/reading/{name}/{version}/stop": {"reason": "a test"},
            "/operations/quarantine/{stored_name}/drop": {"reason": "a phantom"},
            "/operations/studies/{study_instance_uid}/withdraw": {"reason": "a test"},
            "/projects/{project}/re-identify": {
                "reason": "a test",
                "pseudonym": self.ids["patient"],
            },
            "/projects/{project}/withdrawals": {
                "reason": "a test",
                "pseudonym": self.ids["patient"],
            },
        }
        if line.path == "/api/v1/snapshots" and line.method == "POST":
            return request | {"json": {"name": f"Figure {number}"}}
        if line.path == "/projects/{project}/references" and line.method == "POST":
            truths = b"accession_number,question_id,truth\nA-1,xr-technique,Radiograph\n"
            return {"data": {"do": "check"}, "files": {"file": ("truths.csv", truths)}}
        if "/reads/" in line.path and line.method != "GET":
            return {"json": self.judged(line.path.rpartition("/")[2])}
        return request | ({"data": forms.get(line.path, {})} if line.method == "POST" else {})


def open_sequential_read(database, account_id) -> int:
    """Let somebody read one of two cases, whose first phase is locked."""
    protocol = make_protocol(
        questions=["xr-chest-finding", "xr-technique"], readers=["reader"], arm="sequential"
    )
    reader = Reader(start(database, protocol, "lung"), account_id)
    opened, _ = open_next(database, reader, now=datetime.now(UTC))
    choice = opened.read.options[0]
    judgement = Judgement(choice_text=choice, confidence=50)
    read_id, now = opened.read.assignment_id, datetime.now(UTC)
    lock(database, reader, read_id, Phase.BLIND, judgement, active_ms=0, now=now)
    return read_id


@pytest.fixture
def place(
    answered, indexer, index, store, pictures, database, rows, have_account, make_finished_export
):
    indexer.rules = RULES
    held = [make_instance(SOPInstanceUID=make_uid(), StudyInstanceUID="1.2.3.4") for _ in range(2)]
    for ds in held:
        put_instance(store, ds, called_ae_title="LUNG")
    index()
    for ds in held:
        ds.PatientName = "Other^Name"
        put_instance(store, ds, calling_ae_title="PACS", called_ae_title="HEART")
    files = [put_instance(store, make_instance(StudyInstanceUID=None)) for _ in range(2)]
    answered(*make_study(Modality.XRAY, 1), called_ae_title="LUNG")
    answered(make_instance(StudyInstanceUID="1.2.3.5"), called_ae_title="HEART")
    for uid in ("1.2.3.6", "1.2.3.7"):
        put_instance(store, make_instance(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1"))
    index()
    with database.write() as session:
        failed = session.query(Study).filter_by(study_instance_uid="1.2.3.7").one()
        set_state(session, failed, StudyState.FAILED, "a test")
    make_snapshot(database, "lung", "Table 1", AnswerFilters(), actor="test")
    assert len([row for row in rows(Instance) if row.hold]) == len(rows(QuarantinedInstance)) == 2
    with database.write() as session:
        password_hash, now = make_passwords().hash(PASSWORD), datetime.now(UTC)
        set_password(session, have_account("target"), password_hash, actor="test", now=now)
        withdrawal_id = request_withdrawal(
            session, [], project=None, reason="a test", actor="test", now=now
        )
    read_id = open_sequential_read(database, have_account("reader", {"lung": ["reader"]}))
    have_account("target", {"lung": ["reader"]})
    for version in (2, 3):
        start(database, make_protocol(readers=["target"], version=version), "lung")
    return Place(
        database,
        store,
        pictures,
        have_account,
        **{
            "project": "lung",
            "version": 1,
            "version to unblind": 2,
            "version to stop": 3,
            "read_id": read_id,
            "series": 0,
            "frame": 1,
            "place": 0,
            "output": "csv",
            "file": "long.csv",
            "session_id": 10_000,
            "token_id": 10_000,
            "answer_id": found(database, "lung")[0].answer_id,
            "patient": found(database, "lung")[0].patient_pseudonym,
            "withdrawal_id": withdrawal_id,
            "export_id": make_finished_export("lung", "researcher"),
            "export_id to remove": make_finished_export("lung", "researcher"),
            "study_instance_uid": "1.2.3.6",
            "study_instance_uid to retry": "1.2.3.7",
            "study_instance_uid to accept": "1.2.3.4",
            "study_instance_uid to refuse": "1.2.3.4",
            "sop_instance_uid to accept": held[0].SOPInstanceUID,
            "sop_instance_uid to refuse": held[1].SOPInstanceUID,
            "stored_name": files[0].name,
            "stored_name to drop": files[1].name,
        },
    )


@pytest.fixture
def call_as(app, browse, sign_in, give_token, database):
    """Return a browser or a program of a kind of caller."""
    everything = {"lung": ["reader", "researcher", "auditor"]}

    def closed():
        sign_in(app, "administrator", is_administrator=True)  # somebody has to stay one
        name = f"closed-{next(_numbers)}"
        client = sign_in(app, name, everything, is_administrator=True)
        with database.write() as session:
            close_account(session, name, actor="test", now=datetime.now(UTC))
        return client

    def token(account, scope):
        roles = {"lung": ["researcher"]} if account == "researcher" else None
        return give_token(app, account, roles, account == "administrator", scopes=[Scope(scope)])

    callers = {
        "nobody": lambda: browse(app),
        "reader": lambda: sign_in(app, "reader", {"lung": ["reader"]}),
        "researcher": lambda: sign_in(app, "researcher", {"lung": ["researcher"]}),
        "auditor": lambda: sign_in(app, "auditor", {"lung": ["auditor"]}),
        "custodian": lambda: sign_in(app, "custodian", {"lung": ["custodian"]}),
        "administrator": lambda: sign_in(app, "administrator", is_administrator=True),
        "stranger": lambda: sign_in(app, "stranger", {"heart": ["researcher"]}),
        "closed": closed,
        "answers:read": lambda: token("researcher", "answers:read"),
        "snapshots:write": lambda: token("researcher", "snapshots:write"),
        "operations:read": lambda: token("administrator", "operations:read"),
        "heart": lambda: give_token(
            app,
            "everything",
            everything | {"heart": ["researcher", "auditor"]},
            is_administrator=True,
            project="heart",
        ),
    }
    return lambda caller: callers[caller]()


def outcome(answer) -> str:
    """Return the status as the table has it."""
    location = answer.headers.get("location", "")
    if location == "/sign-in" and 'medr1_session="";' in answer.headers.get("set-cookie", ""):
        return "leaves"
    return "in" if location.startswith("/sign-in") else str(answer.status_code)


def take_form(client) -> None:
    """Let a browser that nobody is signed in with send the forms of the sign-in page."""
    page = client.get("/sign-in").text
    if found := re.search(r'name="csrf_token" value="(\w+)"', page):
        client.headers[HEADER] = found[1]


# -- the table ---------------------------------------------------------------------------------


def test_every_route_has_its_line_and_every_line_its_route(app):
    routes = sorted(app_routes(app.routes))

    assert routes == sorted((line.method, line.path) for line in LINES)
    assert len(routes) > 50
    assert {len(line.cells) for line in LINES} == {len(CALLERS)}


@pytest.mark.parametrize("caller", CALLERS)
def test_each_caller_gets_what_the_table_says(place, call_as, caller):
    deviations = []
    for line in LINES:
        client = call_as(caller)
        if line.path.startswith("/sign-in"):
            take_form(client)
        answer = client.request(line.method, place.path_of(line), **place.request_of(line))
        if line.path != "/static" and answer.headers["cache-control"] != "no-store":
            deviations.append((line.method, line.path, answer.headers["cache-control"]))
        if outcome(answer) != line.expected(caller):
            deviations.append((line.method, line.path, outcome(answer), line.expected(caller)))

    assert deviations == []


POSTS = [line for line in LINES if line.method == "POST"]


def test_no_form_of_a_browser_counts_without_the_token_of_its_session(place, call_as, rows):
    deviations = []
    for line in POSTS:
        for caller in ("researcher", "administrator"):
            client = call_as(caller)
            del client.headers[HEADER]
            path, request = place.path_of(line), place.request_of(line)
            events = len(rows(AuditEvent))
            answer = client.post(path, **request)
            if (answer.status_code, len(rows(AuditEvent))) != (403, events):
                deviations.append((line.path, caller, answer.status_code))

    assert deviations == []


@pytest.mark.parametrize("caller", ["nobody", "administrator"])
def test_no_route_answers_another_method(place, call_as, caller):
    methods: dict[str, set[str]] = {}
    for line in LINES:
        methods.setdefault(place.path_of(line), set()).add(line.method)
    del methods["/static/medr1.css"]  # files have a HEAD
    client = call_as(caller)

    def is_asked(path):
        """Whether the API asks for a token before it says anything."""
        return caller == "nobody" and path.startswith("/api/")

    deviations = [
        (method, path)
        for path, known in methods.items()
        for method in {"HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"} - known
        if client.request(method, path).status_code != (401 if is_asked(path) else 405)
    ]

    assert deviations == []


# -- what is another's -------------------------------------------------------------------------


OF_ANOTHER_PROJECT = [
    "/projects/lung/answers/{answer_id}",
    "/projects/lung/answers/{answer_id}/picture.png",
    "/projects/lung/answers?patient={patient}",
    "/projects/lung/answers?study={study}",
    "/projects/lung/answers.csv?study={study}",
    "/projects/lung/accuracy?patient={patient}",
    "/projects/lung/accuracy.csv?by=scanner",
    "/projects/heart/accuracy",
    "/projects/lung/exports/{export}/export.zip",
    "/projects/lung/exports",
    "/projects/heart/exports",
    "/projects/heart/exports/{export}/export.zip",
    "/projects/lung/snapshots",
    "/projects/lung/snapshots/Of hearts",
    "/projects/lung/snapshots/Of hearts/answers.csv",
    "/projects/heart/answers",
    "/projects/heart/answers/{answer_id}",
    "/projects/heart/snapshots/Of hearts",
    "/api/v1/answers/{answer_id}",
    "/api/v1/answers/{answer_id}?project=heart",
    "/api/v1/answers/{answer_id}/picture",
    "/api/v1/answers?study={study}",
    "/api/v1/answers/counts?patient={patient}",
    "/api/v1/answers?project=heart",
    "/api/v1/accuracy?study={study}",
    "/api/v1/accuracy?project=heart",
    "/api/v1/snapshots/Of hearts",
    "/api/v1/snapshots/Of hearts/answers",
    "/api/v1/snapshots/Of hearts?project=heart",
    "/operations/studies/{study_uid}",
]


@pytest.mark.parametrize("caller", ["browser", "token"])
def test_what_another_project_has_is_as_if_it_was_not(
    app, answered, indexer, database, sign_in, give_token, make_finished_export, caller
):
    """Asked before there is anything of the other project, and after: equal to the byte."""
    indexer.rules = RULES
    answered(*make_study(Modality.XRAY, 1), called_ae_title="LUNG")
    client = (sign_in if caller == "browser" else give_token)(app, roles={"lung": ["researcher"]})
    patient_key = pseudonym(SITE_KEY, "patient", "\x00of hearts")
    ids = {
        "answer_id": 1 + max(a.answer_id for a in found(database, "lung")),
        "patient": patient_pseudonym(SITE_KEY, "heart", patient_key),
        "study": pseudonymous_uid(SITE_KEY, "heart", "1.2.3.5"),
        "study_uid": "1.2.3.5",
        "export": 1,
    }

    def ask():
        answers = [client.get(path.format(**ids)) for path in OF_ANOTHER_PROJECT]
        return [(a.status_code, a.headers.get("location"), a.content) for a in answers]

    before = ask()
    answered(
        make_instance(StudyInstanceUID="1.2.3.5", PatientID="of hearts"), called_ae_title="HEART"
    )
    make_snapshot(database, "heart", "Of hearts", AnswerFilters(), actor="test")
    export_id = make_finished_export("heart", "anna")

    first = found(database, "heart")[0]
    told = {"answer_id": first.answer_id, "patient": first.patient_pseudonym}
    assert (
        told | {"study": first.study_instance_uid, "study_uid": "1.2.3.5", "export": export_id}
        == ids
    )
    for path, one, other in zip(OF_ANOTHER_PROJECT, before, ask(), strict=True):
        assert one == other, path


def found(database, project):
    return list(iterate_found(database, project, AnswerFilters()))


def test_a_session_and_a_token_of_another_account_are_as_if_they_were_not(
    app, sign_in, give_token, rows
):
    anna, program = sign_in(app, "anna"), give_token(app, "anna")
    client = sign_in(app, "other")
    [of_anna, _], [token] = rows(AccountSession), rows(ApiToken)
    events = len(rows(AuditEvent))

    for path in ("/account/sessions/{}/end", "/account/tokens/{}/revoke"):
        real = of_anna.id if "sessions" in path else token.id
        answers = [client.post(path.format(number)) for number in (real, 10_000)]
        assert len({(a.status_code, a.headers["location"], a.content) for a in answers}) == 1

    assert anna.get("/account").status_code == program.get("/api/v1/projects").status_code == 200
    assert len(rows(AuditEvent)) == events
    assert "anna" not in client.get("/account").text


def test_a_name_of_an_account_is_as_good_as_any_to_who_is_no_administrator(app, sign_in):
    sign_in(app, "anna")
    client = sign_in(app, "other", roles={"lung": ["researcher"]})

    answers = [client.post(f"/accounts/{name}/link") for name in ("anna", "nobody")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].content == answers[1].content
