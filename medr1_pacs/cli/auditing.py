"""The audit log: check it, prove it, cosign it, and look after its key."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from medr1_pacs.audit.findings import printable
from medr1_pacs.audit.notes import COSIGNATURE, VerifierKey
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.cli.printing import print_error
from medr1_pacs.cli.wiring import make_sealer, open_research, read_settings
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.errors import SourceUnreadable
from medr1_pacs.settings import Settings
from medr1_pacs.steps.audit_keys import restart_log, rotate_key
from medr1_pacs.steps.proving import ConsistencyProof, prove, witness
from medr1_pacs.steps.verifying import KeptHead, LogReport, verify_database
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key, make_signing_key
from medr1_pacs.verifier.export_check import ExportReport, check_export
from medr1_pacs.verifier.program import keep_head, read_head, read_keys

audit_app = typer.Typer(help="The audit log and what it proves.", no_args_is_help=True)

Key = Annotated[
    Path | None, typer.Option("--key", help="File with the log's key, which you got from elsewhere")
]
ExpectedHeads = Annotated[
    list[Path] | None,
    typer.Option("--expect-head", help="File with a head that you kept from earlier; repeat"),
]


@audit_app.command("verify")
def audit_verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="An export, of any installation")
    ] = None,
    database: Annotated[
        bool, typer.Option("--database", help="This installation's log and records")
    ] = False,
    key: Key = None,
    expect_head: ExpectedHeads = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save-head", help="File to write the head to, once the export is verified: keep it"
        ),
    ] = None,
) -> None:
    """Check an export, or the database; exit 1 unless a trusted key signed all of it.

    The database is checked against the heads that lie outside of it, too, and without --key by
    this installation's own key.
    """
    if database is (folder is not None):
        raise typer.BadParameter("name the folder of an export, or --database")
    if database and save is not None:
        raise typer.BadParameter("--save-head is for an export; `audit head` prints the log's own")
    keys = _read_keys(key) if key else []
    heads = [(str(path), read_kept_head(path)) for path in expect_head or []]
    if folder is not None:
        report = check_export(folder, keys, heads)
        *lines, verdict = report.lines()
        for line in lines:
            print(line)
        if save is not None:
            print(printable(_keep_head(report, folder, save)))
        print(verdict)
        raise typer.Exit(0 if report.is_sound else 1)
    settings = read_settings()
    research = open_research(settings)
    if not keys:
        keys = [load_signing_key(settings.audit_key_path).verifier]
    kept = [KeptHead(where, note) for where, note in heads]
    kept += _outside(settings)
    checked = verify_database(research, keys, kept)
    if not kept:
        checked.add(
            str(settings.audit_heads_path),
            "no head lies outside of the database, so that nothing shows whether the log was cut "
            "off: restore the file, or name it in MEDR1_AUDIT_HEADS_FILE, or a head that somebody "
            "kept by --expect-head",
        )
    raise typer.Exit(_print_log(checked))


def _keep_head(report: ExportReport, folder: Path, path: Path) -> str:
    try:
        return keep_head(report, folder, path)
    except ValueError as error:
        raise SourceUnreadable(str(error)) from error


def _outside(settings: Settings) -> list[KeptHead]:
    """Return the heads outside of the database, of the log that goes on now."""
    heads = HeadsFile(settings.audit_heads_path)
    found = [
        KeptHead(f"{heads.path} line {number}", head.note)
        for number, head in enumerate(heads.iterate(), 1)
    ]
    origin = found[-1].note.split("\n")[0] if found else ""
    return [head for head in found if head.note.startswith(f"{origin}\n")]


def _print_log(report: LogReport) -> int:
    print(f"{report.events} events in the log, {report.unsealed} not in it yet")
    print(f"{report.records} records compared with their events")
    if report.head is not None:
        behind = report.events - report.head.size
        print(f"the last signed head that agrees: {report.head.size} events, {behind} since")
    for line in report.lines_of_findings():
        print(printable(line))
    if not report.is_signed:
        print("NOT VERIFIED: no head is signed by the key")
    else:
        print("VERIFIED" if report.is_sound else "NOT VERIFIED")
    return 0 if report.is_sound else 1


@audit_app.command("head")
def audit_head() -> None:
    """Seal all that happened, and print the signed head of the log: keep it elsewhere."""
    settings = read_settings()
    print(make_sealer(settings, open_research(settings)).current_head(), end="")


@audit_app.command("key")
def audit_key() -> None:
    """Print the key that heads are checked with: hand it on by another way than the exports."""
    print(load_signing_key(read_settings().audit_key_path).verifier)


@audit_app.command("proof")
def audit_proof(
    since_head: Annotated[Path, typer.Option("--since-head", help="File with a head you kept")],
) -> None:
    """Print the proof that the log goes on from a head, as a witness needs it."""
    settings = read_settings()
    research = open_research(settings)
    head = make_sealer(settings, research).current_head()
    print(prove(research, read_kept_head(since_head), head).to_json(), end="")


@audit_app.command("witness")
def audit_witness(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="A head, or a proof as `audit proof` prints it")
    ],
    name: Annotated[str, typer.Option(help="What the witness is called: lab.hospital.org")],
    witness_key: Annotated[
        Path, typer.Option(help="File of the witness's own key; made when there is none")
    ],
    log_key: Annotated[Path, typer.Option(help="File with the key of the log")],
    state: Annotated[Path, typer.Option(help="File that keeps the last head that was cosigned")],
) -> None:
    """Cosign a head of another installation's log, after checking that it goes on from the last.

    Needs no database, and prints the cosigned head. The key is printed on stderr when it is new.
    """
    text = _read_text(source)
    proof = ConsistencyProof.parse(text) if text.lstrip().startswith("{") else None
    is_new = not witness_key.exists()
    key = make_signing_key(witness_key, SigningKey.generate(name, COSIGNATURE))
    if is_new:
        print_error(f"the key of the witness, to hand on: {key.verifier}")
    cosigned = witness(
        proof,
        proof.head if proof else text,
        key=key,
        log_keys=_read_keys(log_key),
        state=state,
        timestamp=int(time.time()),
    )
    print(cosigned, end="")


@audit_app.command("rotate-key")
def audit_rotate_key() -> None:
    """Let a new key sign the log from now on; the old one signs that it does."""
    settings = read_settings()
    research = open_research(settings)
    heads = HeadsFile(settings.audit_heads_path)
    make_sealer(settings, research).current_head()
    new = rotate_key(research, settings.audit_key_path, heads, actor=OPERATOR)
    print(new.verifier)
    print_error("the log is signed with this key from now on; nothing need be restarted")


@audit_app.command("restart")
def audit_restart(
    reason: Annotated[str, typer.Option(help="Why the log does not go on, for its auditors")],
) -> None:
    """Begin another log, after a restored backup that lacks events which were signed.

    Whoever kept a head of the earlier log sees that it ended. Look first:
    `medr1-pacs audit verify --database`.
    """
    settings = read_settings()
    research = open_research(settings)
    heads = HeadsFile(settings.audit_heads_path)
    key = restart_log(research, settings.audit_key_path, heads, reason=reason, actor=OPERATOR)
    print(key.verifier)
    print_error("hand this key on; restart `medr1-pacs up` (or the sweep)")


def _read_keys(path: Path) -> list[VerifierKey]:
    try:
        return read_keys(path)
    except ValueError as error:
        raise SourceUnreadable(str(error)) from error


def read_kept_head(path: Path) -> str:
    """Return the head that somebody kept in a file; raises `SourceUnreadable`."""
    try:
        return read_head(path)
    except ValueError as error:
        raise SourceUnreadable(str(error)) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{path}: {error}") from error
