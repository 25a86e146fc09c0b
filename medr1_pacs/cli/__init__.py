"""`medr1-pacs ...`: wiring only. Data goes to stdout, logs and progress to stderr.

processes       up, listen, sweep, worker, web
data            ingest, answers, retry, replay
studies         studies: where each one is; call one complete
withdrawing     studies: withdraw, certificate, due
instances       instances: held ones, where each one is
quarantine      quarantine: what cannot be used
query           query, accuracy, snapshots: answers as research sees them
exporting       export: a project in a folder that can be checked
auditing        audit: the log, its heads and its key
references      reference: truths to hold answers against
protocols       protocols: which cases are read by whom
accounts        accounts: who may sign in, and what each may do
administration  db, checkpoints, questions, doctor, demo
wiring          settings -> the collaborators that commands hand on
"""

from __future__ import annotations

import os
import sys

import typer

from medr1_pacs.cli import (
    accounts,
    administration,
    auditing,
    data,
    exporting,
    instances,
    processes,
    protocols,
    quarantine,
    query,
    references,
    studies,
    withdrawing,
)
from medr1_pacs.cli.printing import print_error
from medr1_pacs.errors import Medr1Error, QuestionInvalid, SettingInvalid
from medr1_pacs.installation import check_workers
from medr1_pacs.storage.permissions import PRIVATE_UMASK

app = typer.Typer(
    name="medr1-pacs",
    help="Ask Med-R1 questions about the studies a PACS sends. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    processes.up,
    processes.listen,
    processes.sweep,
    processes.worker,
    processes.web,
    data.ingest,
    data.answers,
    data.retry,
    data.replay,
    query.query,
    query.accuracy,
    exporting.export,
    administration.doctor,
    administration.demo,
):
    app.command()(command)
app.command("carry-out-export", hidden=True)(exporting.carry_out_export)
app.add_typer(query.snapshots_app, name="snapshots")
app.add_typer(auditing.audit_app, name="audit")
studies.studies_app.command("withdraw")(withdrawing.withdraw)
studies.studies_app.command("certificate")(withdrawing.certificate)
studies.studies_app.command("due")(withdrawing.due)
app.add_typer(references.reference_app, name="reference")
app.add_typer(protocols.protocols_app, name="protocols")
app.add_typer(studies.studies_app, name="studies")
app.add_typer(accounts.accounts_app, name="accounts")
app.add_typer(instances.instances_app, name="instances")
app.add_typer(quarantine.quarantine_app, name="quarantine")
app.add_typer(administration.db_app, name="db")
app.add_typer(administration.checkpoints_app, name="checkpoints")
app.add_typer(administration.questions_app, name="questions")


def main() -> None:
    """Run a command; an error of ours is one sentence and exit 1, a wrong setting exit 2."""
    os.umask(PRIVATE_UMASK)  # until the settings say that the group may read, too
    try:
        check_workers()  # before a command imports them
        app()
    except (SettingInvalid, QuestionInvalid) as error:
        print_error(f"medr1-pacs: {error}")
        sys.exit(2)
    except Medr1Error as error:
        print_error(f"medr1-pacs: {error}")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
