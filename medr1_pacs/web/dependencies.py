"""What routes work on, as parameters: `def page(database: ResearchDatabase) -> ...`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from medr1_pacs.db.sessions import Database
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web.security.door import Door, Transport


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _instance_store(request: Request) -> InstanceStore:
    store: InstanceStore = request.app.state.instance_store
    return store


def _picture_store(request: Request) -> PictureStore:
    store: PictureStore = request.app.state.picture_store
    return store


def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


def _transport(request: Request) -> Transport:
    transport: Transport = request.state.transport
    return transport


ResearchDatabase = Annotated[Database, Depends(_database)]
Instances = Annotated[InstanceStore, Depends(_instance_store)]
Pictures = Annotated[PictureStore, Depends(_picture_store)]
FrontDoor = Annotated[Door, Depends(_door)]
CameBy = Annotated[Transport, Depends(_transport)]
"""How the request came in."""
