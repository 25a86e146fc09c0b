"""What a route asks of its caller, as parameters: `def page(caller: Administrator) -> ...`.

A route without one of these answers anybody; `tests/integration/test_authorisation.py`
lists them all. Whether a project exists is told to its members alone: to others it is not found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from medr1_pacs.records.people import Caller, Scope
from medr1_pacs.records.words import Role


class NotSignedIn(Exception):
    """Nobody is signed in: a page leads to the sign-in, the API answers 401."""


class NotAllowed(Exception):
    """The caller is somebody, and may not do this: 403. The message says what it takes."""


class NotFound(Exception):
    """There is no such thing, or none that the caller may know of: 404."""


class ProjectNeeded(Exception):
    """The caller is in several projects, or in none, and names none: 422."""


BLINDED = (
    "you judge cases of this project: what the model and other readers say of them is hidden from "
    "you in every role until the reading protocol is over"
)


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """A caller in one project of theirs."""

    caller: Caller
    project: str


def signed_in(request: Request) -> Caller:
    """Return who asks; raises `NotSignedIn`."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise NotSignedIn
    return caller


def _browser(caller: SignedIn) -> Caller:
    if caller.scopes is not None:
        raise NotAllowed("this is for a person at a browser: a token cannot do it")
    return caller


def _administrator(scope: Scope) -> Callable[[Caller], Caller]:
    def administrator(caller: SignedIn) -> Caller:
        _require_scope(caller, scope)
        if not caller.is_administrator:
            raise NotAllowed("this is for administrators")
        return caller

    return administrator


def _audit_reader(caller: OperationsReader) -> Caller:
    if caller.is_blinded():
        raise NotAllowed(BLINDED)
    return caller


def _browsing_administrator(caller: Browser) -> Caller:
    if not caller.is_administrator:
        raise NotAllowed("this is for administrators")
    return caller


def _in_project(
    scope: Scope | None, *roles: Role, shows_answers: bool = True
) -> Callable[[Caller, str], ProjectAccess]:
    """Build the dependency of a route with `{project}` in its path; no scope: browsers alone.

    `shows_answers`: of the model, of readers, or what is true: refused to whoever is to judge the
    same cases blind, whatever else they are.
    """

    def in_project(caller: SignedIn, project: str) -> ProjectAccess:
        if project not in caller.roles:
            raise NotFound(f"you are in no project {project!r}")
        if scope is None:
            _browser(caller)
        else:
            _require_scope(caller, scope)
        if not caller.has_role(project, *roles):
            raise NotAllowed(f"this is for a {' or '.join(roles)} of the project {project}")
        if shows_answers and caller.is_blinded(project):
            raise NotAllowed(BLINDED)
        return ProjectAccess(caller, project)

    return in_project


def _in_project_by_query(
    scope: Scope, *roles: Role
) -> Callable[[Caller, str | None], ProjectAccess]:
    """Build the dependency of a route that takes the project from the query."""
    in_project = _in_project(scope, *roles)

    def in_project_by_query(
        caller: SignedIn,
        project: Annotated[
            str | None, Query(max_length=64, description="Needed where you are in several")
        ] = None,
    ) -> ProjectAccess:
        if project is None:
            if len(caller.projects) != 1:
                raise ProjectNeeded(
                    f"say project=...: you are in {', '.join(caller.projects) or 'none'}"
                )
            [project] = caller.projects
        return in_project(caller, project)

    return in_project_by_query


def _require_scope(caller: Caller, scope: Scope) -> None:
    if not caller.has_scope(scope):
        raise NotAllowed(f"the token lacks the scope {scope}")


SignedIn = Annotated[Caller, Depends(signed_in)]
"""Anybody who is signed in, a program with a token too."""
Browser = Annotated[Caller, Depends(_browser)]
"""A person, not a token."""
OperationsReader = Annotated[Caller, Depends(_administrator(Scope.OPERATIONS_READ))]
"""An administrator who looks."""
AuditReader = Annotated[Caller, Depends(_audit_reader)]
"""An administrator who looks at the log of everything, and judges no case at the moment."""
Administrator = Annotated[Caller, Depends(_browsing_administrator)]
"""An administrator at a browser: accounts and roles are not for tokens."""
Member = Annotated[ProjectAccess, Depends(_in_project(None, *Role, shows_answers=False))]
"""Anybody in the project of the path at a browser."""
CaseReader = Annotated[ProjectAccess, Depends(_in_project(None, Role.READER, shows_answers=False))]
"""A reader of the project of the path, at a browser; a protocol says which cases are theirs."""
ReadingLead = Annotated[ProjectAccess, Depends(_in_project(None, Role.RESEARCHER))]
"""A researcher of the project of the path at a browser, who starts reading protocols and ends them,
and judges none of its cases."""
Research = Annotated[
    ProjectAccess, Depends(_in_project(Scope.ANSWERS_READ, Role.RESEARCHER, Role.AUDITOR))
]
"""A researcher or an auditor of the project of the path, who reads answers."""
ResultsReader = Annotated[
    ProjectAccess, Depends(_in_project(None, Role.RESEARCHER, Role.AUDITOR, Role.READER))
]
"""Who may see what a reading protocol came to, at a browser: who judges cases of the project sees
none while they do, and a mere reader those of their own protocols alone; see
`web/pages/reading_results.py`."""
ResearchByQuery = Annotated[
    ProjectAccess,
    Depends(_in_project_by_query(Scope.ANSWERS_READ, Role.RESEARCHER, Role.AUDITOR)),
]
"""As `Research`, of the project in the query, or of the only one."""
CitingByQuery = Annotated[
    ProjectAccess, Depends(_in_project_by_query(Scope.SNAPSHOTS_WRITE, Role.RESEARCHER))
]
"""As `Citing`, of the project in the query, or of the only one."""
Custodian = Annotated[
    ProjectAccess, Depends(_in_project(None, Role.CUSTODIAN, shows_answers=False))
]
"""Who may know who the patients of the project of the path are; at a browser alone."""
ReferenceReader = Annotated[
    ProjectAccess, Depends(_in_project(None, Role.CUSTODIAN, Role.RESEARCHER, Role.AUDITOR))
]
"""Who may know which truths were brought to the project of the path, and by whom."""
Citing = Annotated[ProjectAccess, Depends(_in_project(Scope.SNAPSHOTS_WRITE, Role.RESEARCHER))]
"""A researcher of the project of the path, who makes snapshots."""
Exporting = Annotated[ProjectAccess, Depends(_in_project(None, Role.RESEARCHER, Role.AUDITOR))]
"""A researcher or an auditor of the project of the path at a browser: an export is what they may
read anyway, and making one changes nothing."""
ExportReader = Annotated[
    ProjectAccess, Depends(_in_project(None, Role.RESEARCHER, Role.AUDITOR, Role.CUSTODIAN))
]
"""Who may know which exports of the project there are: a custodian may remove one, and reads
none."""
