"""The reading protocols of a project: who reads what, how far they are, and the form for another.

Whoever reads sees their own progress and nothing else. How far everybody is tells nothing of what
they say, but for adjudications: it is shown to those alone from whom nothing is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from medr1_pacs.db.protocols import get_definition
from medr1_pacs.db.reading_progress import (
    count_cases,
    get_listing,
    list_people_progress,
    list_protocols,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import CaseKind
from medr1_pacs.records.reviews import ProtocolListing, Reader, ReaderProgress
from medr1_pacs.records.words import Role
from medr1_pacs.reviews.phases import is_over
from medr1_pacs.reviews.protocol_rules import parse_protocol
from medr1_pacs.reviews.protocol_text import write_protocol
from medr1_pacs.reviews.protocols import hash_definition
from medr1_pacs.steps.reading_protocols import (
    CheckedProtocol,
    check_protocol,
    end_protocol,
    offer_protocol,
    start_checked_protocol,
    unblind_person,
)
from medr1_pacs.steps.reviewing import find_progress
from medr1_pacs.web.dependencies import (
    FrontDoor,
    ProtocolName,
    ProtocolVersion,
    ResearchDatabase,
)
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Member, NotFound, ProjectAccess, ReadingLead
from medr1_pacs.web.security.door import Door

router = APIRouter(prefix="/projects/{project}/reading")

TEXT_MAX = 100_000
"""Characters of a protocol's file."""
REASON_MAX = 2_000

Reason = Annotated[str, Form(max_length=REASON_MAX)]


@dataclass(frozen=True, slots=True)
class OwnPart:
    """A protocol as one of its people sees it."""

    progress: ReaderProgress
    may_read: bool
    """Whether something of it is left for them, now or later."""


@dataclass(frozen=True, slots=True)
class ShownProtocol:
    """A protocol as the caller sees it."""

    listing: ProtocolListing
    is_over: bool
    own: OwnPart | None
    """None: the caller is not in it."""


@router.get("", response_class=HTMLResponse)
def list_all(
    request: Request, access: Member, database: ResearchDatabase, door: FrontDoor
) -> Response:
    """Show a project's protocols; to whom answers are hidden, those they are in."""
    with database.read() as session:
        listings = list_protocols(
            session,
            access.project,
            account_id=access.caller.account_id,
            is_lead=_sees_all(access),
        )
    context = {
        "access": access,
        "protocols": [_shown(access, database, door, listing) for listing in listings],
        "sees_all": _sees_all(access),
        "may_start": _may_lead(access),
    }
    return templates.TemplateResponse(request, "reading_protocols.html", context)


@router.get("/new", response_class=HTMLResponse)
def offer(request: Request, access: ReadingLead, database: ResearchDatabase) -> Response:
    """Show the form for a protocol, with a file to begin with."""
    return _form(request, access, offer_protocol(database, access.project))


@router.post("/new", response_class=HTMLResponse)
def check_or_start(
    request: Request,
    access: ReadingLead,
    database: ResearchDatabase,
    definition: Annotated[str, Form(max_length=TEXT_MAX)] = "",
    do: Annotated[str, Form(pattern="^(check|start)$")] = "check",
    checked_sha256: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Say what a protocol comes to, or start the one that was checked."""
    try:
        protocol = parse_protocol(definition)
        if do == "start" and protocol.checked_sha256 == checked_sha256:
            start_checked_protocol(database, access.project, protocol, actor=access.caller.account)
            return _back(access, protocol.name, protocol.version)
        checked = check_protocol(database, access.project, protocol)
    except ProtocolRefused as error:
        complaints = str(error).splitlines()
        return _form(request, access, definition, complaints=complaints)
    message = "Nothing was started: this is what it comes to."
    if do == "start":
        message = "Nothing was started: the text is another than was checked. It comes to this now."
    return _form(request, access, definition, checked=checked, message=message)


@router.get("/{name}/{version}", response_class=HTMLResponse)
def show(
    request: Request,
    access: Member,
    database: ResearchDatabase,
    door: FrontDoor,
    name: ProtocolName,
    version: ProtocolVersion,
) -> Response:
    """Show one protocol: to its people how far they are, to whom nothing is hidden everybody."""
    with database.read() as session:
        listing = get_listing(
            session, access.project, name, version, account_id=access.caller.account_id
        )
        if listing.part is None and not _sees_all(access):
            raise NotFound(f"you are in no reading protocol {name} {version}")
        protocol = get_definition(session, listing.protocol_id)
        people = list_people_progress(session, listing.protocol_id, now=door.now())
        kinds = count_cases(session, listing.protocol_id)
    context = {
        "access": access,
        "shown": _shown(access, database, door, listing),
        "protocol": protocol,
        "definition": write_protocol(protocol),
        "definition_sha256": hash_definition(listing.definition),
        "sees_all": _sees_all(access),
        "may_lead": _may_lead(access),
        "people": people,
        "kinds": kinds,
        "reason_max": REASON_MAX,
    }
    return templates.TemplateResponse(request, "reading_protocol.html", context)


@router.post("/{name}/{version}/stop")
def stop(
    access: ReadingLead,
    database: ResearchDatabase,
    name: ProtocolName,
    version: ProtocolVersion,
    reason: Reason = "",
) -> Response:
    """End a protocol early."""
    actor = access.caller.account
    end_protocol(database, access.project, name, version, reason=reason, actor=actor)
    return _back(access, name, version)


@router.post("/{name}/{version}/unblind")
def unblind(
    access: ReadingLead,
    database: ResearchDatabase,
    name: ProtocolName,
    version: ProtocolVersion,
    account: Annotated[str, Form(max_length=64)] = "",
    reason: Reason = "",
) -> Response:
    """Let somebody see the answers before the end."""
    actor = access.caller.account
    unblind_person(database, access.project, name, version, account, reason=reason, actor=actor)
    return _back(access, name, version)


def _sees_all(access: ProjectAccess) -> bool:
    """Whether the caller may know how far everybody is."""
    is_research = access.caller.has_role(access.project, Role.RESEARCHER, Role.AUDITOR)
    return is_research and not access.caller.is_blinded(access.project)


def _may_lead(access: ProjectAccess) -> bool:
    return access.caller.has_role(access.project, Role.RESEARCHER) and _sees_all(access)


def _shown(
    access: ProjectAccess, database: Database, door: Door, listing: ProtocolListing
) -> ShownProtocol:
    own = None
    if listing.part is not None:
        reader = Reader(listing.protocol_id, access.caller.account_id)
        progress = find_progress(database, reader, now=door.now())
        is_blinded = not is_over(listing.state) and listing.unblinded_at is None
        own = OwnPart(progress, may_read=is_blinded and progress.left > 0)
    return ShownProtocol(listing, is_over(listing.state), own)


def _form(
    request: Request,
    access: ProjectAccess,
    definition: str,
    *,
    checked: CheckedProtocol | None = None,
    complaints: list[str] | None = None,
    message: str = "",
) -> Response:
    context = {
        "access": access,
        "definition": definition,
        "checked": checked,
        "complaints": complaints or [],
        "message": message,
        "kinds": {kind: checked.plan.count(kind) for kind in CaseKind} if checked else {},
        "text_max": TEXT_MAX,
    }
    status = 422 if complaints else 200
    return templates.TemplateResponse(
        request, "reading_protocol_new.html", context, status_code=status
    )


def _back(access: ProjectAccess, name: str, version: int) -> Response:
    page = f"/projects/{quote(access.project)}/reading/{quote(name)}/{version}"
    return RedirectResponse(page, status_code=303)
