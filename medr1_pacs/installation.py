"""The three roots of an installation lie side by side: `medr1_pacs`, `workers`, `migrations`.

The last two are common names: another distribution, or a folder where somebody happens to stand,
may carry them too. Migrations are therefore found by path beside this package, never imported, and
`check_installation` says when the `workers` that Python would import are not ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from medr1_pacs.errors import InstallationBroken

ROOT = Path(__file__).parents[1]
"""`site-packages`, or the checkout."""
MIGRATIONS = ROOT / "migrations"
DEMO_WEIGHTS = ROOT / "workers" / "demo_checkpoint" / "weights"

_DISTRIBUTION = "medr1-pacs"
_COMMON_NAMES = ("workers", "migrations")


def check_workers() -> None:
    """Raise unless the `workers` that Python would import are ours. Raises `InstallationBroken`."""
    found = PathFinder.find_spec("workers")
    origin = Path(found.origin) if found and found.origin else None
    if origin is None or origin.parent.resolve() != (ROOT / "workers").resolve():
        raise InstallationBroken(
            f"Python finds the package `workers` in {origin.parent if origin else 'no folder'}, "
            f"not beside {ROOT / 'medr1_pacs'}: run the command `medr1-pacs` (or `python -P -m "
            "medr1_pacs`) in a virtual environment of its own, away from folders of that name"
        )


def check_installation() -> str:
    """Return where the three roots lie.

    Raises
    ------
    InstallationBroken
        One is missing, lies elsewhere, or is claimed by another distribution too.
    """
    check_workers()
    for branch in ("research", "vault"):
        if not any((MIGRATIONS / branch).glob("*.py")) or not (MIGRATIONS / "env.py").is_file():
            raise InstallationBroken(
                f"there are no migrations of the {branch} database in {MIGRATIONS}, beside "
                f"{ROOT / 'medr1_pacs'}: install medr1-pacs again"
            )
    if others := sorted(_other_owners(_COMMON_NAMES)):
        raise InstallationBroken(
            f"{', '.join(others)} also installs a folder `workers` or `migrations` into {ROOT}, "
            "so files of the one may have replaced files of the other: install medr1-pacs in a "
            "virtual environment of its own"
        )
    return str(ROOT)


def _other_owners(names: Iterable[str]) -> set[str]:
    """Return the other distributions that put one of these names where ours lie."""
    owners = packages_distributions()
    found = {owner for name in names for owner in owners.get(name, [])}
    return {
        owner
        for owner in found
        if owner.lower().replace("_", "-") != _DISTRIBUTION
        and Path(str(distribution(owner).locate_file(""))).resolve() == ROOT.resolve()
    }
