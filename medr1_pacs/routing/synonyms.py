"""What a site calls things: the shipped `routing.toml`, and the site's additions to it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medr1_pacs.errors import SettingInvalid

PACKAGED_SYNONYMS = Path(__file__).parent / "routing.toml"

_SITE_RULES = ("external_camera_is_dermoscopy", "unnamed_ophthalmic_camera_is_fundus")


@dataclass(frozen=True, slots=True)
class Synonyms:
    """What a site calls things; see `routing.toml` for each table."""

    anatomy_words: Mapping[str, str]
    """Body Part Examined, upper case -> our word."""
    anatomy_codes: Mapping[str, str]
    """`scheme:value` -> our word."""
    stain_codes: Mapping[str, str]
    fundus_devices: frozenset[str] = frozenset()
    external_camera_is_dermoscopy: bool = False
    unnamed_ophthalmic_camera_is_fundus: bool = False


def load_synonyms(*site_files: Path) -> Synonyms:
    """Read the shipped synonyms and add those of site files, in order.

    Raises `SettingInvalid` with the file and the remedy.
    """
    words: dict[str, str] = {}
    codes: dict[str, str] = {}
    stains: dict[str, str] = {}
    rules: dict[str, bool] = {}
    devices: set[str] = set()
    for path in (PACKAGED_SYNONYMS, *site_files):
        tables = _read_tables(path)
        words |= {value.upper(): word for word, value in _entries(path, tables, "anatomy", "words")}
        codes |= {value: word for word, value in _entries(path, tables, "anatomy", "codes")}
        stains |= {value: word for word, value in _entries(path, tables, "stain", "codes")}
        rules |= _site_rules(path, tables)
        devices |= {value for _, value in _entries(path, tables, "site", "fundus_devices")}
    return Synonyms(words, codes, stains, frozenset(devices), **rules)


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"{path}: not a readable TOML file ({error}); correct it.") from error
    if unknown := sorted(set(tables) - {"anatomy", "stain", "site"}):
        raise SettingInvalid(
            f"{path}: unknown table {unknown[0]}; use anatomy.words, anatomy.codes, stain.codes "
            "or site."
        )
    return tables


def _site_rules(path: Path, tables: Mapping[str, Any]) -> dict[str, bool]:
    rules = {key: value for key, value in tables.get("site", {}).items() if key != "fundus_devices"}
    for key, value in rules.items():
        if key not in _SITE_RULES or not isinstance(value, bool):
            raise SettingInvalid(
                f"{path}: site.{key} is not a rule; use {' or '.join(_SITE_RULES)}, each true or "
                "false, or fundus_devices."
            )
    return rules


def _entries(
    path: Path, tables: Mapping[str, Any], table: str, kind: str
) -> Iterable[tuple[str, str]]:
    """Yield (word, synonym) pairs; a plain list yields its own key as the word."""
    group = tables.get(table, {}).get(kind, {})
    for word, values in (group if isinstance(group, dict) else {kind: group}).items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise SettingInvalid(f"{path}: {table}.{kind}.{word} must be a list of strings.")
        for value in values:
            yield word, value
