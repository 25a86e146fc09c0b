"""A site that has something of everything, made by the real steps; only the engine is a fake.

    lung    radiographs, CT and MR, answered; a study that a late instance superseded, one whose
            picture cannot be drawn, one that is still received, an instance that is held
    heart   ultrasound and OCT, answered

Beside the projects: a file in quarantine, a sender that was refused, processes with a heartbeat.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from factories import SITE_KEY, make_engine_identity, make_instance, make_uid, put_instance
from fakes import FakeEngine
from pydicom.dataset import Dataset

from medr1_pacs.asking import Questionnaire
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.accounts import add_account, give_role, set_password
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.project_exports import (
    begin_export,
    note_progress,
    remove_export,
    take_export,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import record_heartbeat
from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.decoding.messages import DecodedFrame
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import ExportRefused, PixelDataUnusable
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.passwords import Passwords
from medr1_pacs.processes import ProcessKind, ProcessName
from medr1_pacs.projects import ProjectRules, load_project_rules
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.project_exports import TakenExport
from medr1_pacs.records.received import AssociationRecord, RefusedContext
from medr1_pacs.records.words import CheckpointName, Modality, Role
from medr1_pacs.records.work import ModelPrompt
from medr1_pacs.reviews.protocols import restore_protocol
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.settings import Settings
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.asking_for_exports import ask_for_export
from medr1_pacs.steps.asking_to_withdraw import Extent, withdraw_study
from medr1_pacs.steps.audit_keys import new_log_name
from medr1_pacs.steps.carrying_out_exports import carry_out_export
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.exporting import TableFormat
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.making_exports import Exporter
from medr1_pacs.steps.naming import declare, name_for_research
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.reading_protocols import end_protocol, start_checked_protocol
from medr1_pacs.steps.rendering import Decoder, render_planned
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.steps.settling import settle_studies
from medr1_pacs.steps.withdrawing import Withdrawer
from medr1_pacs.storage.audit_files import HeadsFile, make_signing_key
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.storage.withdrawn_list import WithdrawnList

PROJECTS_TOML = """\
[[project]]
name = "lung"
title = "Lung nodules 2026"
approval_number = "EK-2026-17"
purpose = "Does the model find the nodules that two readers found?"
dates = "shifted"

[[project]]
name = "heart"
title = "Heart and vessels"
dates = "year"

[[rule]]
project = "lung"
called_ae_title = "LUNG"

[[rule]]
project = "heart"
called_ae_title = "HEART"
"""
PASSWORD = "nine lives of one calm cat"
MEMBERS = {
    "reader": {"lung": Role.READER},
    "researcher": {"lung": Role.RESEARCHER},
    "colleague": {"lung": Role.RESEARCHER},
    "auditor": {"lung": Role.AUDITOR},
    "custodian": {"lung": Role.CUSTODIAN},
    "cardiologist": {"heart": Role.RESEARCHER},
    "administrator": {},
}
"""Account -> its role in each project; the last one keeps the site running."""

ANSWERED = [
    *(("LUNG", Modality.CT, seed) for seed in range(1, 9)),
    *(("LUNG", Modality.XRAY, seed) for seed in range(1, 5)),
    *(("LUNG", Modality.MRI, seed) for seed in range(1, 3)),
    *(("HEART", Modality.ULTRASOUND, seed) for seed in range(1, 4)),
    ("HEART", Modality.OCT, 1),
]
"""(called AE title, modality, seed) of the studies that are answered."""
SUPERSEDED_SEED, UNDRAWABLE_SEED, RECEIVED_SEED = 8, 5, 3
"""A CT of those above, a radiograph and an MR."""
WITHDRAWN_SEED = 9
"""A radiograph that is gone."""

_KNOWN_TO_BE_RIGHT = frozenset(
    {"Computed tomography", "Chest", "Plain radiograph", "Posteroanterior"}
    | {"Magnetic resonance imaging", "Axial", "B-mode grayscale", "OCT cross-section"}
)
_REASONS = (
    "The soft tissue stands out from the air around it, and the borders are sharp. {} fits best.",
    "There is a bright marker beside the midline and nothing else that is asymmetric, so: {}.",
    "The grain and the matrix are typical. The lung markings reach the wall. I decide for {}.",
    "Neither the outline nor the contrast speaks against {}; the alternatives would look darker.",
)


@dataclass(frozen=True, slots=True)
class WholeSite:
    """Such a site in its data folder, whose parts a test may work on beside the service."""

    settings: Settings
    database: Database
    vault: Database
    store: InstanceStore
    pictures: PictureStore
    rules: ProjectRules


@contextmanager
def open_whole_site(data_dir: Path, url: str = "") -> Iterator[WholeSite]:
    """Open what is in a data folder, whose databases are migrated; `url`: of another one."""
    projects = data_dir / "projects.toml"
    projects.write_text(PROJECTS_TOML, "utf-8")
    settings = Settings(
        data_dir=data_dir,
        projects=projects,
        database_url=url,
        audit_heads_file=data_dir / "audit-heads.jsonl",  # in the folder, which tests copy
    )
    storage = data_dir / "storage"
    database, vault = Database(settings.database_url), Database(settings.vault_url)
    try:
        yield WholeSite(
            settings,
            database,
            vault,
            InstanceStore(storage),
            PictureStore(storage),
            load_project_rules(projects),
        )
    finally:
        database.dispose()
        vault.dispose()


def fill(
    site: WholeSite,
    answered: Sequence[tuple[str, Modality, int]] = ANSWERED,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """Let everything happen that the pages can show; `pause` is called now and then."""
    declare(site.database, site.rules)
    with HeaderReader() as headers:
        indexer = Indexer(site.store, site.database, site.vault, SITE_KEY, site.rules, headers)
        _receive_what_is_answered(site, answered)
        undrawable = [
            put_instance(site.store, ds, called_ae_title="LUNG").name
            for ds in _study(Modality.XRAY, UNDRAWABLE_SEED)
        ]
        index_all(indexer)
        pause()
        answer_planned(site, _Decoder(undrawable))
        pause()
        _receive_what_waits(site)
        index_all(indexer)
        _withdraw_somebody(site, indexer)
        pause()
    let_processes_work(site)
    _refuse_something(site)
    _let_people_in(site)


def study_uid(modality: Modality, seed: int) -> str:
    """Return the Study Instance UID of one of the studies."""
    return str(make_study(modality, seed)[0].StudyInstanceUID)


def _study(modality: Modality, seed: int) -> Sequence[Dataset]:
    """Make a study of somebody of some age, examined somewhere at some time."""
    instances = make_study(modality, seed)
    for ds in instances:
        ds.StudyDate = f"{2023 + seed % 4}{seed % 12 + 1:02d}15"
        ds.PatientSex, ds.PatientAge = "FM"[seed % 2], f"{31 + seed * 7:03d}Y"
        ds.DeviceSerialNumber = f"SN-{seed % 3}"
    return instances


def _receive_what_is_answered(
    site: WholeSite, answered: Sequence[tuple[str, Modality, int]]
) -> None:
    for called_ae_title, modality, seed in answered:
        for ds in _study(modality, seed):
            put_instance(site.store, ds, called_ae_title=called_ae_title)


def _receive_what_waits(site: WholeSite) -> None:
    late = _study(Modality.CT, SUPERSEDED_SEED)[0]
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = make_uid()
    put_instance(site.store, late, called_ae_title="LUNG")
    for ds in _study(Modality.MRI, RECEIVED_SEED):
        put_instance(site.store, ds, called_ae_title="LUNG")
    changed = _study(Modality.CT, 1)[0]
    changed.StudyDescription = "Changed by an archive"
    put_instance(site.store, changed, calling_ae_title="PACS", called_ae_title="HEART")
    put_instance(site.store, make_instance(StudyInstanceUID=None), called_ae_title="LUNG")


def _withdraw_somebody(site: WholeSite, indexer: Indexer) -> None:
    """Let a study come and go, and leave a withdrawal that is asked for."""
    gone = _study(Modality.XRAY, WITHDRAWN_SEED)
    for ds in gone:
        put_instance(site.store, ds, called_ae_title="LUNG")
    index_all(indexer)
    while name_for_research(site.database, SITE_KEY):
        pass
    withdrawer = make_withdrawer(site, indexer.headers)
    for project, reason in ((None, "Consent was withdrawn"), ("lung", "Not eligible")):
        withdraw_study(
            site.database,
            str(gone[0].StudyInstanceUID),
            Extent.STUDY,
            project=project,
            reason=reason,
            actor="custodian" if project else "administrator",
        )
        if project is None:
            continue
        withdrawer.carry_out()


def make_withdrawer(site: WholeSite, headers: HeaderReader) -> Withdrawer:
    """Build what carries withdrawals out."""
    listed = WithdrawnList(site.settings.data_dir / "withdrawn.jsonl", SITE_KEY)
    return Withdrawer(
        site.database,
        site.vault,
        site.store,
        site.pictures,
        listed,
        SITE_KEY,
        headers,
        ExportStore(site.settings.storage_path),
    )


def index_all(indexer: Indexer) -> None:
    """Index everything that was received."""
    while indexer.index().total:
        pass


def answer_planned(site: WholeSite, decoder: Decoder) -> None:
    """Let what was received be complete, asked about, drawn and answered."""
    database = site.database
    complete_studies(database, quiet_s=0)
    questionnaire = Questionnaire(
        load_bank(PACKAGED_BANK),
        load_synonyms(),
        lambda requested: requested,
        is_demo=False,
        think=True,
    )
    while plan_study(database, questionnaire):
        pass
    while name_for_research(database, SITE_KEY):
        pass
    while render_planned(database, site.store, site.pictures, decoder, owner="renderer"):
        pass
    for checkpoint in CheckpointName:
        identity = make_engine_identity(
            checkpoint=checkpoint, checkpoint_revision="a" * 40, is_demo=False
        )
        engine = FakeEngine(_say, identity=identity)
        while answer_batch(database, site.pictures, engine, owner="answerer"):
            pass
    settle_studies(database, list(CheckpointName))


class _Decoder:
    """The real decoding without its guarded child; what is undrawable it refuses."""

    def __init__(self, undrawable: Sequence[str]) -> None:
        self._undrawable = undrawable

    def decode(self, path: Path, frame_index: int) -> DecodedFrame:
        if path.name in self._undrawable:
            raise PixelDataUnusable("frame 1: the JPEG 2000 codestream ends too early")
        return decode_frame(path, frame_index, 1 << 28)


def _say(prompt: ModelPrompt) -> str:
    """Answer as a model does: mostly right where the header knows, and now and then without a tag.

    The same prompt over the same picture has always the same answer.
    """
    chance = hashlib.sha256(prompt.text.encode() + prompt.png).digest()
    options = dict(re.findall(r"\b([A-F])\)([^,.]+?)(?=,| First output)", prompt.text))
    letters = sorted(options)
    right = [letter for letter in letters if options[letter] in _KNOWN_TO_BE_RIGHT]
    letter = right[0] if right and chance[0] < 170 else letters[chance[1] % len(letters)]
    reason = _REASONS[chance[2] % len(_REASONS)].format(options[letter].lower())
    if chance[3] < 20:
        return f"<think>{reason}</think>It can be either of the two."
    return f"<think>{reason}</think><answer>{letter}</answer>"


def let_processes_work(site: WholeSite) -> None:
    """Write the heartbeats of processes that live, and of one that does not."""
    now = datetime.now(UTC)
    started = now - timedelta(hours=7)
    with site.database.write() as session:
        for pid, kind in enumerate((ProcessKind.LISTEN, ProcessKind.SWEEP, ProcessKind.RENDER)):
            name = str(ProcessName(kind, "pacs1", 100 + pid, 40))
            record_heartbeat(session, WorkerListing(name, kind, (), started, now))
        record_heartbeat(
            session,
            WorkerListing(
                str(ProcessName(ProcessKind.ANSWER, "gpu1", 77, 30)),
                ProcessKind.ANSWER,
                ("ct", "xray"),
                started,
                now - timedelta(minutes=4),
                tokens_per_second=1_180.0,
                trouble="the checkpoint mri cannot be loaded: its weights are not pulled",
            ),
        )


def _refuse_something(site: WholeSite) -> None:
    now = datetime.now(UTC)
    refused = AssociationRecord(
        "a" * 16,
        "CT1",
        "LUNG",
        "10.0.0.7",
        now - timedelta(hours=7),
        closed_at=now - timedelta(hours=1),
        ending="released",
        refused_contexts=(
            RefusedContext("1.2.840.10008.3.1.2.3.3", ("1.2.840.10008.1.2.1",)),
            RefusedContext("1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2.4.100",)),
        ),
        times=3,
    )
    with site.database.write() as session:
        record_associations(session, [refused], now)


def _let_people_in(site: WholeSite) -> None:
    now = datetime.now(UTC)
    password_hash = Passwords().hash(PASSWORD)
    with site.database.write() as session:
        for name, roles in MEMBERS.items():
            account_id = add_account(session, name, actor="test", now=now)
            set_password(session, account_id, password_hash, actor="test", now=now)
            given = roles or {None: Role.ADMINISTRATOR}
            for project, role in given.items():
                give_role(session, name, role, project, rules=site.rules, actor="test", now=now)


def have_exports(site: WholeSite) -> None:
    """Let there be an export of each kind: finished, given up, removed, in work and waiting."""
    settings, database = site.settings, site.database
    settings.site_key_path.write_bytes(SITE_KEY)
    key = make_signing_key(settings.audit_key_path, SigningKey.generate(new_log_name()))
    sealer = Sealer(database, (key,), HeadsFile(settings.audit_heads_path))
    exporter = Exporter(database, site.pictures, sealer, SITE_KEY)
    exports = ExportStore(settings.storage_path)

    def ask(
        filters: AnswerFilters, actor: str, *, as_of: int | None = None, everything: bool = False
    ) -> int:
        return ask_for_export(
            database,
            "lung",
            filters,
            is_everything=everything,
            formats=(TableFormat.CSV, TableFormat.PARQUET),
            as_of=as_of,
            has_pictures=not everything,
            actor=actor,
        )

    def take() -> TakenExport:
        with database.write() as session:
            taken = take_export(session, datetime.now(UTC), is_gone=lambda _: False)
        assert taken is not None
        return taken

    finished = AnswerFilters(modality=("CT", "X-Ray"), truth=("wrong",))
    for filters, as_of in ((finished, None), (AnswerFilters(), 1)):
        ask(filters, "researcher", as_of=as_of)
        with suppress(ExportRefused):
            carry_out_export(exporter, exports, take().export_id, owner="test")
    now = datetime.now(UTC)
    removed = ask(AnswerFilters(words="marker"), "colleague")
    with database.write() as session:
        remove_export(session, removed, actor="custodian", now=now)
    in_work = ask(AnswerFilters(), "auditor")
    taken = take()
    with database.write() as session:
        begin_export(session, in_work, now, owner=str(ProcessName("export", "pacs1", 200, 50)))
        note_progress(session, taken, {"answers": 60}, now, expected_answers=116)
    ask(AnswerFilters(), "researcher", everything=True)


def have_protocols(site: WholeSite) -> None:
    """Let there be a reading protocol that somebody reads by, and one that was ended early."""

    def begin(name: str, title: str, **fields: object) -> None:
        values = {"name": name, "title": title, "readers": ["reader"], "minutes_a_read": 3}
        protocol = restore_protocol(values | fields)
        start_checked_protocol(site.database, "lung", protocol, actor="researcher")

    begin("projection-pilot", "Pilot: projections", questions=["xr-chest-projection"], arm="blind")
    end_protocol(
        site.database,
        "lung",
        "projection-pilot",
        1,
        reason="The question was reworded",
        actor="colleague",
    )
    begin(
        "chest-findings",
        "Chest radiographs, before and after the model",
        questions=["xr-chest-finding", "xr-technique"],
        arm="sequential",
        practice=1,
        repeats=1,
        washout_days=14,
    )
