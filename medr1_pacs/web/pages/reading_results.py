"""What a reading protocol came to: as figures, as tables, and to download."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from medr1_pacs.db.reading import record_results
from medr1_pacs.errors import ProtocolNotFound
from medr1_pacs.exports import imrmc
from medr1_pacs.records.judged import JudgedProtocol
from medr1_pacs.records.reading import How
from medr1_pacs.records.words import Role
from medr1_pacs.reviews.multi_reader import ALL_PHASES, build_imrmc_study, find_refusal
from medr1_pacs.reviews.phases import is_over
from medr1_pacs.reviews.results import QuestionResults
from medr1_pacs.statistics.accuracy import FEW_PATIENTS
from medr1_pacs.steps.reading_results import (
    TABLES,
    find_protocol,
    find_results,
    is_in_protocol,
    load_protocol,
)
from medr1_pacs.web.dependencies import ProtocolName, ProtocolVersion, ResearchDatabase
from medr1_pacs.web.downloads import Format, download, download_lines
from medr1_pacs.web.pages import reading_figures as shown
from medr1_pacs.web.pages.reading_plots import (
    ChangePlot,
    RocPlot,
    WhiskerPlot,
    plot_changes,
    plot_curves,
    plot_shares,
)
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import NotFound, ProjectAccess, ResultsReader

router = APIRouter(prefix="/projects/{project}/reading/{name}/{version}")

_IMRMC = re.compile(
    r"imrmc-(?P<question>[a-z][a-z0-9-]*)-v(?P<version>[1-9][0-9]{0,8})"
    rf"-(?P<phase>blind|assisted|{ALL_PHASES})\.imrmc"
)


@dataclass(frozen=True, slots=True)
class ShownProtocol:
    """A protocol whose results the caller may see."""

    access: ProjectAccess
    protocol: JudgedProtocol


def _shown_protocol(
    access: ResultsReader, database: ResearchDatabase, name: ProtocolName, version: ProtocolVersion
) -> ShownProtocol:
    """Return a protocol: to researchers and auditors any of the project, to a mere reader one that
    they were in and that is over; for them there is no other."""
    missing = NotFound(f"the project {access.project} has no reading protocol {name} {version}")
    try:
        protocol_id = find_protocol(database, access.project, name, version)
    except ProtocolNotFound as error:
        raise missing from error
    is_research = access.caller.has_role(access.project, Role.RESEARCHER, Role.AUDITOR)
    if not is_research and not is_in_protocol(database, protocol_id, access.caller.account_id):
        raise missing
    protocol = load_protocol(database, protocol_id)
    if not is_research and not is_over(protocol.state):
        raise missing
    return ShownProtocol(access, protocol)


Results = Annotated[ShownProtocol, Depends(_shown_protocol)]


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """What the page shows of a question."""

    results: QuestionResults
    accuracy: WhiskerPlot
    curves: RocPlot | None
    changes: list[tuple[str, ChangePlot]]
    """(comparison, figure)."""
    rightness: shown.ShownTable
    agreement: shown.ShownTable
    pairs: shown.ShownTable
    changed: shown.ShownTable
    times: shown.ShownTable
    controls: shown.ShownTable
    imrmc: list[str]
    """Phases that there is a file of."""
    imrmc_refusals: list[tuple[str, str]]
    """(phases without a file, why there is none)."""


@router.get("/results", response_class=HTMLResponse)
def show_results(request: Request, results: Results, database: ResearchDatabase) -> Response:
    """Show what a protocol came to, or comes to so far."""
    protocol, access = results.protocol, results.access
    record_results(database, protocol.protocol_id, How.PAGE, actor=access.caller.account)
    context = {
        "access": access,
        "protocol": protocol,
        "is_over": is_over(protocol.state),
        "questions": [_question(protocol, each) for each in find_results(protocol).questions],
        "files": list(TABLES),
        "say_figure": shown.say_figure,
        "few_patients": FEW_PATIENTS,
    }
    return templates.TemplateResponse(request, "reading_results.html", context)


@router.get("/results/{file}")
def download_results(
    results: Results, database: ResearchDatabase, file: Annotated[str, Path(max_length=128)]
) -> StreamingResponse:
    """Stream a table of the results as CSV, or the scores of a question as iMRMC takes them."""
    protocol, actor = results.protocol, results.access.caller.account
    named = f"{protocol.name}-{protocol.version}-{file.rpartition('.')[0]}"
    if file in TABLES:
        record_results(database, protocol.protocol_id, How.CSV, file=file, actor=actor)
        table = TABLES[file](protocol)
        return download(table.rows, table.columns, Format.CSV, named)
    match = _IMRMC.fullmatch(file)
    if match is None:
        raise NotFound(f"there is no file {file!r} of results")
    study = build_imrmc_study(protocol, match["question"], int(match["version"]), match["phase"])
    record_results(database, protocol.protocol_id, How.IMRMC, file=file, actor=actor)
    return download_lines(imrmc.imrmc_lines(study), imrmc.MEDIA_TYPE, f"{named}.imrmc")


def _question(protocol: JudgedProtocol, results: QuestionResults) -> ShownQuestion:
    comparisons = list(dict.fromkeys(each.condition for each in results.changes))
    drawn = [
        (name, plot_changes([each for each in results.changes if each.condition == name]))
        for name in comparisons
    ]
    has_file, refusals = _offer_scores(protocol, results)
    return ShownQuestion(
        results=results,
        accuracy=plot_shares(shown.group_accuracies(results)),
        curves=plot_curves(results.curves),
        changes=[(name, plot) for name, plot in drawn if plot is not None],
        rightness=shown.tabulate_rightness(results),
        agreement=shown.tabulate_agreement(results),
        pairs=shown.tabulate_pairs(results),
        changed=shown.tabulate_changes(results),
        times=shown.tabulate_times(results),
        controls=shown.tabulate_controls(results),
        imrmc=has_file,
        imrmc_refusals=refusals,
    )


def _offer_scores(
    protocol: JudgedProtocol, results: QuestionResults
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the phases that there is a file of, and (other phases, why there is none)."""
    phases = [phase for phase in ("blind", "assisted") if _has_phase(results, phase)]
    has_file: list[str] = []
    refused: dict[str, list[str]] = {}
    for phase in [*phases, *([ALL_PHASES] if len(phases) > 1 else [])]:
        why = find_refusal(protocol, results.question_id, results.question_version, phase)
        if why is None:
            has_file.append(phase)
        else:
            refused.setdefault(why, []).append(phase)
    return has_file, [(", ".join(phases), why) for why, phases in refused.items()]


def _has_phase(results: QuestionResults, phase: str) -> bool:
    return any(condition.phase == phase for condition in results.conditions)
