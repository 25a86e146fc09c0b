"""Long-running processes, and `up`, which supervises all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from medr1_pacs.admission import known_called_titles, parse_allowed_peers
from medr1_pacs.cli.printing import print_error
from medr1_pacs.cli.wiring import (
    check_dicom_host,
    check_packages,
    describe_door,
    load_checkpoints,
    load_door,
    load_provider,
    load_questionnaire,
    load_questions,
    lock_data_dir,
    make_sealer_if_there_is_a_key,
    make_withdrawer,
    open_decoder,
    open_exports,
    open_pictures,
    open_research,
    open_store,
    open_vault_if_given,
    start_process,
    upgrade_databases,
)
from medr1_pacs.db.accounts import has_administrator
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.sessions import Database
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.processes import (
    ACCEPT_LOOP_MAX_S,
    WITH_HEARTBEAT,
    ProcessKind,
    ProcessName,
    module_command,
    stop_on_signal,
)
from medr1_pacs.projects import load_project_rules
from medr1_pacs.records.received import AssociationRecord
from medr1_pacs.settings import is_loopback
from medr1_pacs.steps.indexing import Indexer

logger = logging.getLogger(__name__)

READING_DECODERS = 2
"""Children that decode the frames which readers look at; one is started when the first is asked
for, the other when two are at once."""

_COMMANDS: dict[ProcessKind, tuple[str, ...]] = {
    ProcessKind.LISTEN: ("listen",),
    ProcessKind.SWEEP: ("sweep",),
    ProcessKind.RENDER: ("worker", "render"),
    ProcessKind.ANSWER: ("worker", "answer"),
    ProcessKind.WEB: ("web",),
}


class WorkerKind(StrEnum):
    RENDER = ProcessKind.RENDER.value
    ANSWER = ProcessKind.ANSWER.value


def up() -> None:
    """Run everything: listener, sweep, both workers and the web pages."""
    from medr1_pacs.steps.beating import SUPERVISOR, read_heartbeats
    from medr1_pacs.steps.claiming import release_killed_claims
    from medr1_pacs.supervisor import Supervisor

    settings = start_process()
    check_dicom_host(settings)
    check_packages()
    load_questions(settings)
    load_checkpoints(settings)
    load_provider(settings)
    lock = lock_data_dir(settings)
    research = upgrade_databases(settings)
    print_error(
        f"{settings.ae_title} on {settings.dicom_host}:{settings.dicom_port}, pages on "
        f"{'https' if settings.web_certificate else 'http'}://{settings.web_host}:"
        f"{settings.web_port}/, data in {settings.data_dir}. Research use only."
    )
    print_error(describe_door(settings))
    with research.read() as session:
        if not has_administrator(session):
            print_error(
                "Nobody can sign in yet: `medr1-pacs accounts add NAME --role administrator` "
                "prints a link that lets the first administrator in."
            )
    if is_loopback(settings.dicom_host):
        print_error(
            "Only this machine can send. To receive from a PACS set MEDR1_DICOM_HOST=0.0.0.0 and "
            "MEDR1_ALLOWED_PEERS=AE_TITLE@ADDRESS."
        )
    own = ProcessName.own(SUPERVISOR)
    supervisor = Supervisor(
        {" ".join(words): module_command("medr1_pacs", *words) for words in _COMMANDS.values()},
        with_heartbeat={" ".join(_COMMANDS[kind]) for kind in WITH_HEARTBEAT},
        read_heartbeats=lambda: read_heartbeats(research, own),
        on_killed=lambda pid: release_killed_claims(research, pid),
    )
    with lock:
        raise typer.Exit(supervisor.run())


def listen() -> None:
    """Receive instances by C-STORE."""
    from medr1_pacs.listener.associations import AssociationLog
    from medr1_pacs.listener.server import Listener
    from medr1_pacs.steps.beating import Heartbeat

    settings = start_process()
    check_dicom_host(settings)
    research = Database(settings.database_url)  # unchecked: it may be away

    def write_rows(associations: Iterable[AssociationRecord]) -> None:
        with research.write() as session:
            record_associations(session, associations, datetime.now(UTC))

    def is_accepting() -> bool:
        return listener.accept_loop_age_s < ACCEPT_LOOP_MAX_S

    peers = parse_allowed_peers(settings.allowed_peers)
    rules = load_project_rules(settings.projects)
    listener = Listener(
        open_store(settings),
        AssociationLog(write_rows),
        ae_title=settings.ae_title,
        host=settings.dicom_host,
        port=settings.dicom_port,
        peers=peers,
        called_ae_titles=known_called_titles(
            peers, settings.ae_title, rules=rules.called_ae_titles
        ),
        max_associations=settings.max_associations,
        association_idle_s=settings.association_idle_s,
        instance_max_bytes=settings.instance_max_mb << 20,
    )
    stop = stop_on_signal()
    with listener, Heartbeat(research, ProcessKind.LISTEN, is_alive=is_accepting):
        stop.wait()


def sweep() -> None:
    """Run the clock: index, complete, plan, ring."""
    from workers.app import make_app
    from workers.run import run_sweep

    settings = start_process()
    registry = load_checkpoints(settings)
    research = open_research(settings)
    with HeaderReader() as headers:
        withdrawer = make_withdrawer(settings, research, headers)
        indexer = Indexer(
            store=withdrawer.store,
            database=research,
            vault=withdrawer.vault,
            site_key=withdrawer.site_key,
            rules=load_project_rules(settings.projects),
            headers=headers,
            opt_out=OptOutList(settings.opt_out_file) if settings.opt_out_file else None,
            sets_withheld_aside=settings.withdrawn_arrivals == "quarantine",
        )
        run_sweep(
            make_app(settings.broker_url, settings.data_dir),
            indexer,
            withdrawer.pictures,
            withdrawer,
            make_sealer_if_there_is_a_key(settings, research),
            load_questionnaire(settings, registry),
            registry.names,
            withdrawer.exports,
            study_quiet_s=settings.study_quiet_s,
        )


def worker(
    kind: Annotated[WorkerKind, typer.Argument(help="render: draw pictures; answer: run a model")],
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Answer only for this checkpoint; repeat for more.")
    ] = None,
) -> None:
    """Run one worker."""
    from workers.app import make_app
    from workers.run import run_answer_worker, run_render_worker

    settings = start_process()
    research = open_research(settings)
    pictures, celery = open_pictures(settings), make_app(settings.broker_url, settings.data_dir)
    if kind is WorkerKind.RENDER:
        with open_decoder(settings) as decoder:
            run_render_worker(celery, research, open_store(settings), pictures, decoder)
        return
    check_packages()
    registry = load_checkpoints(settings)
    names = checkpoint or sorted(registry.names)
    for name in names:
        registry.get(name)
    run_answer_worker(
        celery, research, pictures, registry, checkpoints=names, batch_size=settings.batch_size
    )


def web() -> None:
    """Serve the pages."""
    from medr1_pacs.web.app import make_app
    from medr1_pacs.web.dependencies import SiteRules
    from medr1_pacs.web.server import serve

    settings = start_process()
    door = load_door(settings)
    research = open_research(settings)
    logger.info(describe_door(settings))
    with open_decoder(settings, children=READING_DECODERS) as decoder:
        app = make_app(
            research,
            open_store(settings),
            open_pictures(settings),
            exports=open_exports(settings),
            vault=open_vault_if_given(settings),
            door=door,
            site_rules=SiteRules(settings.study_quiet_s, load_project_rules(settings.projects)),
            options=load_questions(settings).options,
            decoder=decoder,
        )
        serve(
            app,
            settings.web_host,
            settings.web_port,
            certificate=settings.web_certificate,
            key=settings.web_key,
        )
