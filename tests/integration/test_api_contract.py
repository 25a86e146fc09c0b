"""The API does what its own OpenAPI says, whatever it is sent; requests are made up from that."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import pytest
import schemathesis
from factories import make_instance
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from medr1_pacs.demo.studies import make_study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.words import Modality
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.web.app import make_app

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

EXAMPLES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    (method, path)
    for path, operations in make_app(None, None, None).openapi()["paths"].items()
    if path.startswith("/api/")
    for method in operations
]

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
    answered(*make_study(Modality.XRAY, 1))
    answered(make_instance())
    make_snapshot(database, "default", "Table 1", AnswerFilters(), actor="test")
    return give_token(app, roles={"default": ["researcher"]}, is_administrator=True)


@pytest.fixture
def operation_of(program):
    """Return an operation as the service itself describes it."""
    described = program.get("/api/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described, config=SchemathesisConfig())
    return lambda method, path: schema[path][method]


def try_out(operation, mode, send):
    """Make requests up, and give each with its answer to `send`."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
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


@every_operation
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_was_declared(program, operation_of, method, path, mode):
    sent = []

    def send(case, arguments):
        answer = request(program, arguments)
        sent.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try_out(operation_of(method, path), mode, send)

    assert sent


@every_operation
def test_without_a_token_every_operation_asks_for_one(app, browse, operation_of, method, path):
    stranger, statuses = browse(app), set()

    def send(case, arguments):
        answer = request(stranger, arguments)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    for mode in GenerationMode:
        try_out(operation_of(method, path), mode, send)

    assert statuses == {401}


@every_operation
def test_a_right_request_is_answered_as_declared(program, operation_of, method, path):
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


@every_operation
def test_no_value_of_a_parameter_breaks_an_operation(program, method, path):
    described = program.get("/api/v1/openapi.json").json()["paths"][path][method]
    declared = {int(status) for status in described["responses"]}
    parameters = described.get("parameters", [])
    in_query = [each["name"] for each in parameters if each["in"] == "query"]
    in_path = [each["name"] for each in parameters if each["in"] == "path"]
    right = re.sub(r"\{\w+\}", "1", path)
    tried = [
        *((right, [(name, value)]) for name in [*in_query, "other"] for value in HOSTILE),
        *((right, [(name, "1"), (name, value)]) for name in in_query for value in HOSTILE),
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


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_snapshot_breaks_what_shows_it(app, program, sign_in, name):
    made = program.post("/api/v1/snapshots", json={"name": name, "description": name[:2_000]})
    assert made.status_code in (201, 409, 422)
    if made.status_code != 201:
        return
    there, browser = quote(name, safe=""), sign_in(app)

    assert program.get(f"/api/v1/snapshots/{there}").json()["name"] == name
    for path in (f"/api/v1/snapshots/{there}/answers", f"/projects/default/snapshots/{there}"):
        assert (program if path.startswith("/api") else browser).get(path).status_code == 200
    page = browser.get("/projects/default/snapshots").text
    [link] = [unescape(each) for each in re.findall(r'href="([^"]+)"', page) if there in each]
    assert browser.get(link).status_code == 200
