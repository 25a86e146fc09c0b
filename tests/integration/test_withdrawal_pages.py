"""Withdrawing by page: what is asked for, and what is shown of it."""

from __future__ import annotations

import pytest
from factories import make_instance, put_instance

from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import ProjectStudy, Study, Withdrawal
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.words import StudyState

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

UID = str(make_instance().StudyInstanceUID)
STUDY = f"/operations/studies/{UID}"
WHY = {"reason": "consent was withdrawn"}


@pytest.fixture
def administrator(app, answered, sign_in):
    answered()
    answered(make_instance())
    return sign_in(app, "ada", is_administrator=True)


@pytest.fixture
def custodian(app, answered, sign_in):
    answered()
    return sign_in(app, "cleo", {"default": ["custodian"]})


def test_an_administrator_withdraws_a_study_and_is_shown_the_certificate(
    administrator, withdrawer, rows
):
    assert "Withdraw for good" in administrator.get(STUDY).text
    asked = administrator.post(f"{STUDY}/withdraw", data=WHY, follow_redirects=True)
    assert "It has not begun" in asked.text
    withdrawer.carry_out()

    page = administrator.get(asked.url.path).text
    assert "finished" in page
    assert "1 deleted from the vault" in page
    states = {row.study_instance_uid: row.state for row in rows(Study)}
    assert UID not in states
    assert list(states.values()).count(StudyState.WITHDRAWN) == 1


def test_a_withdrawal_that_waits_for_the_backlog_is_shown_as_under_way(
    administrator, withdrawer, store
):
    put_instance(store, make_instance(StudyInstanceUID="1.2.3.98"))
    asked = administrator.post(f"{STUDY}/withdraw", data=WHY, follow_redirects=True)
    withdrawer.carry_out()

    page = administrator.get(asked.url.path)
    assert page.status_code == 200
    assert "under way" in page.text


def test_the_page_of_a_withdrawn_study_says_so_and_offers_nothing(administrator, withdrawer, rows):
    administrator.post(f"{STUDY}/withdraw", data=WHY)
    withdrawer.carry_out()
    [uid] = [r.study_instance_uid for r in rows(Study) if r.state is StudyState.WITHDRAWN]

    page = administrator.get(f"/operations/studies/{uid}").text

    assert "withdrawn" in page
    assert "Withdraw for good" not in page
    assert administrator.get(STUDY).status_code == 404


def test_all_of_a_patient_can_be_asked_for(administrator, answered, withdrawer, rows):
    other = make_instance(StudyInstanceUID="1.2.3.99")
    answered(other)

    administrator.post(f"{STUDY}/withdraw", data=WHY | {"extent": "patient"})
    withdrawer.carry_out()

    assert [row.state for row in rows(Study)].count(StudyState.WITHDRAWN) == 2


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"reason": ""}, 409),
        ({"reason": " a "}, 409),
        ({"reason": "x" * 501}, 422),
        (WHY | {"extent": "everything"}, 422),
        (WHY | {"project": "elsewhere"}, 409),
    ],
)
def test_what_cannot_be_meant_is_refused(administrator, rows, form, status):
    assert administrator.post(f"{STUDY}/withdraw", data=form).status_code == status
    assert rows(Withdrawal) == []


def test_a_custodian_withdraws_a_patient_by_the_pseudonym(custodian, withdrawer, database, rows):
    [use] = rows(ProjectStudy)
    form = WHY | {"pseudonym": use.patient_pseudonym}
    answer = custodian.post("/projects/default/withdrawals", data=form)
    assert answer.status_code == 303
    withdrawer.carry_out()

    page = custodian.get("/projects/default/withdrawals").text
    assert use.patient_pseudonym in page
    assert "finished" in page
    assert list(iterate_found(database, "default", AnswerFilters())) == []


def test_a_custodian_withdraws_a_study_by_its_pseudonymous_uid(custodian, withdrawer, rows):
    [use] = rows(ProjectStudy)
    form = WHY | {"pseudonym": use.pseudonymous_uid}
    custodian.post("/projects/default/withdrawals", data=form)
    withdrawer.carry_out()

    assert [row.state for row in rows(Study)] == [StudyState.WITHDRAWN]


def test_a_pseudonym_of_nobody_is_refused_and_not_repeated(custodian, rows):
    form = WHY | {"pseudonym": "f" * 32}
    answer = custodian.post("/projects/default/withdrawals", data=form)

    assert answer.status_code == 409
    assert "f" * 32 not in answer.text
    assert rows(Withdrawal) == []
