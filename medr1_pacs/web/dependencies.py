"""What routes work on, as parameters: `def page(database: ResearchDatabase) -> ...`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import DecoderMissing, VaultMissing
from medr1_pacs.projects import ProjectRules
from medr1_pacs.reviews.protocols import VERSION_MAX
from medr1_pacs.steps.importing_references import Options
from medr1_pacs.steps.rendering import Decoder
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.security.door import Door, Transport


@dataclass(frozen=True, slots=True)
class SiteRules:
    """What of a site's settings decides where its studies go."""

    study_quiet_s: float = 300.0
    """How long nothing of a study comes before it is complete."""
    project_rules: ProjectRules = field(default_factory=ProjectRules)


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _vault(request: Request) -> Database:
    vault: Database | None = request.app.state.vault
    if vault is None:
        raise VaultMissing(
            "the pages have no identity vault: give the process that serves them MEDR1_VAULT_URL"
        )
    return vault


def _instance_store(request: Request) -> InstanceStore:
    store: InstanceStore = request.app.state.instance_store
    return store


def _picture_store(request: Request) -> PictureStore:
    store: PictureStore = request.app.state.picture_store
    return store


def _export_store(request: Request) -> ExportStore:
    store: ExportStore = request.app.state.export_store
    return store


def _site_rules(request: Request) -> SiteRules:
    rules: SiteRules = request.app.state.site_rules
    return rules


def _options(request: Request) -> Options:
    options: Options = request.app.state.options
    return options


def _decoder(request: Request) -> Decoder:
    decoder: Decoder | None = request.app.state.decoder
    if decoder is None:
        raise DecoderMissing("the process that serves these pages has no decoder for frames")
    return decoder


def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


def _transport(request: Request) -> Transport:
    transport: Transport = request.state.transport
    return transport


ResearchDatabase = Annotated[Database, Depends(_database)]
Vault = Annotated[Database, Depends(_vault)]
"""The identities: for a route that asks for a custodian, and writes an event."""
Instances = Annotated[InstanceStore, Depends(_instance_store)]
Pictures = Annotated[PictureStore, Depends(_picture_store)]
Exports = Annotated[ExportStore, Depends(_export_store)]
Site = Annotated[SiteRules, Depends(_site_rules)]
QuestionOptions = Annotated[Options, Depends(_options)]
"""Question id -> options, of the question bank."""
FrameDecoder = Annotated[Decoder, Depends(_decoder)]
"""For `steps.showing.show_frame`."""
FrontDoor = Annotated[Door, Depends(_door)]
CameBy = Annotated[Transport, Depends(_transport)]
"""How the request came in."""

ROW_ID_MAX = 2**63 - 1

AnswerId = Annotated[int, Path(ge=1, le=ROW_ID_MAX)]
"""Of the path."""
ProtocolName = Annotated[str, Path(max_length=64)]
ProtocolVersion = Annotated[int, Path(ge=1, le=VERSION_MAX)]
"""Of a reading protocol, in the path."""
