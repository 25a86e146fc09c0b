"""What the groups of an OpenID provider give: `group=role@project`, or `group=administrator`.

Or a TOML file, for names with commas:

    [[role]]
    group = "CN=lung-readers,OU=groups,DC=hospital"
    role = "reader"
    project = "lung"
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.records.words import Role

SETTING = "MEDR1_OIDC_ROLES"


@dataclass(frozen=True, slots=True)
class GroupRole:
    """A role that everybody in a group has; no project: administrator of the site."""

    group: str
    role: Role
    project: str | None


def load_group_roles(items: Sequence[str]) -> tuple[GroupRole, ...]:
    """Read the list, or the one file that it names; raises `SettingInvalid`."""
    if len(items) == 1 and items[0].endswith(".toml"):
        return _read_file(Path(items[0]))
    return tuple(_parse(item) for item in items)


def _parse(item: str) -> GroupRole:
    group, equals, given = item.rpartition("=")
    role, at, project = given.partition("@")
    if not equals:
        raise SettingInvalid(f"{SETTING}: {item!r} is not group=role@project")
    return _group_role(SETTING, group.strip(), role.strip(), project.strip() if at else None)


def _read_file(path: Path) -> tuple[GroupRole, ...]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"{SETTING}: {path} cannot be read as TOML: {error}") from error
    tables = content.pop("role", [])
    if content or not isinstance(tables, list):
        raise SettingInvalid(f"{path}: use [[role]] with group, role and project")
    return tuple(_from_table(path, table) for table in tables)


def _from_table(path: Path, table: Any) -> GroupRole:
    if not isinstance(table, dict) or set(table) - {"group", "role", "project"}:
        raise SettingInvalid(f"{path}: a [[role]] has group, role and project, not {table!r}")
    project = table.get("project")
    return _group_role(
        str(path), str(table.get("group", "")), str(table.get("role", "")), project and str(project)
    )


def _group_role(where: str, group: str, role: str, project: str | None) -> GroupRole:
    if role not in set(Role):
        raise SettingInvalid(f"{where}: {role!r} is not one of {', '.join(Role)}")
    if not group or (Role(role) is Role.ADMINISTRATOR) != (not project):
        raise SettingInvalid(
            f"{where}: {group}={role}: an administrator is one of the whole site, and names no "
            "project; every other role is one of a project"
        )
    return GroupRole(group, Role(role), project or None)
