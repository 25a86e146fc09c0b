"""Which projects may use a study: declarative rules over how it arrived.

    [[project]]
    name = "lung"
    title = "Lung nodules 2026"
    approval_number = "EK-2026-17"
    dates = "shifted"
    ends_on = 2028-12-31
    retention_days = 3650

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
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.records.words import DatePolicy

DEFAULT_PROJECT = "default"
NAME_MAX = 64
RETENTION_DAYS_MAX = 36_525
"""A hundred years."""
_YEAR_MAX = 2999
_NO_TEXTS = ("ends_on", "retention_days")
RULE_KEYS = ("called_ae_title", "calling_ae_title", "modality")


@dataclass(frozen=True, slots=True)
class Project:
    """A research project as the site declares it."""

    name: str
    title: str = ""
    approval_number: str = ""
    purpose: str = ""
    dates: DatePolicy = DatePolicy.YEAR
    ends_on: date | None = None
    """The last day of the project, in UTC."""
    retention_days: int | None = None
    """How long a study is kept: after the project's end, or without one after the study was added
    to it; None: nothing goes by itself."""


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
    withheld: frozenset[str] = frozenset()
    """Projects that no arrival is given to."""

    def without(self, names: Collection[str]) -> ProjectRules:
        """Return rules that give nothing to some projects, as of a study withdrawn from them."""
        return replace(self, withheld=self.withheld | frozenset(names)) if names else self

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
        named = matched or {DEFAULT_PROJECT: "no rule matched"}
        return {name: rule for name, rule in named.items() if name not in self.withheld}


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


def _tables(path: Path, content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = content.pop(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingInvalid(f"{path}: {name!r} is not a list of tables; use [[{name}]]")
    for table in tables:
        for key, value in table.items():
            if key not in _NO_TEXTS and not isinstance(value, str):
                raise SettingInvalid(f"{path}: [[{name}]] {key} = {value!r}: expected a text")
    return tables


def _project(path: Path, table: dict[str, Any]) -> Project:
    values = dict(table)
    where = f"{path}: [[project]] {table.get('name', '')!r}"
    if "ends_on" in values:
        values["ends_on"] = _day(where, values["ends_on"])
    days = values.get("retention_days")
    if days is not None and (
        isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= RETENTION_DAYS_MAX
    ):
        raise SettingInvalid(
            f"{where}: retention_days = {days!r}: expected days, 0 to {RETENTION_DAYS_MAX:,}; "
            "without the line nothing goes by itself"
        )
    dates = values.get("dates", DatePolicy.YEAR)
    if dates not in list(DatePolicy):
        raise SettingInvalid(f"{where}: dates = {dates!r}: use one of {', '.join(DatePolicy)}")
    try:
        project = Project(**(values | {"dates": DatePolicy(dates)}))
    except TypeError as error:
        raise SettingInvalid(
            f"{where}: use name, title, approval_number, purpose, dates, ends_on, retention_days "
            f"({error})"
        ) from error
    if not 1 <= len(project.name) <= NAME_MAX:
        raise SettingInvalid(f"{path}: [[project]] name: 1 to {NAME_MAX} characters")
    if not project.name.isprintable() or "/" in project.name or project.name in (".", ".."):
        # It is part of addresses.
        raise SettingInvalid(
            f"{path}: [[project]] {project.name!r}: no slash, no control character"
        )
    return project


def _day(where: str, value: Any) -> date:
    if isinstance(value, str):
        with suppress(ValueError):
            value = date.fromisoformat(value)
    if isinstance(value, datetime) or not isinstance(value, date) or value.year > _YEAR_MAX:
        raise SettingInvalid(
            f"{where}: ends_on = {value!r}: expected a day, as 2028-12-31, before 3000"
        )
    return value


def _rule(path: Path, table: dict[str, Any], projects: Mapping[str, Project]) -> ProjectRule:
    equals = dict(table)
    project = equals.pop("project", "")
    if project not in projects:
        raise SettingInvalid(f"{path}: a [[rule]] names the undeclared project {project!r}")
    if not equals or set(equals) - set(RULE_KEYS):
        raise SettingInvalid(
            f"{path}: the [[rule]] for {project!r} must compare some of {', '.join(RULE_KEYS)}"
        )
    return ProjectRule(project, equals)
