"""Which projects may use a study: declarative rules over how it arrived.

    [[project]]
    name = "lung"
    title = "Lung nodules 2026"
    approval_number = "EK-2026-17"
    dates = "shifted"

    [[rule]]
    project = "lung"
    called_ae_title = "LUNG"

`db.instances.record_instance` asks the rules for every arrival, by `add_to_projects`, which only
ever adds: each rule that matches adds its project to the study, whoever sent the rest of it, also
when the very bytes are known; an arrival that no rule matches adds `default`. One that is held for
a person adds none until it is accepted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.records.words import DatePolicy

DEFAULT_PROJECT = "default"
NAME_MAX = 64
RULE_KEYS = ("called_ae_title", "calling_ae_title", "modality")


@dataclass(frozen=True, slots=True)
class Project:
    """A research project as the site declares it."""

    name: str
    title: str = ""
    approval_number: str = ""
    purpose: str = ""
    dates: DatePolicy = DatePolicy.YEAR


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """Adds a project to the studies whose arrival equals every given value."""

    project: str
    equals: Mapping[str, str]

    def describe(self) -> str:
        return ", ".join(f"{key} = {value}" for key, value in sorted(self.equals.items()))


@dataclass(frozen=True, slots=True)
class ProjectRules:
    """All projects and rules of a site."""

    projects: tuple[Project, ...] = (Project(DEFAULT_PROJECT, "Default project"),)
    rules: tuple[ProjectRule, ...] = ()

    @property
    def called_ae_titles(self) -> frozenset[str]:
        """The called AE titles that rules name; a peer may call them."""
        titles = (rule.equals.get("called_ae_title", "").strip(" ") for rule in self.rules)
        return frozenset(filter(None, titles))

    def match(self, arrival: Mapping[str, str]) -> dict[str, str]:
        """Return project name -> the rule that named it."""
        matched = {
            rule.project: rule.describe()
            for rule in self.rules
            if all(arrival.get(key) == value for key, value in rule.equals.items())
        }
        return matched or {DEFAULT_PROJECT: "no rule matched"}


def load_project_rules(path: Path | None) -> ProjectRules:
    """Read `projects.toml`; without one, everything belongs to `default`."""
    if path is None:
        return ProjectRules()
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingInvalid(f"MEDR1_PROJECTS names {path}, which does not exist") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"{path}: cannot be read as TOML: {error}") from error
    projects = {DEFAULT_PROJECT: Project(DEFAULT_PROJECT, "Default project")}
    for table in _tables(path, content, "project"):
        project = _project(path, table)
        projects[project.name] = project
    rules = tuple(_rule(path, table, projects) for table in _tables(path, content, "rule"))
    if content:
        raise SettingInvalid(f"{path}: unknown {next(iter(content))!r}; use [[project]], [[rule]]")
    return ProjectRules(tuple(projects.values()), rules)


def _tables(path: Path, content: dict[str, Any], name: str) -> list[dict[str, str]]:
    tables = content.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingInvalid(f"{path}: {name!r} is not a list of tables; use [[{name}]]")
    for table in tables:
        for key, value in table.items():
            if not isinstance(value, str):
                raise SettingInvalid(f"{path}: [[{name}]] {key} = {value!r}: expected a text")
    return tables


def _project(path: Path, table: dict[str, str]) -> Project:
    values: dict[str, Any] = dict(table)
    dates = values.get("dates", DatePolicy.YEAR)
    if dates not in list(DatePolicy):
        raise SettingInvalid(
            f"{path}: [[project]] {table.get('name', '')!r}: dates = {dates!r}: use one of "
            f"{', '.join(DatePolicy)}"
        )
    try:
        project = Project(**(values | {"dates": DatePolicy(dates)}))
    except TypeError as error:
        raise SettingInvalid(
            f"{path}: [[project]] {table.get('name', '')!r}: use name, title, approval_number, "
            f"purpose, dates ({error})"
        ) from error
    if not 1 <= len(project.name) <= NAME_MAX:
        raise SettingInvalid(f"{path}: [[project]] name: 1 to {NAME_MAX} characters")
    if not project.name.isprintable() or "/" in project.name or project.name in (".", ".."):
        # It is part of addresses.
        raise SettingInvalid(
            f"{path}: [[project]] {project.name!r}: no slash, no control character"
        )
    return project


def _rule(path: Path, table: dict[str, str], projects: Mapping[str, Project]) -> ProjectRule:
    equals = dict(table)
    project = equals.pop("project", "")
    if project not in projects:
        raise SettingInvalid(f"{path}: a [[rule]] names the undeclared project {project!r}")
    if not equals or set(equals) - set(RULE_KEYS):
        raise SettingInvalid(
            f"{path}: the [[rule]] for {project!r} must compare some of {', '.join(RULE_KEYS)}"
        )
    return ProjectRule(project, equals)
