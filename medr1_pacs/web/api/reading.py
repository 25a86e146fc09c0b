"""What the reading page is made of: the next case, its draft, its locks, and nothing that its phase
does not show.

    POST next                               the case that is open, or the next one
    GET  reads/READ                         a case that is open, or was
    PUT  reads/READ/draft                   what is filled in so far
    POST reads/READ/lock                    lock the running phase; answers with what that reveals
    POST reads/READ/amend                   another answer in the place of a locked one
    GET  reads/READ/series/S/frames/N       a frame, as `rendering.reader_message` lays it out
    GET  reads/READ/pictures/K.png          what the model saw, where the phase shows it
    GET  upcoming                           what comes after the open case, to load it ahead
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Response

from medr1_pacs.db.protocols import find_part, get_protocol_id
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ProtocolNotFound, ReadNotOpen
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.review_words import (
    PHASES,
    ReadKind,
)
from medr1_pacs.records.reviews import (
    CaseSeries,
    LockedReview,
    ModelSide,
    OpenRead,
    Reader,
    ReaderProgress,
)
from medr1_pacs.records.words import JsonObject
from medr1_pacs.rendering import encode_frame
from medr1_pacs.steps import reviewing, showing
from medr1_pacs.steps.reviewing import OpenedCase
from medr1_pacs.web.api.filled import Amending, Draft, Locking, draft_to_json
from medr1_pacs.web.dependencies import (
    ROW_ID_MAX,
    FrameDecoder,
    FrontDoor,
    Instances,
    Pictures,
    ProtocolName,
    ProtocolVersion,
    ResearchDatabase,
)
from medr1_pacs.web.pictures import picture_response
from medr1_pacs.web.security.access import CaseReader, NotFound

PREFIX = "/api/v1/projects/{project}/reading/{name}/{version}"
router = APIRouter(prefix=PREFIX, tags=["reading"], include_in_schema=False)

ReadId = Annotated[int, Path(ge=1, le=ROW_ID_MAX)]


def _reader(
    access: CaseReader, database: ResearchDatabase, name: ProtocolName, version: ProtocolVersion
) -> Reader:
    """Return the caller as somebody in a protocol; to others it does not exist."""
    missing = NotFound(f"you are in no reading protocol {name} {version}")
    with database.read() as session:
        try:
            protocol_id = get_protocol_id(session, access.project, name, version)
        except ProtocolNotFound as error:
            raise missing from error
        if find_part(session, protocol_id, access.caller.account_id) is None:
            raise missing
    return Reader(protocol_id, access.caller.account_id)


InProtocol = Annotated[Reader, Depends(_reader)]
"""Somebody who is in the reading protocol of the path."""


@router.post("/next")
def open_next(
    reader: InProtocol,
    database: ResearchDatabase,
    door: FrontDoor,
    project: str,
    name: ProtocolName,
    version: ProtocolVersion,
) -> JsonObject:
    """Open the next case, or return the one that is open already."""
    opened, progress = reviewing.open_next(database, reader, now=door.now())
    base = _base(project, name, version)
    return {
        "case": case_to_json(opened, base) if opened else None,
        "progress": progress_to_json(progress),
    }


@router.get("/upcoming")
def preview(
    reader: InProtocol,
    database: ResearchDatabase,
    project: str,
    name: ProtocolName,
    version: ProtocolVersion,
) -> JsonObject:
    """Return the series of what comes after the open case, so that it is there when it is opened.

    Nothing is claimed by that.
    """
    found = reviewing.preview(database, reader)
    if found is None:
        return {"read": None, "series": []}
    read_id, series = found
    base = _base(project, name, version)
    return {
        "read": read_id,
        "series": _series_to_json(series, f"{base}/reads/{read_id}", None),
        "start": _start_to_json(series),
    }


@router.get("/reads/{read_id}")
def get_read(
    reader: InProtocol,
    database: ResearchDatabase,
    door: FrontDoor,
    read_id: ReadId,
    project: str,
    name: ProtocolName,
    version: ProtocolVersion,
) -> JsonObject:
    """Return a case that is open, or was."""
    opened = reviewing.open_read(database, reader, read_id, now=door.now())
    return {"case": case_to_json(opened, _base(project, name, version))}


@router.put("/reads/{read_id}/draft", status_code=204)
def keep_draft(
    reader: InProtocol, database: ResearchDatabase, door: FrontDoor, read_id: ReadId, filled: Draft
) -> None:
    """Keep what is filled in so far, and the case for its reader."""
    draft = filled.draft.model_dump(mode="json", exclude_unset=True)
    reviewing.keep_draft(
        database, reader, read_id, draft, active_ms=filled.active_ms, now=door.now()
    )


@router.post("/reads/{read_id}/lock")
def lock(
    reader: InProtocol,
    database: ResearchDatabase,
    door: FrontDoor,
    read_id: ReadId,
    filled: Locking,
    project: str,
    name: ProtocolName,
    version: ProtocolVersion,
) -> JsonObject:
    """Lock the running phase; what that reveals is in the answer, or the case that is next.

    No case: it is closed by the lock, as somebody reads it by another protocol too.
    """
    now = door.now()
    is_over = reviewing.lock(
        database,
        reader,
        read_id,
        filled.phase,
        filled.judgement(),
        active_ms=filled.active_ms,
        now=now,
    )
    opened = _find_read(database, reader, read_id, now)
    base = _base(project, name, version)
    answer: JsonObject = {
        "case": case_to_json(opened, base) if opened else None,
        "is_over": is_over,
    }
    is_left = opened is None or (opened.read.phase is None and opened.read.truth is None)
    if filled.goes_on and is_left:
        following, progress = reviewing.open_next(database, reader, now=now)
        answer["next"] = case_to_json(following, base) if following else None
    else:
        progress = reviewing.find_progress(database, reader, now=now)
    return answer | {"progress": progress_to_json(progress)}


def _find_read(
    database: Database, reader: Reader, read_id: int, now: datetime
) -> OpenedCase | None:
    try:
        return reviewing.open_read(database, reader, read_id, now=now)
    except ReadNotOpen:
        return None


@router.post("/reads/{read_id}/amend")
def amend(
    reader: InProtocol,
    database: ResearchDatabase,
    door: FrontDoor,
    read_id: ReadId,
    filled: Amending,
    project: str,
    name: ProtocolName,
    version: ProtocolVersion,
) -> JsonObject:
    """Put another answer in the place of a locked one; both are kept."""
    reviewing.amend(
        database,
        reader,
        read_id,
        filled.phase,
        filled.judgement(),
        reason=filled.reason,
        now=door.now(),
    )
    opened = reviewing.open_read(database, reader, read_id, now=door.now())
    return {"case": case_to_json(opened, _base(project, name, version))}


@router.get("/reads/{read_id}/series/{series}/frames/{frame}")
def show_frame(
    reader: InProtocol,
    database: ResearchDatabase,
    instances: Instances,
    decoder: FrameDecoder,
    door: FrontDoor,
    read_id: ReadId,
    series: Annotated[int, Path(ge=0, le=9_999)],
    frame: Annotated[int, Path(ge=1, le=ROW_ID_MAX)],
) -> Response:
    """Return a frame of a case that is open, or comes next; numbers as in its `series`."""
    shown = reviewing.find_frame(database, reader, read_id, series, frame - 1, now=door.now())
    values = showing.show_frame(instances, decoder, shown, PRESETS)
    return Response(encode_frame(values), media_type="application/octet-stream")


@router.get("/reads/{read_id}/pictures/{place}.png")
def show_picture(
    reader: InProtocol,
    database: ResearchDatabase,
    pictures: Pictures,
    door: FrontDoor,
    read_id: ReadId,
    place: Annotated[int, Path(ge=0, le=999)],
) -> Response:
    """Return a picture as the model saw it, where the phase shows the model's side."""
    model = reviewing.open_read(database, reader, read_id, now=door.now()).read.model
    if model is None or place >= len(model.pictures):
        raise NotFound("no picture of the model is shown here")
    return picture_response(database, pictures, model.pictures[place].png_sha256)


# -- as JSON -------------------------------------------------------------------------------------


def case_to_json(opened: OpenedCase, base: str) -> JsonObject:
    """Return a case as the page has it: what its phase shows, and nothing else."""
    read, series = opened.read, opened.series
    url = f"{base}/reads/{read.assignment_id}"
    return {
        "read": read.assignment_id,
        "place": read.place,
        # Not why it is read: whether it is a control or a repeat is told to nobody.
        "is_practice": read.kind is ReadKind.PRACTICE,
        "arm": read.arm,
        "phase": read.phase,
        "phases": PHASES[read.arm],
        "question": {"id": read.question_id, "stem": read.stem, "options": read.options},
        "series": _series_to_json(series, url, read.model),
        "start": _start_to_json(series),
        "draft": draft_to_json(read.draft),
        "active_ms": read.active_ms,
        "locked": [_locked_to_json(each) for each in read.locked],
        "model": _model_to_json(read, series, url),
        "others": [
            {
                "label": each.label,
                "choice_text": each.choice_text,
                "cannot_assess": each.cannot_assess,
                "confidence": each.confidence,
                "comment": each.comment,
            }
            for each in read.others
        ],
        "feedback": _feedback(read),
    }


def progress_to_json(progress: ReaderProgress) -> JsonObject:
    """Return how far a reader is."""
    return {
        "done": progress.done,
        "left": progress.left,
        "active_ms": progress.active_ms,
        "due_at": progress.due_at.isoformat() if progress.due_at else None,
    }


def _series_to_json(series: CaseSeries, url: str, model: ModelSide | None) -> list[JsonObject]:
    marks: dict[int, list[int]] = {}
    for picture in model.pictures if model else ():
        if (found := series.find(picture.instance_id, picture.frame_number)) is not None:
            marks.setdefault(found[0], []).append(found[1] + 1)
    return [
        {
            "label": each.label,
            "frames": each.frames,
            "url": f"{url}/series/{place}/frames/{{n}}",
            "marks": sorted(set(marks.get(place, ()))),
        }
        for place, each in enumerate(series.series)
    ]


def _start_to_json(series: CaseSeries) -> JsonObject:
    place, frame = series.start
    return {"series": place, "frame": frame + 1, "is_about": series.is_about_start}


def _model_to_json(read: OpenRead, series: CaseSeries, url: str) -> JsonObject | None:
    if read.model is None:
        return None
    pictures = []
    for place, each in enumerate(read.model.pictures):
        found = series.find(each.instance_id, each.frame_number)
        pictures.append(
            {
                "url": f"{url}/pictures/{place}.png",
                "choice_text": each.choice_text,
                "reasoning": each.reasoning,
                "series": found[0] if found else None,
                "frame": found[1] + 1 if found else None,
            }
        )
    return {
        "choice_text": read.model.choice_text,
        "checkpoint": read.model.checkpoint,
        "is_demo": read.model.is_demo,
        "pictures": pictures,
    }


def _locked_to_json(review: LockedReview) -> JsonObject:
    return {
        "phase": review.phase,
        "version": review.version,
        **review.judgement.to_json(),
        "reason": review.reason,
        "locked_at": review.locked_at.isoformat(),
    }


def _feedback(read: OpenRead) -> JsonObject | None:
    if read.truth is None:
        return None
    choice = read.locked[-1].judgement.choice_text
    return {"truth": read.truth, "is_right": choice == read.truth}


def _base(project: str, name: str, version: int) -> str:
    return f"/api/v1/projects/{quote(project, safe='')}/reading/{name}/{version}"
