"""What a project may keep no longer goes by itself, from that project alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from factories import SITE_KEY, make_instance, make_uid, put_instance
from sqlalchemy import select, update

from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.retention import count_due, list_retentions
from medr1_pacs.db.tables import Project as ProjectRow
from medr1_pacs.db.tables import ProjectStudy, Study, Withdrawal
from medr1_pacs.db.vault import PatientIdentityRow
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps.retaining import end_retention

LUNG = Project("lung", ends_on=date(2026, 12, 31), retention_days=30)
HEART = Project("heart", ends_on=date(2027, 12, 31), retention_days=30)
BEFORE = datetime(2027, 1, 30, 23, 59, tzinfo=UTC)
LUNG_IS_DUE = datetime(2027, 1, 31, 0, 0, tzinfo=UTC)


def make_rules(*projects):
    return ProjectRules(
        projects, tuple(ProjectRule(p.name, {"called_ae_title": p.name.upper()}) for p in projects)
    )


@pytest.fixture
def receive(indexer, store, database):
    """Receive studies of one instance each for a project; returns their UIDs."""
    indexer.rules = make_rules(LUNG, HEART)
    with database.write() as session:
        declare_projects(session, indexer.rules, datetime.now(UTC))

    def receive(project, number=1, uids=()):
        made = list(uids) or [make_uid() for _ in range(number)]
        for uid in made:
            ds = make_instance(StudyInstanceUID=uid, PatientID=f"P-{uid}")
            put_instance(store, ds, called_ae_title=project.upper())
        while indexer.index().total:
            pass
        return made

    return receive


@pytest.fixture
def end(database, withdrawer):
    """Let the time of retention come, and what it asks for be done; returns how many studies."""

    def end(now):
        asked = 0
        while count := end_retention(database, SITE_KEY, now):
            asked += count
            withdrawer.carry_out()
        return asked

    return end


def uses(database):
    """Return project -> Study Instance UIDs of what it uses."""
    with database.read() as session:
        rows = session.execute(
            select(ProjectRow.name, Study.study_instance_uid)
            .join(ProjectStudy, ProjectStudy.project_id == ProjectRow.id)
            .join(Study, ProjectStudy.study_id == Study.id)
            .where(ProjectStudy.withdrawn_at.is_(None))
        ).all()
    found = {}
    for name, uid in rows:
        found.setdefault(name, set()).add(uid)
    return found


@pytest.mark.timeout(300)
def test_of_a_thousand_studies_exactly_what_is_due_goes_for_the_project_whose_date_it_is(
    receive, end, database, rows, store
):
    lung, heart = receive("lung", 500), receive("heart", 499)
    [both] = receive("lung", 1)
    receive("heart", uids=[both])

    assert end(BEFORE) == 0
    assert end(LUNG_IS_DUE) == 501
    assert end(LUNG_IS_DUE) == 0

    assert uses(database) == {"heart": {*heart, both}}
    left = {row.study_instance_uid for row in rows(Study) if row.state is not StudyState.WITHDRAWN}
    assert left == {*heart, both}
    assert {row.study_instance_uid for row in rows(PatientIdentityRow)} == left
    assert len(list(store.settled())) == 501
    assert len(lung) == 500


def test_the_last_day_is_kept_to_its_end(receive, end, database):
    receive("lung")

    assert end(LUNG_IS_DUE - timedelta(seconds=1)) == 0
    assert end(LUNG_IS_DUE) == 1


def test_without_an_end_days_count_from_when_a_study_was_added(
    receive, end, database, indexer, rows
):
    indexer.rules = make_rules(Project("lung", retention_days=10), HEART)
    with database.write() as session:
        declare_projects(session, indexer.rules, datetime.now(UTC))
    _, new = receive("lung", 2)
    with database.write() as session:
        session.execute(
            update(ProjectStudy)
            .where(ProjectStudy.id == rows(ProjectStudy)[0].id)
            .values(added_at=datetime.now(UTC) - timedelta(days=10, seconds=1))
        )

    assert end(datetime.now(UTC)) == 1

    assert uses(database) == {"lung": {new}}


def test_a_project_without_retention_keeps_what_it_has(receive, end, database, indexer):
    indexer.rules = make_rules(Project("lung", ends_on=date(2020, 1, 1)), HEART)
    with database.write() as session:
        declare_projects(session, indexer.rules, datetime.now(UTC))
    receive("lung")

    assert end(LUNG_IS_DUE) == 0


def test_a_study_that_comes_for_a_project_that_is_over_goes_again(receive, end, database):
    receive("lung")
    end(LUNG_IS_DUE)
    receive("lung")

    assert end(LUNG_IS_DUE) == 1

    assert uses(database) == {}


def test_what_is_due_is_told_before_it_goes(receive, database):
    receive("lung", 2)

    with database.read() as session:
        due = {
            each.project: (count_due(session, each, BEFORE), count_due(session, each, LUNG_IS_DUE))
            for each in list_retentions(session)
        }

    assert due == {"lung": (0, 2), "heart": (0, 0)}


def test_the_reason_names_the_project_and_nobody(receive, end, rows):
    receive("lung")
    end(LUNG_IS_DUE)

    [withdrawal] = rows(Withdrawal)
    assert withdrawal.requested_by == "service"
    assert withdrawal.reason == "30 days of retention in lung since its end are over"
