"""The FastAPI application: its parts put together."""

from __future__ import annotations

from functools import partial

import anyio
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import (
    AnswerNotFound,
    DecoderMissing,
    ExportRefused,
    InstanceDamaged,
    PixelDataUnusable,
    ProtocolNotFound,
    ProtocolRefused,
    ReadNotOpen,
    ReferenceRefused,
    ResultsRefused,
    ReviewRefused,
    SnapshotNotFound,
    SnapshotRefused,
    TransientError,
    ValueRefused,
    VaultMissing,
    WithdrawalRefused,
)
from medr1_pacs.filters import FilterInvalid
from medr1_pacs.openid.client import ProviderClient
from medr1_pacs.steps.estimating import GroupingRefused
from medr1_pacs.steps.importing_references import Options
from medr1_pacs.steps.rendering import Decoder
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web import health
from medr1_pacs.web.api import accuracy as api_accuracy
from medr1_pacs.web.api import answers as api_answers
from medr1_pacs.web.api import projects as api_projects
from medr1_pacs.web.api import reading, reference
from medr1_pacs.web.api import snapshots as api_snapshots
from medr1_pacs.web.dependencies import SiteRules
from medr1_pacs.web.pages import (
    account,
    accounts,
    accuracy,
    answers,
    audit,
    operations,
    provider,
    re_identification,
    reading_page,
    reading_protocols,
    reading_results,
    references,
    sign_in,
    snapshots,
    start,
    withdrawals,
)
from medr1_pacs.web.pages import (
    exports as export_pages,
)
from medr1_pacs.web.pages.templating import STATIC_FOLDER
from medr1_pacs.web.security import failures
from medr1_pacs.web.security.access import NotAllowed, NotFound, NotSignedIn, ProjectNeeded
from medr1_pacs.web.security.bodies import BodyLimit
from medr1_pacs.web.security.callers import Callers
from medr1_pacs.web.security.csrf import SameOrigin, check_csrf
from medr1_pacs.web.security.door import Door
from medr1_pacs.web.security.forwarding import Forwarding
from medr1_pacs.web.security.headers import SecurityHeaders
from medr1_pacs.web.security.hosts import Hosts
from medr1_pacs.web.security.limits import VERIFICATIONS_AT_ONCE, SignInLimits

_REFUSALS = {
    NotAllowed: 403,
    NotFound: 404,
    FilterInvalid: 422,
    GroupingRefused: 422,
    ProjectNeeded: 422,
    SnapshotRefused: 409,
    ExportRefused: 409,
    ReferenceRefused: 422,
    WithdrawalRefused: 409,
    ProtocolNotFound: 404,
    ProtocolRefused: 422,
    ReadNotOpen: 404,
    ReviewRefused: 409,
    ResultsRefused: 422,
    InstanceDamaged: 409,
    PixelDataUnusable: 422,
    VaultMissing: 503,
    DecoderMissing: 503,
    SnapshotNotFound: 404,
    AnswerNotFound: 404,
    ValueRefused: 422,  # PostgreSQL takes no NUL in a text, wherever it was written
}


def make_app(
    database: Database,
    instance_store: InstanceStore,
    picture_store: PictureStore,
    *,
    exports: ExportStore | None = None,
    vault: Database | None = None,
    door: Door | None = None,
    site_rules: SiteRules | None = None,
    options: Options | None = None,
    decoder: Decoder | None = None,
) -> FastAPI:
    """Build the application over one database and one storage folder.

    Without a door it is that of a browser on this machine; without the store of exports, none is
    downloaded; without the vault, nobody is re-identified; without the options of the question
    bank, truths are of questions that were asked; without the decoder, which its owner closes, no
    reader gets a frame.
    """
    door = door or Door()
    # The interactive documentation would load its scripts from another host.
    app = FastAPI(
        title="medr1-pacs",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(check_csrf)],
    )
    app.state.database = database
    app.state.vault = vault
    app.state.instance_store = instance_store
    app.state.picture_store = picture_store
    app.state.export_store = exports
    app.state.site_rules = site_rules or SiteRules()
    app.state.options = options or {}
    app.state.decoder = decoder
    app.state.door = door
    app.state.limits = SignInLimits(door.monotonic)
    app.state.verifications = anyio.CapacityLimiter(VERIFICATIONS_AT_ONCE)
    app.state.provider_client = ProviderClient(door.provider) if door.provider else None
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER), name="static")
    for router in (
        health.router,
        sign_in.router,
        provider.router,
        account.router,
        accounts.router,
        start.router,
        operations.router,
        withdrawals.router,
        audit.router,
        answers.router,
        accuracy.router,
        re_identification.router,
        snapshots.router,
        export_pages.router,
        references.router,
        reading_protocols.router,
        reading_results.router,
        api_projects.router,
        api_answers.router,
        api_accuracy.router,
        api_snapshots.router,
        reference.router,
        reading.router,
        reading_page.router,
    ):
        app.include_router(router)
    # The last one added is met first.
    app.add_middleware(Callers, database=database, door=door)
    app.add_middleware(BodyLimit)
    app.add_middleware(SameOrigin)
    app.add_middleware(Hosts, door=door)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Forwarding, door=door)
    app.exception_handler(NotSignedIn)(failures.lead_to_sign_in)
    app.exception_handler(RequestValidationError)(failures.show_invalid)
    app.exception_handler(HTTPException)(failures.show_http_error)
    for error, status in _REFUSALS.items():
        app.exception_handler(error)(partial(failures.refuse_as, status))
    app.exception_handler(TransientError)(failures.render_away)
    app.exception_handler(Exception)(failures.show_defect)
    return app
