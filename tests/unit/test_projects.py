from datetime import date

import pytest

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.projects import Project, load_project_rules

SITE = """
[[project]]
name = "lung"
title = "Lung nodules 2026"
approval_number = "EK-2026-17"

[[project]]
name = "neuro"

[[rule]]
project = "lung"
called_ae_title = "LUNG"

[[rule]]
project = "neuro"
modality = "MR"
calling_ae_title = "SCANNER7"
"""


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "projects.toml"
        path.write_text(content)
        return load_project_rules(path)

    return load


def arrival(**values):
    return {"called_ae_title": "MEDR1", "calling_ae_title": "SCANNER7", "modality": "CT"} | values


def test_without_a_file_everything_belongs_to_default():
    rules = load_project_rules(None)

    assert rules.match(arrival()) == {"default": "no rule matched"}


def test_a_rule_adds_its_project_and_says_why(load):
    assert load(SITE).match(arrival(called_ae_title="LUNG")) == {"lung": "called_ae_title = LUNG"}


def test_the_called_ae_titles_of_rules_are_known(load):
    padded = SITE.replace('"LUNG"', '"LUNG "')

    assert load(padded).called_ae_titles == {"LUNG"}
    assert load_project_rules(None).called_ae_titles == frozenset()


def test_a_rule_compares_all_its_values(load):
    rules = load(SITE)

    assert rules.match(arrival(modality="MR")) == {
        "neuro": "calling_ae_title = SCANNER7, modality = MR"
    }
    assert rules.match(arrival(modality="MR", calling_ae_title="OTHER")) == {
        "default": "no rule matched"
    }


def test_every_rule_that_matches_adds_its_project(load):
    matched = load(SITE).match(arrival(called_ae_title="LUNG", modality="MR"))

    assert set(matched) == {"lung", "neuro"}


def test_what_is_unknown_of_an_arrival_matches_no_rule(load):
    assert load(SITE).match({}) == {"default": "no rule matched"}


def test_projects_come_as_declared_with_default_among_them(load):
    assert load(SITE).projects == (
        Project("default", "Default project"),
        Project("lung", "Lung nodules 2026", "EK-2026-17"),
        Project("neuro"),
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[[project]\n", "cannot be read as TOML"),
        ('[[project]]\nname = "a"\nowner = "x"', "use name, title, approval_number, purpose"),
        ('[[project]]\ntitle = "nameless"', "use name, title, approval_number, purpose"),
        ('[[project]]\nname = ""', "name: 1 to 64 characters"),
        ('[[project]]\nname = "' + 65 * "x" + '"', "name: 1 to 64 characters"),
        ('[[rule]]\nproject = "lung"\nmodality = "CT"', "undeclared project 'lung'"),
        ('[[rule]]\nmodality = "CT"', "undeclared project ''"),
        ('[[project]]\nname = "a"\n[[rule]]\nproject = "a"', "must compare some of"),
        ('[[project]]\nname = "a"\n[[rule]]\nproject = "a"\npatient = "x"', "must compare some of"),
        ("[[projects]]\n", "unknown 'projects'"),
        ('project = "lung"', "use \\[\\[project\\]\\]"),
        ('[project]\nname = "a"', "use \\[\\[project\\]\\]"),
        ('[[project]]\nname = "a"\n[[rule]]\nproject = "a"\nmodality = 3', "expected a text"),
        ("[[project]]\nname = 3", "expected a text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(load, content, complaint):
    with pytest.raises(SettingInvalid, match=complaint) as caught:
        load(content)

    assert "projects.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingInvalid, match=r"MEDR1_PROJECTS names .*nowhere.toml"):
        load_project_rules(tmp_path / "nowhere.toml")


# -- retention -----------------------------------------------------------------------------------


def test_a_project_says_when_it_ends_and_how_long_it_keeps_what_it_has(load):
    rules = load('[[project]]\nname = "lung"\nends_on = 2028-12-31\nretention_days = 3650\n')

    assert rules.projects[-1] == Project("lung", ends_on=date(2028, 12, 31), retention_days=3650)


def test_a_day_may_be_written_as_a_text(load):
    rules = load('[[project]]\nname = "lung"\nends_on = "2028-12-31"\n')

    assert rules.projects[-1].ends_on == date(2028, 12, 31)


@pytest.mark.parametrize(
    "line",
    [
        'ends_on = "soon"',
        "ends_on = 2028",
        "ends_on = 2028-12-31T12:00:00",
        "ends_on = 9999-12-31",
        "retention_days = -1",
        "retention_days = 3000000",
        'retention_days = "long"',
        "retention_days = true",
        "retention_days = 1.5",
    ],
)
def test_a_time_that_is_none_is_refused(load, line):
    with pytest.raises(SettingInvalid, match=line.split(" ", 1)[0]):
        load(f'[[project]]\nname = "lung"\n{line}\n')


def test_rules_without_a_project_give_it_nothing_and_the_default_neither(load):
    rules = load(SITE).without({"lung"})

    assert rules.match(arrival(called_ae_title="LUNG")) == {}
