"""No way out of the service carries who a patient is, nor a date that the project does not show.

Headers with canaries in every element that identifies somebody come in by the real path; then the
bytes of everything that anybody can get are searched for them, in every spelling.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from html import escape, unescape
from urllib.parse import quote, quote_plus, urljoin

import pytest
from factories import (
    SITE_KEY,
    dataset_bytes,
    make_file_meta,
    make_instance,
    make_uid,
    put_instance,
)
from pydicom.dataset import Dataset
from sqlalchemy import text

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.research_views import grant_research
from medr1_pacs.db.tables import Instance, QuarantinedInstance, Rendering
from medr1_pacs.errors import InstanceDamaged
from medr1_pacs.exports.sqlite_file import write_sqlite
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.logs import SentenceFormatter
from medr1_pacs.part10 import encode_file_meta
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.words import DatePolicy
from medr1_pacs.steps.exporting import ExportRequest, TableFormat
from medr1_pacs.steps.making_exports import Exporter, make_export

STUDY_DAY, BORN = date(1987, 6, 11), date(1921, 3, 7)
DAYS = [STUDY_DAY, *(date(1987, 6, day) for day in (12, 13, 14, 15))]
NAMED = {
    "PatientName": "Zaubernüß^Quirina",
    "OtherPatientNames": "Wolkenbruch^Tilde",
    "PatientBirthName": "Regenpfeifer",
    "PatientMotherBirthName": "Schachtelhalm",
    "PatientID": "PID-Xq77801",
    "OtherPatientIDs": "OPID-Xq77802",
    "IssuerOfPatientID": "Xqissuer77803",
    "AccessionNumber": "ACC-Xq77804",
    "StudyID": "SID-Xq77805",
    "InstitutionName": "Klinikum Xqberg",
    "InstitutionAddress": "Xqgasse 12, Xqstadt",
    "InstitutionalDepartmentName": "Xqdepartment",
    "StationName": "XQSTATION7",
    "DeviceSerialNumber": "XQSERIAL77806",
    "ReferringPhysicianName": "Dachstuhl^Ulf",
    "PerformingPhysicianName": "Eisvogel^Vera",
    "PhysiciansOfRecord": "Fichtenkreuz^Wim",
    "OperatorsName": "Gimpel^Yara",
    "RequestingPhysician": "Habicht^Zora",
    "StudyDescription": "Xqdescription of study",
    "SeriesDescription": "Xqdescription of series",
    "ProtocolName": "Xqprotocol 77807",
    "PatientComments": "Xqcomments on patient",
    "ImageComments": "Xqcomments on image",
    "AdditionalPatientHistory": "Xqhistory 77808",
    "PatientAddress": "Xqallee 34",
    "PatientTelephoneNumbers": "+49-77809-77810",
    "MilitaryRank": "Xqrank",
    "Occupation": "Xqoccupation",
    "ContrastBolusAgent": "Xqagent for Quirina",
    "WindowCenterWidthExplanation": "Xqwindow",
    "SourceApplicationEntityTitle": "XQSOURCE",
    "StudyTime": "071319.424344",
    "SeriesTime": "071320.424345",
    "AcquisitionTime": "071321.424346",
    "ContentTime": "071322.424347",
}
"""Element -> what must leave the service nowhere, not even on operators' pages or in its logs."""
UIDS = {
    keyword: f"1.2.826.0.1.3680043.10.777.{number}"
    for number, keyword in enumerate(
        ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"), 1
    )
}
"""What only logs and operators' pages may show."""


def make_canary(**elements) -> Dataset:
    """Make an instance of somebody who must be found nowhere."""
    ds = make_instance(**UIDS)
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in NAMED.items():
        if keyword != "SourceApplicationEntityTitle":
            setattr(ds, keyword, value)
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = f"{BORN:%Y%m%d}", "F", None
    for keyword, day in zip(
        ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"),
        DAYS,
        strict=True,
    ):
        setattr(ds, keyword, f"{day:%Y%m%d}")
    ds.Manufacturer, ds.ManufacturerModelName = "Acme", "Scanner 1"
    request = Dataset()
    request.RequestedProcedureDescription = NAMED["StudyDescription"]
    request.RequestedProcedureID = request.ScheduledProcedureStepID = NAMED["StudyID"]
    ds.RequestAttributesSequence = [request]
    block = ds.private_block(0x0099, "XQ PRIVATE", create=True)
    block.add_new(0x01, "LO", "Xqprivate of Quirina")
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


# -- what is searched for ----------------------------------------------------------------------


def texts_of(named: dict[str, str]) -> Iterator[str]:
    for value in named.values():
        yield value
        yield from (part for part in value.split("^") if "^" in value and len(part) > 4)


def spellings_of(day: date) -> list[str]:
    return [
        f"{day:{pattern}}"
        for pattern in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d %b %Y")
    ]


def base64_of(data: bytes) -> Iterator[bytes]:
    """Yield what every base64 text has in it that holds these bytes, wherever they begin."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + data).rstrip(b"=")
        whole = encoded[(0, 2, 3)[shift] : len(encoded) - bool((shift + len(data)) % 3)]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


@dataclass(frozen=True)
class Needles:
    """Texts in every spelling that something may give them."""

    texts: frozenset[str]
    in_any_case: dict[bytes, str] = field(default_factory=dict)
    exact: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Needles:
        needles = cls(frozenset(texts))
        for each in needles.texts:
            spelt = {each, json.dumps(each)[1:-1], quote(each), quote_plus(each), escape(each)}
            spelt |= {quote(each, encoding="latin-1"), each.encode().hex()}
            raw = [one.encode() for one in spelt]
            raw += [each.encode(e) for e in ("latin-1", "utf-16-le", "utf-16-be")]
            needles.in_any_case.update((one.lower(), each) for one in raw)
            needles.exact.update((one, each) for one in base64_of(each.encode()) if len(one) > 6)
        return needles

    def found_in(self, data: bytes) -> set[str]:
        lower = data.lower()
        found = {each for one, each in self.in_any_case.items() if one in lower}
        return found | {each for one, each in self.exact.items() if one in data}


PEOPLE = Needles.of([*texts_of(NAMED), "Xqprivate of Quirina", *spellings_of(BORN)])
REAL_UIDS = Needles.of(UIDS.values())
REAL_DAYS = Needles.of(itertools.chain.from_iterable(map(spellings_of, DAYS)))
MONTHS = Needles.of(["1987-06", "198706", ".06.1987", "1987/06", "Jun 1987", "June 1987"])
YEAR = re.compile(rb"(?<![0-9A-Za-z.])(1987|1921)(?![0-9A-Za-z])")


@pytest.mark.parametrize("wrap", [
    lambda t: t.encode(),
    lambda t: json.dumps({"a": t}).encode(),
    lambda t: f"/a?b={quote_plus(t)}".encode(),
    lambda t: base64.b64encode(b"xy" + t.encode() + b"z"),
    lambda t: base64.urlsafe_b64encode(b"x" + t.encode()),
    lambda t: t.encode().hex().upper().encode(),
    lambda t: t.upper().encode("utf-16-be"),
    lambda t: f"<p>{escape(t)}</p>".encode(),
])  # fmt: skip
@pytest.mark.parametrize("value", ["Klinikum Xqberg", "PID-Xq77801", "07.03.1921"])
def test_a_canary_would_be_found(wrap, value):
    assert value in PEOPLE.found_in(b"before" + wrap(value) + b"after")


# -- what is searched --------------------------------------------------------------------------

_LINK = re.compile(r'(?:href|src|action|data-refresh-url)="(/[^"]*)"')
A_PATH_MAX = 6
"""Queries of one path that are followed: facets lead to each other without end."""


def crawl(client, *starts: str) -> dict[str, tuple[int, bytes]]:
    """Return URL -> (status, head and body) of all that links lead to."""
    waiting, seen, queries = list(starts), {}, {}
    while waiting:
        url = waiting.pop(0)
        path = url.partition("?")[0]
        queries[path] = queries.get(path, 0) + (url not in seen)
        if url in seen or queries[path] > A_PATH_MAX:
            continue
        answer = client.get(url)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        seen[url] = answer.status_code, f"{url}\n{head}\n".encode() + answer.content
        if "text/html" in answer.headers.get("content-type", ""):
            waiting += [urljoin(url, unescape(link)) for link in _LINK.findall(answer.text)]
        if "location" in answer.headers:
            waiting.append(answer.headers["location"])
    return seen


def api_of(client, project: str) -> list[str]:
    """Return what of the API a caller may know of."""
    base = "/api/v1"
    urls = [f"{base}/{name}" for name in ("projects", "openapi.json", "dictionary", "snapshots")]
    for name in (
        "answers",
        "answers/counts",
        "accuracy",
        "snapshots/Table/answers",
        "snapshots/Table",
    ):
        urls += [f"{base}/{name}?project={project}&versions=all&demo=yes"]
    urls += [f"{base}/answers?format={output}" for output in ("jsonl", "csv")]
    urls += [f"{base}/snapshots/Table/answers?format={output}" for output in ("jsonl", "csv")]
    answers = client.get(f"{base}/answers").json().get("answers", [])
    for answer in answers:
        one = f"{base}/answers/{answer['answer_id']}"
        urls += [one, f"{one}/picture"]
    return urls


def chunks_of(png: bytes) -> set[bytes]:
    at, found = 8, set()
    while at < len(png):
        found.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4])
    return found


@pytest.fixture
def lung(answered, indexer, index, store, database, rows):
    """Have everything come in that a patient of `lung` sends, by a policy of dates."""

    def lung(policy):
        indexer.rules = rules = ProjectRules(
            (Project("default"), Project("lung", dates=policy), Project("heart")),
            tuple(ProjectRule(n, {"called_ae_title": n.upper()}) for n in ("lung", "heart")),
        )
        with database.write() as session:
            declare_projects(session, rules, datetime.now(UTC))
        broken = make_canary(SOPInstanceUID=make_uid())
        head = encode_file_meta(make_file_meta(broken, called_ae_title="LUNG"))
        store.put([head, dataset_bytes(broken)[:-700]])
        unusable = make_canary(SOPInstanceUID=make_uid())
        del unusable.StudyInstanceUID
        uids = dict.fromkeys(
            ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), make_uid()
        )
        sloppy = make_canary(**uids)
        sloppy.PatientAge = sloppy.PatientSex = sloppy.StudyDate = "Quirina"
        for ds in (unusable, sloppy):
            put_instance(store, ds, called_ae_title="LUNG")
        answered(make_canary(), called_ae_title="LUNG")
        held = make_canary(OperatorsName="Other^Somebody")
        put_instance(store, held, called_ae_title="HEART", calling_ae_title="PACS")
        index()
        assert any(row.hold for row in rows(Instance))
        assert rows(QuarantinedInstance)
        return rules

    return lung


@pytest.fixture
def logged(caplog):
    """Everything that is logged, as it is written."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="medr1_pacs")
    for name in ("httpx", "httpx2"):  # of the test's own client
        caplog.set_level(logging.WARNING, logger=name)
    caplog.set_level(logging.CRITICAL, logger="pydicom")  # as `configure_logs` does
    formatter = SentenceFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return lambda: "\n".join(map(formatter.format, caplog.records)).encode()


@pytest.fixture
def export(database, pictures, sealer, tmp_path):
    """Export all of a project in every format; returns name -> bytes of its files."""

    def export(project):
        folder = tmp_path / "export"
        request = ExportRequest(project=project, filters=EVERYTHING, formats=tuple(TableFormat))
        exporter = Exporter(database, pictures, sealer, SITE_KEY)
        make_export(exporter, folder, request, actor="operator")
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return export


RE_IDENTIFIED = "POST /projects/lung/re-identify"
"""The one answer that names a patient, since that is what it is for: a custodian's form says why,
and an event tells of it. Everything else that a custodian gets, the form's own page too, is
searched as that of everybody."""


def re_identify(client, database) -> tuple[int, bytes]:
    """Have a custodian shown who somebody is, before all the rest is searched."""
    pseudonym = next(iterate_found(database, "lung", AnswerFilters())).patient_pseudonym
    form = {"pseudonym": pseudonym, "reason": "an incidental finding"}
    answer = client.post("/projects/lung/re-identify", data=form)
    return answer.status_code, answer.content


@pytest.mark.parametrize("policy", list(DatePolicy))
def test_who_a_patient_is_and_when_they_came_leaves_by_no_way(
    lung, app, sign_in, database, logged, rows, request, tmp_path, export, policy
):
    first_day = datetime.now(UTC).date()
    lung(policy)
    pages = {}
    researcher = sign_in(app, "researcher", {"lung": ["researcher"]})
    made = researcher.post("/projects/lung/snapshots", data={"name": "Table"})
    assert made.status_code == 303
    custodian = sign_in(app, "custodian", {"lung": ["custodian"]})
    pages["custodian", RE_IDENTIFIED] = re_identify(custodian, database)
    for role in ("researcher", "auditor", "reader", "custodian"):
        client = sign_in(app, role, {"lung": [role]})
        starts = ["/", made.headers["location"], "/projects/lung/answers?versions=all&demo=yes"]
        pages |= {
            (role, url): answer
            for url, answer in crawl(client, *starts, *api_of(client, "lung")).items()
        }
    file, entries = tmp_path / "research.sqlite", describe_fields(ResearchAnswer)
    found = (each.to_json() for each in iterate_found(database, "lung", AnswerFilters()))
    assert write_sqlite(file, entries, found) > 0
    pages["file", "research.sqlite"] = 200, file.read_bytes()
    pages |= {("export", name): (200, data) for name, data in export("lung").items()}
    if not database.is_sqlite:
        pages["view", "research_answers"] = 200, read_view(database, request)
    operator = crawl(sign_in(app, "engineer", is_administrator=True), "/", "/operations")
    days_of_ours = {f"{day:%Y-%m-%d}" for day in (first_day, datetime.now(UTC).date())}
    ours = Needles.of([*days_of_ours, *(row.stored_name[:19] for row in rows(Instance))])

    leaks = []
    for (role, url), (_, data) in pages.items():
        if url == RE_IDENTIFIED:
            continue
        found = PEOPLE.found_in(data) | REAL_UIDS.found_in(data) | REAL_DAYS.found_in(data)
        if policy is not DatePolicy.SHIFTED:
            found |= MONTHS.found_in(data)
        is_picture = b"\x89PNG" in data
        if policy is DatePolicy.NONE and not is_picture:
            found |= {each.decode() for each in YEAR.findall(data)}
        tells_when_people_did_it = "snapshot" in url or url.endswith("/re-identify")
        if not tells_when_people_did_it and not url.startswith("/account"):
            found |= ours.found_in(data)
        if is_picture:
            found |= chunks_of(data[data.index(b"\x89PNG") :]) - {b"IHDR", b"IDAT", b"IEND"}
        leaks += [(role, url, each) for each in found]
    leaks += [
        ("operator", u, e) for u, (_, data) in operator.items() for e in PEOPLE.found_in(data)
    ]
    leaks += [("log", "", each) for each in PEOPLE.found_in(logged())]

    assert leaks == []
    assert_enough_was_searched(pages, operator, policy)


def assert_enough_was_searched(pages, operator, policy):
    shown = {status for status, _ in pages.values()}
    assert shown == {200, 403, 405}  # the last of the addresses of forms
    assert sum(b"\x89PNG" in data for _, data in pages.values()) >= 4
    assert any(url.endswith("/answers.csv") for _, url in pages)
    exported = {url for role, url in pages if role == "export"}
    assert {f"answers.{each}" for each in TableFormat} | {"events.jsonl", "left_out.csv"} < exported
    assert any("snapshots/Table/answers.jsonl" in url for _, url in pages)
    assert any("/quarantine/" in url for url in operator)
    assert any(f"/studies/{UIDS['StudyInstanceUID']}" in url for url in operator)
    assert NAMED["PatientID"] in PEOPLE.found_in(pages["custodian", RE_IDENTIFIED][1])
    assert b"an incidental finding" in pages["custodian", "/projects/lung/re-identify"][1]
    searched = {key: page for key, page in pages.items() if key[1] != RE_IDENTIFIED}
    whole = b"".join(data for _, data in searched.values())
    assert bool(YEAR.search(whole)) == (policy is DatePolicy.YEAR) or policy is DatePolicy.SHIFTED
    assert b"Acme" in whole


def read_view(database, request) -> bytes:
    """Return all that a role of research reads by SQL."""
    role = f"canary_{abs(hash(request.node.name))}"
    with database.connection() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    with database.write() as session:
        view = grant_research(session, role, "lung", actor="test")
    with database.connection() as connection:
        rows = [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {view}"))]
        connection.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))
    assert rows
    return json.dumps(rows, default=str).encode()


def test_the_history_of_an_answer_tells_neither_when_nor_which_file(
    answered, app, sign_in, database, rows
):
    answered()
    name = rows(Instance)[0].stored_name
    with database.write() as session:
        for rendering in session.query(Rendering):
            reason = str(InstanceDamaged(name, "is missing"))
            add_event(session, "rendering.failed", "rendering", rendering.id, reason=reason)
    client = sign_in(app, roles={"default": ["researcher"]})

    for path in ("/projects/default/answers/1", "/api/v1/answers/1"):
        page = client.get(path).text
        assert "rendering.failed" in page
        assert name not in page
        assert name[:10] not in page
        assert f"{datetime.now(UTC):%Y-%m-%d}" not in page
