"""Who a pseudonym stands for: shown to custodians, with a reason, and never without a trace."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from html import unescape

import pytest
from factories import make_instance, make_uid, put_instance

from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import AuditEvent, ProjectStudy, Study
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.logs import SentenceFormatter
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.people import Scope
from medr1_pacs.records.re_identification import NamedPatient, NamedStudy, TryOutcome
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps.re_identifying import (
    NotReIdentified,
    ReasonRefused,
    clean_pseudonym,
    decide,
    re_identify,
)
from medr1_pacs.web.app import make_app

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

RULES = ProjectRules(
    (Project("default"), Project("lung"), Project("heart")),
    tuple(ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")),
)
PAGE = "/projects/lung/re-identify"
REASON = "An incidental finding"
NAME, PATIENT_ID, ISSUER = "Zaubernuss^Quirina", "PID-Xq1", "Xqhospital"
STUDIES = {"1.2.3.1": "ACC-Xq1", "1.2.3.2": "ACC-Xq2"}
"""Study Instance UID -> accession number of the two studies of `lung`."""
OF_HEART = "1.2.3.3"
SECRETS = [NAME, PATIENT_ID, ISSUER, "19210307", *STUDIES, *STUDIES.values()]


def make_one(study_uid, accession_number="ACC-Xq3", **elements):
    values = {
        "PatientName": NAME,
        "PatientID": PATIENT_ID,
        "IssuerOfPatientID": ISSUER,
        "PatientBirthDate": "19210307",
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": f"{study_uid}.1",
        "SOPInstanceUID": make_uid(),
        "AccessionNumber": accession_number,
    }
    return make_instance(**values | elements)


@pytest.fixture
def patient(answered, indexer):
    """A patient with two studies in `lung` and one in `heart`."""
    indexer.rules = RULES
    studies = [make_one(uid, accession) for uid, accession in STUDIES.items()]
    answered(*studies, called_ae_title="LUNG")
    answered(make_one(OF_HEART), called_ae_title="HEART")


@pytest.fixture
def names(patient, database):
    """Return what a project calls the answers that it has."""

    def names(project="lung"):
        return list(iterate_found(database, project, AnswerFilters()))

    return names


@pytest.fixture
def ask(database, vault):
    def ask(pseudonym, reason=REASON, project="lung", vault=vault):
        return re_identify(
            database, vault, project, pseudonym=pseudonym, reason=reason, actor="carla"
        )

    return ask


@pytest.fixture
def tries(rows):
    """Return the events about patients."""
    return lambda: [row for row in rows(AuditEvent) if row.object_type == "patient"]


# -- what is shown -----------------------------------------------------------------------------


def test_a_patients_pseudonym_stands_for_the_studies_that_the_project_uses(names, ask):
    found = ask(names()[0].patient_pseudonym)

    shown = [(s.study_instance_uid, i) for s in found.studies for i in s.identities]
    assert {uid: identity.accession_number for uid, identity in shown} == STUDIES
    assert {identity.patient_name for _, identity in shown} == {NAME}
    assert {identity.patient_id for _, identity in shown} == {PATIENT_ID}
    assert {identity.issuer_of_patient_id for _, identity in shown} == {ISSUER}
    assert {identity.patient_birth_date for _, identity in shown} == {"19210307"}


@pytest.mark.parametrize("name", ["study_instance_uid", "series_instance_uid", "sop_instance_uid"])
def test_a_pseudonymous_uid_stands_for_the_study_that_it_is_of(names, ask, name):
    of_studies = {getattr(answer, name): answer.study_instance_uid for answer in names()}
    assert len(of_studies) == 2

    found = [ask(uid).studies for uid in of_studies]

    assert sorted(study.study_instance_uid for [study] in found) == sorted(STUDIES)
    assert {study.identities[0].patient_name for [study] in found} == {NAME}


def test_it_does_not_matter_how_a_pseudonym_is_pasted(names, ask):
    assert ask(f" {names()[0].patient_pseudonym.upper()}\n").studies


@pytest.mark.parametrize("field", ["patient_pseudonym", "study_instance_uid", "sop_instance_uid"])
def test_another_projects_pseudonym_stands_for_nobody(names, ask, field):
    with pytest.raises(NotReIdentified, match="knows nobody"):
        ask(getattr(names("heart")[0], field))


@pytest.mark.parametrize("field", ["study_instance_uid", "series_instance_uid", "sop_instance_uid"])
def test_of_a_study_that_two_projects_use_each_has_pseudonyms_of_its_own(
    answered, names, ask, field
):
    answered(make_one(OF_HEART), called_ae_title="LUNG")
    of_heart = {getattr(answer, field) for answer in names("heart")}

    for name in of_heart:
        [study] = ask(name, project="heart").studies
        assert study.study_instance_uid == OF_HEART
        with pytest.raises(NotReIdentified, match="knows nobody"):
            ask(name)
    assert {getattr(answer, field) for answer in names()} - of_heart
    assert of_heart


@pytest.mark.parametrize(
    "text", ["", "x", NAME, PATIENT_ID, "1.2.3.1", "f" * 32, "2.25.1", "a\x00"]
)
def test_what_is_no_pseudonym_of_the_project_stands_for_nobody(names, ask, text):
    with pytest.raises(NotReIdentified, match="knows nobody"):
        ask(text)


def test_that_a_study_came_under_another_name_is_told_without_the_name(
    names, ask, store, index, indexer
):
    put_instance(
        store, make_one("1.2.3.1", PatientID="other", PatientName="Else^Somebody"),
        called_ae_title="LUNG",
    )  # fmt: skip
    index()

    first, second = ask(names()[0].patient_pseudonym).studies

    assert (first.names_others, second.names_others) == (True, False)
    assert {each.patient_name for each in first.identities} == {NAME}


# -- what is withdrawn -------------------------------------------------------------------------


@pytest.fixture
def withdraw(database):
    def withdraw(how, *uids):
        with database.write() as session:
            for study in session.query(Study).filter(Study.study_instance_uid.in_(uids)):
                if how == "everywhere":
                    study.state = StudyState.WITHDRAWN
                for use in session.query(ProjectStudy).filter_by(study_id=study.id):
                    if how == "here":
                        use.withdrawn_at = datetime.now(UTC)

    return withdraw


@pytest.mark.parametrize("how", ["everywhere", "here"])
def test_of_what_was_withdrawn_nothing_is_shown(names, ask, withdraw, tries, how):
    answer = names()[0]
    withdraw(how, *STUDIES)

    for name in (answer.patient_pseudonym, answer.study_instance_uid):
        with pytest.raises(NotReIdentified, match="withdrawn"):
            ask(name)
    assert [event.new_value["outcome"] for event in tries()] == ["withdrawn", "withdrawn"]


def test_the_other_studies_of_a_patient_are_shown(names, ask, withdraw):
    pseudonym = names()[0].patient_pseudonym
    withdraw("everywhere", "1.2.3.1")

    found = ask(pseudonym)

    assert [study.study_instance_uid for study in found.studies] == ["1.2.3.2"]
    assert found.withdrawn == 1


# -- the trace ---------------------------------------------------------------------------------


def test_an_event_says_who_was_shown_to_whom_and_why_by_no_identifier(names, ask, tries):
    ask(names()[0].patient_pseudonym)

    [event] = tries()
    told = (event.action, event.actor, event.reason, event.old_value, event.new_value)
    assert told == ("patient.re_identified", "carla", REASON, None, {"project": "lung"})
    assert event.object_id == 1


def test_a_try_in_vain_is_an_event_without_the_text(names, ask, tries):
    with pytest.raises(NotReIdentified):
        ask(NAME)

    [event] = tries()
    told = (event.action, event.object_id, event.actor, event.new_value)
    new = {"project": "lung", "outcome": "not_found"}
    assert told == ("patient.re_identification_failed", None, "carla", new)
    assert NAME not in json.dumps([event.reason, event.new_value, event.old_value])


def test_the_event_is_there_before_the_vault_is_read(names, ask, tries):
    class Vault:
        seen = None

        @contextmanager
        def read(self):
            Vault.seen = [event.action for event in tries()]  # by another transaction
            raise DatabaseUnavailable("the vault is away")
            yield

    with pytest.raises(DatabaseUnavailable):
        ask(names()[0].patient_pseudonym, vault=Vault())

    assert Vault.seen == ["patient.re_identified"]


@pytest.mark.parametrize("reason", ["", "  ", "ab", " a ", "x" * 501, "a\x00b\x1bcd"])
def test_without_a_reason_nothing_is_looked_up(names, ask, tries, reason):
    with pytest.raises(ReasonRefused, match="3 to 500"):
        ask(names()[0].patient_pseudonym, reason)

    assert tries() == []


# -- decisions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("withdrawn", "outcome"),
    [
        ([False], TryOutcome.SHOWN),
        ([True], TryOutcome.WITHDRAWN),
        ([True, False], TryOutcome.SHOWN),
    ],
)
def test_a_patient_is_shown_who_has_a_study_that_was_not_withdrawn(withdrawn, outcome):
    studies = tuple(NamedStudy(f"1.{n}", gone) for n, gone in enumerate(withdrawn))

    assert decide([NamedPatient(1, "k", studies)]) is outcome


def test_nobody_is_not_found():
    assert decide([]) is TryOutcome.NOT_FOUND


@pytest.mark.parametrize("text", ["Quirina", "2.25.1 2.25.2", "f" * 31, "2.25." + "1" * 64, "; --"])
def test_what_looks_like_no_pseudonym_is_not_looked_up(text):
    assert clean_pseudonym(text) is None


# -- the page ----------------------------------------------------------------------------------


@pytest.fixture
def custodian(app, sign_in):
    return sign_in(app, "carla", {"lung": ["custodian"]})


@sqlite
def test_a_custodian_is_shown_who_it_is(names, custodian):
    form = {"pseudonym": names()[0].patient_pseudonym, "reason": REASON}

    answer = custodian.post(PAGE, data=form)

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    shown = unescape(answer.text)
    assert [secret for secret in SECRETS if secret not in shown] == []
    assert OF_HEART not in shown


@sqlite
def test_nobody_is_shown_before_a_form_was_sent(names, custodian):
    page = custodian.get(PAGE)

    assert page.status_code == 200
    assert [secret for secret in SECRETS if secret in page.text] == []


@sqlite
@pytest.mark.parametrize("text", ["heart", "f" * 32, NAME])
def test_who_is_not_found_is_said_without_what_was_typed(names, custodian, tries, text):
    typed = names("heart")[0].patient_pseudonym if text == "heart" else text

    answer = custodian.post(PAGE, data={"pseudonym": typed, "reason": REASON})

    assert answer.status_code == 404
    assert "knows nobody by such a pseudonym" in answer.text
    assert typed not in answer.text
    assert [event.action for event in tries()] == ["patient.re_identification_failed"]


@sqlite
def test_what_was_withdrawn_is_said_to_be(names, custodian, withdraw):
    form = {"pseudonym": names()[0].patient_pseudonym, "reason": REASON}
    withdraw("here", *STUDIES)

    answer = custodian.post(PAGE, data=form)

    assert answer.status_code == 404
    assert "withdrawn" in answer.text
    assert [secret for secret in SECRETS if secret in answer.text] == []


@sqlite
def test_a_form_without_a_reason_is_not_done(names, custodian):
    form = {"pseudonym": names()[0].patient_pseudonym}

    answer = custodian.post(PAGE, data=form)

    assert (answer.status_code, "say why" in answer.text) == (422, True)


@sqlite
def test_the_page_lists_who_asked_when_and_why_and_not_about_whom(names, custodian):
    pseudonym = names()[0].patient_pseudonym
    custodian.post(PAGE, data={"pseudonym": pseudonym, "reason": "The first <b>time</b>"})
    custodian.post(PAGE, data={"pseudonym": "x", "reason": "Number two"})

    page = custodian.get(PAGE).text

    table = page.split("Who asked before")[1]
    assert "The first &lt;b&gt;time&lt;/b&gt;" in table
    assert table.index("Number two") < table.index("The first")
    assert table.count("<td>carla</td>") == 2
    assert f"{datetime.now(UTC):%Y-%m-%d}" in table
    assert [each for each in (*SECRETS, pseudonym) if each in page] == []


@sqlite
def test_the_page_lists_twenty_of_its_own_project(names, custodian, ask):
    for number in range(21):
        custodian.post(PAGE, data={"pseudonym": "x", "reason": f"Try {number:02}."})
    with pytest.raises(NotReIdentified):
        ask("x", "Of the heart", project="heart")

    table = custodian.get(PAGE).text.split("Who asked before")[1]

    assert table.count("<td>carla</td>") == 20
    assert "Try 00." not in table
    assert "Of the heart" not in table


@sqlite
@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({"roles": {"lung": ["researcher", "auditor", "reader"]}}, 403),
        ({"is_administrator": True}, 404),
        ({"roles": {"heart": ["custodian"]}}, 404),
        ({"roles": {"lung": ["researcher"], "heart": ["custodian"]}}, 403),
        ({"roles": {"lung": ["reader"]}, "is_administrator": True}, 403),
    ],
    ids=str,
)
def test_nobody_else_is_shown_anything(names, app, sign_in, tries, who, status):
    client = sign_in(app, "somebody", **who)
    form = {"pseudonym": names()[0].patient_pseudonym, "reason": REASON}

    assert client.get(PAGE).status_code == status
    assert client.post(PAGE, data=form).status_code == status
    assert tries() == []


@sqlite
def test_a_custodian_of_two_projects_is_shown_each_by_its_own_pseudonyms(names, app, sign_in):
    client = sign_in(app, "carla", {"lung": ["custodian"], "heart": ["custodian"]})
    form = {"pseudonym": names()[0].patient_pseudonym, "reason": REASON}

    assert client.post(PAGE, data=form).status_code == 200
    assert client.post("/projects/heart/re-identify", data=form).status_code == 404


@sqlite
def test_no_program_re_identifies(names, app, give_token, tries):
    program = give_token(app, "carla", {"lung": ["custodian"]}, scopes=tuple(Scope))
    form = {"pseudonym": names()[0].patient_pseudonym, "reason": REASON}

    answer = program.post(PAGE, data=form)

    assert answer.headers.get("location", "").startswith("/sign-in") or answer.status_code == 403
    assert tries() == []


@sqlite
def test_neither_what_is_typed_nor_what_is_shown_is_logged(names, custodian, caplog):
    pseudonym = names()[0].patient_pseudonym
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    custodian.post(PAGE, data={"pseudonym": pseudonym, "reason": "Xqreason"})
    custodian.post(PAGE, data={"pseudonym": f"{NAME}\x00", "reason": "Xqreason"})
    custodian.post(PAGE, data={"pseudonym": pseudonym, "reason": "\x00Xqreason"})

    formatter = SentenceFormatter("%(levelname)s %(name)s: %(message)s")
    logged = "\n".join(map(formatter.format, caplog.records))
    assert [each for each in (*SECRETS, pseudonym, "Xqreason") if each in logged] == []


@sqlite
def test_without_the_vault_nobody_is_shown_and_nothing_is_recorded(
    names, database, store, pictures, sign_in, tries
):
    client = sign_in(make_app(database, store, pictures), "carla", {"lung": ["custodian"]})

    answer = client.post(PAGE, data={"pseudonym": names()[0].patient_pseudonym, "reason": REASON})

    assert (answer.status_code, "MEDR1_VAULT_URL" in answer.text) == (503, True)
    assert tries() == []


@sqlite
def test_the_page_is_linked_for_custodians_alone(names, app, sign_in, custodian):
    researcher = sign_in(app, "researcher", {"lung": ["researcher"]})

    assert f'href="{PAGE}"' in custodian.get("/").text
    assert "/projects/lung/answers" not in custodian.get(PAGE).text
    for path in ("/", "/projects/lung/answers"):
        assert PAGE not in researcher.get(path).text
