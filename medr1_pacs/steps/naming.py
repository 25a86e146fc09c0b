"""store -> research: give studies the pseudonyms and dates by which their projects know them.

Runs in the sweep, the one process that has the site key. A project whose policy of dates changed
has all its studies named anew, some at a time.
"""

from __future__ import annotations

from datetime import UTC, datetime

from medr1_pacs.db.naming import has_unnamed, name_studies
from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.sessions import Database
from medr1_pacs.projects import ProjectRules

_AT_ONCE = 100


def name_for_research(database: Database, site_key: bytes) -> int:
    """Name what is not yet named, some of it; returns how much that was."""
    with database.read() as session:
        if not has_unnamed(session):
            return 0
    with database.write() as session:
        return name_studies(session, site_key, limit=_AT_ONCE)


def declare(database: Database, rules: ProjectRules) -> None:
    """Let the rows of projects say what the site declares of them."""
    with database.write() as session:
        declare_projects(session, rules, datetime.now(UTC))
