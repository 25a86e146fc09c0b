"""Where studies are and why they wait, as the queries, the pages and the API say it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from factories import NOON, STUDY_UID, make_indexed_instance, make_instance, make_uid, put_instance
from sqlalchemy import event, update

from medr1_pacs.db import operations, queues
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.instances import record_instance
from medr1_pacs.db.operations import find_study_detail, list_study_page
from medr1_pacs.db.queues import get_status
from medr1_pacs.db.set_aside import replace_set_aside
from medr1_pacs.db.studies import set_state
from medr1_pacs.db.tables import (
    AuditEvent,
    Generation,
    Instance,
    Prompt,
    QuarantinedInstance,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.db.workers import record_heartbeat
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.operating import StudyQuery, StudySort
from medr1_pacs.records.people import Caller, Scope
from medr1_pacs.records.received import AssociationRecord, RefusedContext, SetAsideFile
from medr1_pacs.records.words import InstanceHold, Modality, StudyState
from medr1_pacs.web.app import make_app
from medr1_pacs.web.dependencies import SiteRules
from medr1_pacs.web.security import access
from medr1_pacs.web.security.csrf import HEADER

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def add_study(database):
    """Add a study of some instances; returns its Study Instance UID."""

    def add_study(state=StudyState.RECEIVING, *, instances=1, reason="", received_at=NOON, **item):
        uid = item.pop("study_instance_uid", None) or make_uid()
        modality = item.pop("modality", None)
        with database.write() as session:
            series_uid = make_uid()
            for _ in range(instances):
                record_instance(
                    session,
                    make_indexed_instance(
                        study_instance_uid=uid,
                        series_instance_uid=series_uid,
                        sop_instance_uid=make_uid(),
                        sha256=make_uid(),
                        stored_name=f"{make_uid()}.dcm",
                        received_at=received_at,
                        **item,
                    ),
                    ProjectRules(),
                    NOON,
                )
            study = session.query(Study).filter_by(study_instance_uid=uid).one()
            study.last_received_at = received_at
            set_state(session, study, state, reason)
            for series in session.query(Series).filter_by(study_id=study.id):
                series.route_modality = modality
            if state is not StudyState.RECEIVING:
                session.add(
                    StudyVersion(
                        study_id=study.id,
                        version=1,
                        instances=instances,
                        completed_at=NOON,
                        planned_at=NOON,
                        missing="",
                    )
                )
        return uid

    return add_study


@pytest.fixture
def listed(database):
    """The Study Instance UIDs of one page of studies."""

    def listed(**query):
        with database.read() as session:
            page = list_study_page(session, StudyQuery(**query), NOON)
        return [row.study_instance_uid for row in page.rows]

    return listed


@pytest.fixture
def row_of(database):
    def row_of(uid, now=NOON):
        with database.read() as session:
            detail = find_study_detail(session, uid, now)
        return detail.row

    return row_of


@pytest.fixture
def select_work(database):
    """Let a study that is asked have selected all that `add_work` added."""

    def select_work(uid):
        with database.write() as session:
            version = (
                session.query(StudyVersion)
                .join(Study, Study.id == StudyVersion.study_id)
                .filter(Study.study_instance_uid == uid)
                .one()
            )
            series = session.query(Series).filter_by(study_id=version.study_id).first()
            session.add_all(
                Selection(
                    study_version_id=version.id,
                    question_id=prompt.question_id,
                    series_id=series.id,
                    rendering_id=prompt.rendering_id,
                    reason="the middle of it",
                )
                for prompt in session.query(Prompt)
            )

    return select_work


@pytest.fixture
def status(database):
    def status():
        with database.read() as session:
            return get_status(session, NOON, backlog=0)

    return status


@pytest.fixture
def client(database, store, pictures, sign_in):
    """A browser of an administrator."""
    app = make_app(database, store, pictures, site_rules=SiteRules(study_quiet_s=60))
    return sign_in(app, "engineer", is_administrator=True)


# -- studies, page by page ---------------------------------------------------------------------


def test_studies_are_listed_by_when_they_were_received_the_latest_first(add_study, listed):
    late = add_study(received_at=NOON)
    early = add_study(received_at=NOON - timedelta(hours=1))

    assert listed() == [late, early]
    assert listed(is_ascending=True) == [early, late]


def test_a_study_is_found_by_any_part_of_its_uid(add_study, listed):
    uid = add_study(study_instance_uid="1.2.3.777.5")
    add_study(study_instance_uid="1.2.3.888.5")

    assert listed(search="1.2.3.777") == listed(search="777.5") == [uid]
    assert listed(search="%") == []


def test_studies_are_filtered_by_state_and_modality(add_study, listed):
    failed = add_study(StudyState.FAILED, modality="MRI")
    add_study(StudyState.FAILED, modality="CT")
    add_study(StudyState.ANSWERED, modality="MRI")

    assert listed(state=StudyState.FAILED, modality=Modality.MRI) == [failed]


def test_studies_are_sorted_by_state_instances_and_answers(add_study, listed):
    small = add_study(StudyState.FAILED, instances=1)
    large = add_study(StudyState.ANSWERED, instances=3)

    assert listed(sort=StudySort.STATE) == [small, large]
    assert listed(sort=StudySort.INSTANCES) == [large, small]
    assert listed(sort=StudySort.INSTANCES, is_ascending=True) == [small, large]
    assert len(listed(sort=StudySort.ANSWERS)) == 2


@sqlite
def test_a_page_says_whether_there_is_another(add_study, database, monkeypatch):
    monkeypatch.setattr(operations, "STUDIES_A_PAGE", 2)
    for _ in range(3):
        add_study()

    with database.read() as session:
        first, second, third = (
            list_study_page(session, StudyQuery(page=number), NOON) for number in (1, 2, 3)
        )

    assert (len(first.rows), first.has_more) == (2, True)
    assert (len(second.rows), second.has_more) == (1, False)
    assert third.rows == ()


@sqlite
def test_only_the_latest_studies_are_counted_to_sort_by_what_they_hold(
    add_study, listed, monkeypatch
):
    monkeypatch.setattr(operations, "COUNTED_STUDIES", 1)
    add_study(instances=3, received_at=NOON - timedelta(hours=1))
    latest = add_study(instances=1, received_at=NOON)

    assert listed(sort=StudySort.INSTANCES) == [latest]


# -- why a study waits -------------------------------------------------------------------------


def test_prompts_of_the_latest_version_say_what_a_study_waits_for(
    add_study, add_work, select_work, row_of, database
):
    uid = add_study(StudyState.ASKED)
    first, *_ = add_work(Generation, 3)
    select_work(uid)
    with database.write() as session:
        session.execute(update(Generation).where(Generation.id == first).values(is_ready=False))

    (prompts,) = row_of(uid).prompts

    assert (prompts.checkpoint, prompts.ready, prompts.not_ready) == ("demo", 2, 1)
    assert prompts.since == NOON


@sqlite
def test_a_study_that_was_never_complete_is_shown_while_one_of_it_is_set_aside(
    add_study, row_of, database
):
    uid = add_study()
    with database.write() as session:
        replace_set_aside(session, [SetAsideFile("a.dcm", "I/O error", uid, None, NOON)])

    assert row_of(uid).set_aside == 1


@sqlite
@pytest.mark.parametrize(("silent_s", "is_being_sent"), [(1, True), (60, False)])
def test_a_living_association_that_sent_a_study_last_is_told(
    add_study, row_of, database, silent_s, is_being_sent
):
    uid = add_study(association_token="a" * 16)
    record = AssociationRecord("a" * 16, "SCANNER", "MEDR1", "10.0.0.1", NOON, instances=1)
    with database.write() as session:
        record_associations(session, [record], NOON)

    assert row_of(uid, NOON + timedelta(seconds=silent_s)).is_being_sent is is_being_sent


# -- what waits --------------------------------------------------------------------------------


def test_every_state_is_counted_also_those_that_no_study_is_in(add_study, status):
    add_study(StudyState.FAILED)

    assert status().states == {state: int(state is StudyState.FAILED) for state in StudyState}


def test_what_waits_is_counted_by_checkpoint_and_readiness(add_work, status, database):
    ids = add_work(Generation, 3)
    with database.write() as session:
        session.execute(update(Generation).where(Generation.id == ids[0]).values(is_ready=False))
        session.execute(
            update(Generation)
            .where(Generation.id == ids[1])
            .values(claim_token="t", claimed_until=NOON)
        )

    found = status()

    (prompts,) = found.prompts
    assert (prompts.checkpoint, prompts.ready, prompts.not_ready) == ("demo", 2, 1)
    assert prompts.since == NOON
    assert found.prompts_claimed == 1


def test_pictures_that_wait_are_counted_with_the_longest_wait(add_work, status):
    add_work(Rendering, 2)

    renderings = status().renderings

    assert (renderings.planned, renderings.claimed, renderings.due_since) == (2, 0, NOON)


@sqlite
def test_associations_that_were_refused_something_within_a_day_are_counted(database, status):
    refused = (RefusedContext("1.2.3", ("1.2.4",)),)
    lately = AssociationRecord(
        "a" * 16,
        "CT1",
        "MEDR1",
        "10.0.0.1",
        NOON,
        closed_at=NOON,
        refused_contexts=refused,
        times=3,
    )
    records = [
        lately,
        replace(lately, token="b" * 16, closed_at=NOON - timedelta(days=2)),
        replace(lately, token="c" * 16, refused_contexts=()),
    ]
    with database.write() as session:
        record_associations(session, records, NOON)

    assert status().refused_lately == 3


@sqlite
def test_counting_ends_where_it_would_cost_too_much(add_work, status, monkeypatch):
    monkeypatch.setattr(queues, "COUNTED_MAX", 2)
    add_work(Rendering, 5)

    assert status().renderings.planned == 3


@sqlite
def test_a_database_without_work_has_nothing_that_waits(status):
    found = status()

    assert (found.prompts, found.prompts_claimed) == ((), 0)
    assert (found.renderings.planned, found.renderings.due_since) == (0, None)
    assert not found.matters


@sqlite
@pytest.mark.parametrize(
    "query",
    [
        lambda session: queues.get_status(session, NOON, backlog=0),
        lambda session: list_study_page(session, StudyQuery(), NOON),
    ],
    ids=["status", "studies"],
)
def test_nothing_that_shows_itself_again_reads_a_large_table_from_end_to_end(
    add_study, add_work, database, query
):
    add_study(StudyState.ASKED)
    add_work(Generation, 1)

    assert [plan for plan in plans_of(database, query) if re.search(SCAN_OF_LARGE, plan)] == []


SCAN_OF_LARGE = r"^SCAN (generation|instance|rendering|prompt|selection|answer)\b(?!.*USING)"


def plans_of(database, query):
    """Return the steps of SQLite's plans of all that a query runs."""
    statements = []

    def note(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    with database.read() as session:
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", note)
        query(session)
        event.remove(engine, "before_cursor_execute", note)
        connection = session.connection()
        return [
            row[3]
            for statement, parameters in statements
            if statement.startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


# -- one study ---------------------------------------------------------------------------------


def test_the_page_of_a_study_has_its_series_prompts_selections_and_history(
    add_study, add_work, select_work, database
):
    uid = add_study(StudyState.ASKED, instances=2)
    add_work(Generation, 3)
    select_work(uid)

    with database.read() as session:
        detail = find_study_detail(session, uid, NOON)

    assert [series.instances for series in detail.series] == [2]
    assert [(p.checkpoint, p.state, p.count) for p in detail.prompts] == [("demo", "waiting", 3)]
    assert [(s.question_id, s.frames, s.reason) for s in detail.selections] == [
        ("q", 3, "the middle of it")
    ]
    assert [version.version for version in detail.versions] == [1]
    assert [event.action for event in detail.events] == [
        "study.state_changed",
        "study.project_added",
        "study.created",
    ]
    assert len(detail.instances) == 2


@sqlite
def test_an_instance_that_waits_for_a_person_stands_first(add_study, database):
    uid = add_study(instances=3)
    with database.write() as session:
        held = session.query(Instance).order_by(Instance.id).first()
        held.hold, held.superseded_at = InstanceHold.HELD, NOON

    with database.read() as session:
        detail = find_study_detail(session, uid, NOON)

    assert [instance.hold for instance in detail.instances] == [InstanceHold.HELD, None, None]


@sqlite
def test_a_study_that_was_never_received_is_not_found(database):
    with database.read() as session:
        assert find_study_detail(session, "1.2.3", NOON) is None


# -- pages -------------------------------------------------------------------------------------

PAGES = [
    "/operations",
    "/operations/fragments/status",
    "/operations/quarantine",
    "/operations/refused",
    "/api/v1/operations/studies",
    "/api/v1/operations/status",
]


@pytest.fixture
def full_site(store, index, indexer, database, add_study, add_work):
    """A site with something of everything, of a patient whose name must be nowhere."""
    put_instance(store, make_instance(PatientName="Canary^Tweety", PatientID="CANARY-1"))
    unusable = put_instance(
        store, make_instance(PatientName="Canary^Tweety", StudyInstanceUID=None)
    )
    index()
    add_work(Generation, 2)
    add_study(StudyState.FAILED, reason="2 prompts: the pixel data is missing")
    now = datetime.now(UTC)
    with database.write() as session:
        record_heartbeat(
            session, WorkerListing("answer@gpu1/7/7", "answer", ["q.demo"], now, now, None, 31.4)
        )
        record_heartbeat(
            session,
            WorkerListing("render@host/8/8", "render", [], now, now - timedelta(minutes=5)),
        )
        replace_set_aside(session, [SetAsideFile("x.dcm", "I/O error", None, None, now)])
        refused = (RefusedContext("1.2.840.10008.3.1.2.3.3", ("1.2.840.10008.1.2",)),)
        record = AssociationRecord(
            "b" * 16, "CT1", "MEDR1", "10.0.0.1", now, closed_at=now, refused_contexts=refused
        )
        record_associations(session, [record], now)
    return unusable


@sqlite
def test_the_pages_show_what_waits_who_works_and_what_is_for_a_person(client, full_site):
    page = client.get("/operations").text

    assert "2 prompts: the pixel data is missing" in page
    assert "silent for 5 min" in page
    assert '<td class="number">31</td>' in page
    assert "file set aside <code>x.dcm</code>" in page
    assert f'href="/operations/quarantine/{full_site.name}"' in page
    assert 'data-refresh="5" data-refresh-url="/operations/fragments/status"' in page
    assert "1 association of the last day was refused" in page
    assert "Modality Performed Procedure Step" in client.get("/operations/refused").text


@sqlite
@pytest.mark.parametrize("path", [*PAGES, "study", "file"])
def test_no_page_names_a_patient_or_has_an_inline_style_or_script(client, full_site, path):
    path = {
        "study": f"/operations/studies/{STUDY_UID}",
        "file": f"/operations/quarantine/{full_site.name}",
    }.get(path, path)

    response = client.get(path)

    assert response.status_code == 200
    assert not re.search("canary|tweety|19700401|A-1", response.text, re.IGNORECASE)
    assert not re.search(r"<style|<script(?! src)|\sstyle=|\son[a-z]+=", response.text)


@sqlite
@pytest.mark.parametrize("path", PAGES)
def test_an_empty_site_has_its_pages_too(client, path):
    assert client.get(path).status_code == 200


@sqlite
def test_a_fragment_comes_without_the_page_around_it(client, full_site):
    for path in ("status", f"studies/{STUDY_UID}"):
        fragment = client.get(f"/operations/fragments/{path}").text

        assert fragment.strip()
        assert "<html" not in fragment


@sqlite
@pytest.mark.parametrize(
    "path",
    [
        "studies/1.2.3",
        "studies/no-uid",
        "fragments/studies/1.2.3",
        "quarantine/1-2-3.dcm",
        f"quarantine/1-{'a' * 16}-{'b' * 16}.dcm",
    ],
)
def test_what_there_is_not_is_not_found(client, path):
    assert client.get(f"/operations/{path}").status_code == 404


@sqlite
def test_the_heads_of_the_table_sort_and_say_how_it_is_sorted(client, add_study):
    add_study()

    page = client.get("/operations?sort=instances&state=receiving").text

    assert 'aria-sort="descending" class="number"><a href="/operations?state=receiving&amp;' in page
    assert "sort=instances&amp;order=ascending#studies" in page
    assert '<option value="receiving" selected>' in page


@sqlite
def test_the_next_page_keeps_the_filters(client, add_study, monkeypatch):
    monkeypatch.setattr(operations, "STUDIES_A_PAGE", 1)
    add_study()
    add_study()

    page = client.get("/operations?state=receiving").text
    [later] = re.findall(r'rel="next" href="([^"]+)"', page)
    second = client.get(later.replace("&amp;", "&").partition("#")[0]).text

    assert "page 2" in second
    assert 'rel="prev"' in second
    assert 'rel="next"' not in second


@sqlite
@pytest.mark.parametrize("notice", ["<script>", "send your password to"])
def test_a_notice_is_one_of_ours_whatever_a_link_says(client, notice):
    assert notice not in client.get("/operations", params={"notice": notice}).text


# -- decisions ---------------------------------------------------------------------------------


def post(client, path, **fields):
    return client.post(path, data=fields)


@sqlite
def test_a_failed_study_is_tried_again_by_who_asks(client, add_study, rows):
    uid = add_study(StudyState.FAILED)

    response = post(client, f"/operations/studies/{uid}/retry")

    assert response.status_code == 303
    assert "tried again" in client.get(response.headers["location"]).text
    assert rows(Study)[0].state is StudyState.ASKED
    assert [e.actor for e in rows(AuditEvent) if e.action == "study.retried"] == ["engineer"]


@sqlite
def test_a_receiving_study_is_called_complete_by_who_asks(client, add_study, rows):
    uid = add_study()

    assert post(client, f"/operations/studies/{uid}/complete").status_code == 303

    assert rows(Study)[0].state is StudyState.COMPLETE
    assert rows(AuditEvent)[-1].actor == "engineer"


@sqlite
@pytest.mark.parametrize("action", ["retry", "complete"])
def test_what_cannot_be_done_changes_nothing_and_says_why(client, add_study, rows, action):
    uid = add_study(StudyState.ANSWERED)

    response = post(client, f"/operations/studies/{uid}/{action}")

    assert response.status_code == 409
    assert "Nothing was changed" in response.text
    assert rows(Study)[0].state is StudyState.ANSWERED


@sqlite
@pytest.mark.parametrize(("action", "hold"), [("accept", None), ("refuse", InstanceHold.REFUSED)])
def test_a_held_instance_is_accepted_or_refused_once(
    client, add_study, database, rows, action, hold
):
    uid = add_study()
    with database.write() as session:
        held = session.query(Instance).one()
        held.hold, held.superseded_at = InstanceHold.HELD, NOON
        sop_instance_uid = held.sop_instance_uid
    path = f"/operations/studies/{uid}/instances/{sop_instance_uid}/{action}"
    assert path in client.get(f"/operations/studies/{uid}").text

    assert post(client, path).status_code == 303

    assert rows(Instance)[0].hold is hold
    assert post(client, path).status_code == 409


@sqlite
def test_a_file_in_quarantine_is_read_anew_and_dropped_by_who_asks(client, full_site, index, rows):
    path = f"/operations/quarantine/{full_site.name}"

    assert post(client, f"{path}/retry").status_code == 303
    assert "waits in the backlog" in client.get(path).text
    assert post(client, f"{path}/drop", reason="a phantom").status_code == 409
    index()
    assert post(client, f"{path}/drop", reason=" ").status_code == 422
    assert rows(QuarantinedInstance)[0].dropped_at is None
    assert post(client, f"{path}/drop", reason="a phantom").status_code == 303

    assert "a phantom" in client.get(path).text
    assert rows(QuarantinedInstance)[0].dropped_at is not None


@sqlite
def test_every_form_that_changes_something_carries_the_token_of_the_session(
    client, add_study, full_site, database
):
    with database.write() as session:
        held = session.query(Instance).first()
        held.hold, held.superseded_at = InstanceHold.HELD, NOON
        holder = held.series.study.study_instance_uid
    pages = [
        f"/operations/studies/{holder}",
        f"/operations/studies/{add_study()}",
        f"/operations/studies/{add_study(StudyState.FAILED)}",
        f"/operations/quarantine/{full_site.name}",
    ]

    forms = [
        form
        for page in pages
        for form in re.findall(r'<form method="post".*?</form>', client.get(page).text, re.DOTALL)
    ]

    assert len(forms) == 10 + len(pages)  # each page has its sign-out
    field = f'name="csrf_token" value="{client.headers[HEADER]}"'
    assert all(field in form for form in forms)


@sqlite
def test_a_page_runs_our_own_script_alone_and_sends_forms_to_us_alone(client):
    response = client.get("/operations")

    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "form-action 'self'"} <= set(policy)
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule]
    [script] = re.findall(r'<script src="([^"]+)" defer></script>', response.text)
    assert client.get(script).status_code == 200


# -- who may -----------------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize("path", PAGES)
def test_the_pages_are_for_administrators_alone(client, sign_in, path):
    other = sign_in(client.app, "other", {"lung": ["reader", "researcher", "auditor"]})

    assert other.get(path).status_code == 403


@sqlite
def test_who_may_look_may_not_decide(client, add_study, full_site, rows):
    token = Caller(
        account_id=1,
        account="engineer",
        is_administrator=True,
        scopes=frozenset({Scope.OPERATIONS_READ}),
    )
    client.app.dependency_overrides[access.signed_in] = lambda: token
    study = f"/operations/studies/{add_study(StudyState.FAILED)}"
    file = f"/operations/quarantine/{full_site.name}"
    before = len(rows(AuditEvent))

    for action in (
        f"{study}/retry",
        f"{study}/complete",
        f"{study}/instances/1.2.3/accept",
        f"{study}/instances/1.2.3/refuse",
        f"{file}/retry",
        f"{file}/drop",
    ):
        assert post(client, action, reason="a test").status_code == 403

    assert len(rows(AuditEvent)) == before
    assert client.get(study).status_code == 200


# -- for programs ------------------------------------------------------------------------------


@sqlite
def test_a_program_gets_studies_with_why_they_wait(client, add_study):
    uid = add_study(received_at=datetime.now(UTC))

    body = client.get("/api/v1/operations/studies", params={"state": "receiving"}).json()

    (study,) = body["studies"]
    assert (study["study_instance_uid"], body["has_more"]) == (uid, False)
    assert re.fullmatch(r"quiet for \d+ s of 60 s", study["waiting"])


@sqlite
@pytest.mark.parametrize("query", ["state=lost", "page=0", "modality=XX", "sort=name"])
def test_a_program_that_asks_for_what_there_is_not_is_told(client, query):
    assert client.get(f"/api/v1/operations/studies?{query}").status_code == 422


@sqlite
def test_a_program_gets_what_waits_and_who_works(client, full_site):
    body = client.get("/api/v1/operations/status").json()

    assert body["states"]["failed"] == 1
    assert {w["kind"]: w["is_living"] for w in body["workers"]} == {"answer": True, "render": False}
    assert body["renderings"]["planned"] == 0
    assert isinstance(body["backlog"], int)
    assert [row["detail"] for row in body["matters"]["quarantined"]] == [
        "StudyInstanceUID is absent or not a UID"
    ]
