"""The API does what its own OpenAPI says, whatever it is sent; requests are made up from that."""

from __future__ import annotations

import re
from html import unescape
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from medr1_pacs.filters import AnswerFilters
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.web.api.reference import describe
from medr1_pacs.web.app import make_app

postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)
sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

EXAMPLES = 40
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DESCRIBED = describe(SimpleNamespace(app=make_app(None, None, None)))
OPERATIONS = [(method, path) for path, each in DESCRIBED["paths"].items() for method in each]

every_operation = pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS]
)
HOSTILE = [
    "\x00",
    "a\x00b",
    "9" * 40,
    "-1",
    "0",
    str(2**63),
    "1e400",
    "NaN",
    "",
    " ",
    "%",
    "%00",
    "..",
    "../../etc/passwd",
    "' OR 1=1 --",
    '"',
    "\ufeff",
    "\u202e",
    "\ud7ff\ufffd",
    "\U0001f4a9" * 200,
    "e\u0301" * 70,
    "İ",
    "x" * 10_000,
    "\r\nSet-Cookie: a=b",
    "NEAR(",
    "*",
]


@pytest.fixture
def program(app, answered, database, give_token):
    """A program that may read and cite, where there is something to find."""
    answered()
    make_snapshot(database, "default", "Table 1", AnswerFilters(), actor="test")
    return give_token(app, roles={"default": ["researcher"]}, is_administrator=True)


def operation_of(method, path):
    """Return an operation as the service itself describes it."""
    return schemathesis.openapi.from_dict(DESCRIBED, config=SchemathesisConfig())[path][method]


def try_out(method, path, send):
    """Make requests up, right ones and wrong ones, and give each to `send`."""
    operation = operation_of(method, path)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    def try_one(case):
        send(case, case.as_transport_kwargs(base_url="http://127.0.0.1"))

    try_one()


def request(client, arguments):
    """Send what was made up, by a client of ours."""
    arguments["headers"] = {
        name: value
        for name, value in arguments.pop("headers", {}).items()
        if name.lower() not in ("authorization", "user-agent")
    }
    arguments.pop("cookies", None)
    if "data" in arguments:
        arguments["content"] = arguments.pop("data")
    return client.request(**arguments)


@sqlite
@every_operation
def test_every_answer_is_one_that_was_declared(program, method, path):
    sent = []

    def send(case, arguments):
        answer = request(program, arguments)
        sent.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try_out(method, path, send)

    assert sent


@sqlite
@every_operation
def test_without_a_token_every_operation_asks_for_one(app, browse, method, path):
    stranger, statuses = browse(app), set()

    def send(case, arguments):
        answer = request(stranger, arguments)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try_out(method, path, send)

    assert statuses == {401}


@sqlite
@every_operation
def test_a_right_request_is_answered_as_declared(program, method, path):
    answer_id = program.get("/api/v1/answers").json()["answers"][0]["answer_id"]
    ids = {"answer_id": answer_id, "name": "Table 1"}
    operation = operation_of(method, path)
    formats = ("json", "jsonl", "csv") if path.endswith("/answers") else ("",)
    for output in formats:
        if "{name}" in path and output == "json":
            continue
        case = operation.Case(
            path_parameters={name: ids[name] for name in ids if f"{{{name}}}" in path},
            query={"format": output} if output else {},
            **({"body": {"name": "Table 2"}} if method == "post" else {}),
        )
        answer = request(program, case.as_transport_kwargs(base_url="http://127.0.0.1"))

        assert answer.status_code in (200, 201)
        case.validate_response(answer, checks=CHECKS)


@postgresql  # the stricter one: no NUL in a text
@every_operation
def test_no_value_of_a_parameter_breaks_an_operation(program, method, path):
    described = DESCRIBED["paths"][path][method]
    declared = {int(status) for status in described["responses"]}
    parameters = described.get("parameters", [])
    in_query = [each["name"] for each in parameters if each["in"] == "query"]
    in_path = [each["name"] for each in parameters if each["in"] == "path"]
    right = re.sub(r"\{\w+\}", "1", path)
    tried = [
        *((right, [(name, value)]) for name in [*in_query, "other"] for value in HOSTILE),
        *((right, [(name, "1"), (name, value)]) for name in in_query for value in HOSTILE[:3]),
        *(
            (path.replace(f"{{{name}}}", quote(v, safe="")), [])
            for name in in_path
            for v in HOSTILE
        ),
    ]

    wrong = [
        (url, query, status)
        for url, query in tried
        if (status := program.request(method.upper(), url, params=query).status_code)
        not in declared | ({307, 404} if url != right else set())
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/sign-in", {"name": "a\x00b", "password": "c"}),
        ("/account/tokens", {"name": "a\x00b", "scopes": "answers:read"}),
        ("/account/tokens", {"name": "a", "scopes": "answers:read", "project": "a\x00b"}),
        ("/accounts", {"name": "anna2", "full_name": "a\x00b"}),
        ("/accounts/a%00b/close", {}),
        ("/accounts/anna/roles", {"role": "reader", "project": "a\x00b"}),
    ],
)
@postgresql
def test_a_form_with_what_no_text_holds_is_refused(app, sign_in, path, form):
    client = sign_in(app, is_administrator=True)

    assert client.post(path, data=form).status_code in (400, 403, 404, 422)


@postgresql
def test_a_description_with_what_no_text_holds_is_refused(program):
    body = {"name": "Table 2", "description": "a\x00b"}

    assert program.post("/api/v1/snapshots", json=body).status_code == 422


def test_no_name_of_a_snapshot_breaks_what_shows_it(app, program, sign_in):
    browser, path = sign_in(app), "/api/v1/snapshots"
    statuses = {
        name: program.post(path, json={"name": name, "description": name[:2_000]}).status_code
        for name in [*HOSTILE, "a\\b", "x?y#z&amp;", "<b>", "="]
    }

    assert set(statuses.values()) == {201, 409, 422}
    for name in (name for name, status in statuses.items() if status == 201 and "%" not in name):
        show(program, browser, name)


def show(program, browser, name):
    """Open a snapshot by every address that it has."""
    there = quote(name, safe="")
    assert program.get(f"/api/v1/snapshots/{there}").json()["name"] == name
    for path in (f"/api/v1/snapshots/{there}/answers", f"/projects/default/snapshots/{there}"):
        assert (program if path.startswith("/api") else browser).get(path).status_code == 200
    page = browser.get("/projects/default/snapshots").text
    links = [unescape(each) for each in re.findall(r'href="([^"]+)"', page)]
    assert f"/projects/default/snapshots/{there}" in links
