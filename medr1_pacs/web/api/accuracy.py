"""How often a project's answers are right."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from medr1_pacs.db.reading import record_accuracy
from medr1_pacs.records.reading import How
from medr1_pacs.steps.estimating import estimate
from medr1_pacs.web.api.refusals import refusals
from medr1_pacs.web.asked_filters import FILTER_PARAMETERS, Filters, GroupedBy
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.security.access import ResearchByQuery

router = APIRouter(prefix="/api/v1", tags=["accuracy"], responses=refusals(403, 404, 422))


@router.get("/accuracy", openapi_extra={"parameters": FILTER_PARAMETERS})
def get_accuracy(
    access: ResearchByQuery, database: ResearchDatabase, filters: Filters, by: GroupedBy
) -> dict[str, Any]:
    """Return how often the answers that are found are right, group by group, with 95 % intervals.

    Shares are 0 to 1, of the answers whose truth is known; one that could not be parsed is wrong.
    Intervals are by patient: `method` says how each was made. `few_patients`: fewer than 10, too
    few to say much.
    """
    record_accuracy(database, access.project, filters, by, How.API, actor=access.caller.account)
    rows = estimate(database, access.project, filters, by)
    return {
        "project": access.project,
        "by": [grouping.value for grouping in by],
        "groups": [row.to_json() for row in rows],
    }
