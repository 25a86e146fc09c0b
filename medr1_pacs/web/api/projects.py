"""The caller's projects."""

from __future__ import annotations

from fastapi import APIRouter

from medr1_pacs.web.api.refusals import refusals
from medr1_pacs.web.security.access import SignedIn

router = APIRouter(prefix="/api/v1", tags=["projects"], responses=refusals())


@router.get("/projects")
def list_projects(caller: SignedIn) -> list[dict[str, object]]:
    """Return the projects that the caller is in, and as what."""
    return [{"name": name, "roles": sorted(caller.roles[name])} for name in caller.projects]
