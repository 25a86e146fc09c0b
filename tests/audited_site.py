"""A small site whose log was signed now and then while everything happened, copied and exported.

    whole site -> truths imported, and corrected -> cases read -> roles removed, accounts closed
               -> a withdrawal

Heads are signed in between. Of each moment there is a copy of the database, as of a backup.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factories import SITE_KEY
from readers import DeskReader, make_protocol, read_at_a_desk, start
from sqlalchemy import select
from whole_site import WholeSite, fill, make_withdrawer, open_whole_site, study_uid

from medr1_pacs.audit.notes import COSIGNATURE, SignedNote, TreeHead, format_note, parse_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.accounts import (
    add_account,
    close_account,
    give_role,
    remove_role,
    reopen_account,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Instance
from medr1_pacs.filters import AnswerFilters, Demo, Versions
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.records.words import Modality, Role
from medr1_pacs.settings import Settings
from medr1_pacs.steps.asking_to_withdraw import Extent, withdraw_study
from medr1_pacs.steps.exporting import ExportRequest, TableFormat
from medr1_pacs.steps.importing_references import BroughtFile, import_references
from medr1_pacs.steps.making_exports import Exporter, make_export
from medr1_pacs.steps.naming import name_for_research
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.verifying import KeptHead
from medr1_pacs.storage.audit_files import HeadsFile

LOG = "medr1-pacs/00000001"
PROJECT = "lung"
_ANSWERED = [
    ("LUNG", Modality.CT, 1),
    ("LUNG", Modality.CT, 8),
    ("LUNG", Modality.XRAY, 1),
    ("HEART", Modality.ULTRASOUND, 1),
]
_WITHDRAWN = (Modality.XRAY, 1)
EVERYTHING = AnswerFilters(versions=Versions.ALL, demo=Demo.YES, kind=())
REQUESTS = {
    "csv": ExportRequest(project=PROJECT, filters=AnswerFilters()),
    "jsonl": ExportRequest(
        project=PROJECT,
        filters=EVERYTHING,
        formats=(TableFormat.JSONL,),
        shows_times=True,
        shows_reasons=True,
    ),
}
"""Folder -> what is exported there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSite:
    """What the site left, none of which changes any more."""

    folder: Path
    key: SigningKey
    heads: tuple[KeptHead, ...]
    """As the file outside the database has them, the first first."""
    snapshots: Mapping[int, Path]
    """Size of the head -> the database at that moment; the last one is the database itself."""
    settings: Settings
    exports: Mapping[str, Path]

    @property
    def database(self) -> Path:
        return self.snapshots[max(self.snapshots)]

    def sealer(self, database: Database, heads_path: Path) -> Sealer:
        """Build what goes on with the log of a copy, with a file of heads of its own."""
        shutil.copyfile(self.folder / "heads.jsonl", heads_path)
        return Sealer(database, (self.key,), HeadsFile(heads_path))


class _Moments:
    """Signs heads, and keeps copies of a SQLite database as it was at each."""

    def __init__(self, site: WholeSite, folder: Path, key: SigningKey) -> None:
        self._site = site
        self._folder = folder
        self.file = HeadsFile(folder / "heads.jsonl")
        self.sealer = Sealer(site.database, (key,), self.file)
        self.snapshots: dict[int, Path] = {}

    def pause(self) -> None:
        while name_for_research(self._site.database, SITE_KEY):
            pass
        size = size_of(self.sealer.current_head())
        self.snapshots[size] = self._folder / f"snapshot-{size}.sqlite"
        if self._site.database.is_sqlite:
            self._site.database.empty_log()
            source = self._site.database.url.removeprefix("sqlite:///")
            shutil.copyfile(source, self.snapshots[size])


def size_of(note: str) -> int:
    """Return how many events a head is of."""
    return TreeHead.parse(parse_note(note).text).size


@contextmanager
def open_audited_site(folder: Path, data_dir: Path, url: str = "") -> Iterator[AuditedSite]:
    """Let everything happen in a site whose databases are migrated; what it left is in the folder.

    Parameters
    ----------
    url
        Of another research database than the one in the data folder.
    """
    key = SigningKey.generate(LOG)
    with open_whole_site(data_dir, url) as site:
        moments = _Moments(site, folder, key)
        fill(site, _ANSWERED, moments.pause)
        moments.pause()
        for truths in (("Anteroposterior", "Abdomen"), ("Lateral", "Pelvis")):
            _bring_truths(site, *truths)
            moments.pause()
        _read_cases(site)
        moments.pause()
        _change_accounts(site)
        moments.pause()
        _withdraw(site)
        moments.pause()
        exports = {}
        for name, request in REQUESTS.items():
            exports[name] = folder / name
            since = next(moments.file.iterate()).note
            exporter = Exporter(site.database, site.pictures, moments.sealer, SITE_KEY)
            make_export(exporter, exports[name], request, actor="researcher", since_head=since)
            _cosign(exports[name], moments.sealer.current_head())
        moments.pause()
    yield AuditedSite(
        folder=folder,
        key=key,
        heads=tuple(
            KeptHead(f"line {number} of the heads", head.note)
            for number, head in enumerate(moments.file.iterate(), 1)
        ),
        snapshots=moments.snapshots,
        settings=site.settings,
        exports=exports,
    )


def _bring_truths(site: WholeSite, projection: str, region: str) -> None:
    """Say of every picture what is right, or that it is something else."""
    with site.database.read() as session:
        uids = session.scalars(select(Instance.sop_instance_uid).order_by(Instance.id)).all()
    lines = [f"{uid},{projection},xr-chest-projection,single" for uid in uids]
    lines += [f"{uid},{region},ct-region,consensus" for uid in uids]
    header = "sop_instance_uid,truth,question_id,certainty"
    file = BroughtFile(data="\n".join([header, *lines]).encode(), project=PROJECT)
    report = import_references(
        site.database, site.vault, file, {}, actor="researcher", leave_out_faulty=True
    )
    assert report.new + report.changed


def _read_cases(site: WholeSite) -> None:
    """Let two readers read by a protocol that is not over in the end."""
    protocol = make_protocol(
        questions=["ct-contrast", "ct-region", "xr-chest-projection", "xr-technique"],
        readers=["reader", "second-reader"],
        arm="sequential",
    )
    now = datetime.now(UTC)
    with site.database.write() as session:
        add_account(session, "second-reader", actor="administrator", now=now)
        give_role(
            session, "second-reader", Role.READER, PROJECT, rules=site.rules,
            actor="administrator", now=now,
        )  # fmt: skip
    protocol_id = start(site.database, protocol, PROJECT)
    read_at_a_desk(DeskReader(site.database, protocol_id, "reader"), 3)
    DeskReader(site.database, protocol_id, "second-reader").open()


def _change_accounts(site: WholeSite) -> None:
    now = datetime.now(UTC)
    with site.database.write() as session:
        remove_role(session, "colleague", Role.RESEARCHER, PROJECT, actor="administrator")
        close_account(session, "colleague", actor="administrator", now=now)
        close_account(session, "reader", actor="administrator", now=now)
        reopen_account(session, "reader", actor="administrator")


def _withdraw(site: WholeSite) -> None:
    """Let a study go that was answered and whose truths are known."""
    withdraw_study(
        site.database, study_uid(*_WITHDRAWN), Extent.STUDY, project=None,
        reason="Consent was withdrawn", actor="administrator",
    )  # fmt: skip
    with HeaderReader() as headers:
        make_withdrawer(site, headers).carry_out()


def _cosign(folder: Path, head: str) -> None:
    note = parse_note(head)
    witness = SigningKey.generate("witness", COSIGNATURE)
    signatures = (*note.signatures, witness.sign(note.text, 1_700_000_000))
    (folder / "cosignatures.txt").write_text(
        format_note(SignedNote(note.text, signatures)), "utf-8"
    )
