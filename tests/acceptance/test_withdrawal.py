"""A patient who withdrew, searched for byte by byte; and a backup that is older than that.

What the search does not reach is named in docs/withdrawing.md: write-ahead logs, backups, disks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backups import OneMachine, Site, find_postgresql
from factories import make_uid
from servers import find_program
from service import Service
from sqlalchemy import select, update

from medr1_pacs.db.tables import Answer, Generation, Rendering
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.words import Modality

GONE = {
    "PatientName": "Zaubernuss^Quirina",
    "PatientID": "PID-Xq77801",
    "AccessionNumber": "ACC-Xq77804",
    "PatientBirthDate": "19210307",
}
STAYS = {
    "PatientName": "Bleibtreu^Berta",
    "PatientID": "PID-Xq99901",
    "AccessionNumber": "ACC-Xq99904",
    "PatientBirthDate": "19330919",
}
TEXT = "Xqzwortwolkenbruch"
"""What the model is made to say of the patient who withdraws."""


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest) -> OneMachine | Site:
    if request.param == "sqlite":
        return OneMachine(request.getfixturevalue("make_service")())
    service = request.getfixturevalue("site_service")
    return Site(service, request.getfixturevalue("postgresql_server"))


def make_studies(identity: dict[str, str], number: int) -> list[Any]:
    """Make two studies of a patient: an X-ray and a fundus."""
    datasets = []
    for modality in (Modality.XRAY, Modality.FUNDUS):
        study = make_uid()
        for ds in make_study(modality, number):
            ds.StudyInstanceUID = study
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = make_uid()
            for keyword, value in identity.items():
                setattr(ds, keyword, value)
            datasets.append(ds)
    return datasets


def say_something_of(service: Service, study_instance_uids: set[str]) -> set[str]:
    """Let the model have said a word that stands nowhere else; returns the pictures."""
    ids = [
        row["answer_id"]
        for row in service.answers()
        if row["study_instance_uid"] in study_instance_uids
    ]
    database = service.database()
    with database.write() as session:
        generations = select(Answer.generation_id).where(Answer.id.in_(ids))
        session.execute(update(Answer).where(Answer.id.in_(ids)).values(reasoning=TEXT))
        session.execute(
            update(Generation)
            .where(Generation.id.in_(generations))
            .values(raw_output=f"<think>{TEXT}</think>", chat_text=TEXT)
        )
        pictures = set(
            session.scalars(select(Generation.png_sha256).where(Generation.id.in_(generations)))
        )
    database.dispose()
    assert ids
    return pictures


def spellings(canaries: set[str]) -> Iterator[bytes]:
    """Yield what is searched for: as it is, and as an index of words has it."""
    for text in canaries:
        yield text.encode()
        yield text.lower().encode()
        yield text.encode("utf-16-le")


def search(folders: list[Path], canaries: set[str]) -> dict[str, set[str]]:
    """Return file -> what of this is in its name or its bytes."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for each in spellings(canaries):
            if each in content or each in path.name.encode():
                found.setdefault(path.name, set()).add(each.decode("latin-1"))
    return found


def lay_open(site: OneMachine | Site, folder: Path) -> list[Path]:
    """Bring databases into the form that docs/withdrawing.md names; returns where to search."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if isinstance(site, OneMachine):
        for name in ("medr1.sqlite", "vault.sqlite"):
            sql = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE);"
            subprocess.run(
                [find_program("sqlite3"), site.service.data_dir / name, sql],
                check=True,
                capture_output=True,
                timeout=60,
            )
    else:
        dump = folder / "both.sql"
        subprocess.run(
            [find_postgresql("pg_dump"), *site._whom, f"--file={dump}", site._name],
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert b"patient_identity" in dump.read_bytes(), "the vault is in the dump"
    return [site.service.data_dir, folder]


def withdraw(service: Service) -> dict[str, Any]:
    result = service.run(
        "studies", "withdraw", "--patient", GONE["PatientID"],
        "--reason", "consent was withdrawn", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    certificate: dict[str, Any] = json.loads(result.stdout)
    return certificate


def test_nothing_of_a_withdrawn_patient_is_left_and_no_backup_brings_anything_back(
    site, copy, tmp_path
):
    service = site.service
    service.start()
    gone, stays = make_studies(GONE, 1), make_studies(STAYS, 2)
    service.send([*gone, *stays])
    service.wait_for_settled(4)
    uids = {str(ds.StudyInstanceUID) for ds in gone}
    own = say_something_of(service, uids)
    database = service.database()
    with database.read() as session:
        drawn = session.execute(select(Rendering.png_sha256, Rendering.id)).all()
    database.dispose()
    others = {row.png_sha256 for row in drawn} - own
    canaries = {*GONE.values(), TEXT, *uids, *(str(ds.SOPInstanceUID) for ds in gone)}
    snapshot = ["snapshots", "make", "Fig. 1", "demo=yes"]
    assert service.run(*snapshot).returncode == 0
    kept = [row for row in service.answers() if row["study_instance_uid"] not in uids]
    site.back_up_databases(copy)
    site.back_up_incoming(copy)
    site.back_up_storage(copy)

    # Searching finds what is there.
    service.stop()
    before = search(lay_open(site, tmp_path / "open"), canaries)
    for text in {*GONE.values(), TEXT}:
        assert any({text, text.lower()} & hits for hits in before.values()), text
    service.start()

    certificate = withdraw(service)

    assert certificate["finished_at"], certificate
    assert len(certificate["studies"]) == 2
    assert certificate["identities"] == 2
    # What is sent again is turned away.
    assert set(service.send(gone)) == {0x0000}
    service.wait_until(lambda: not any(service.data_dir.glob("storage/incoming/*.dcm")), 30)
    service.stop()
    assert search(lay_open(site, tmp_path / "open"), canaries) == {}
    assert GONE["PatientName"] not in service.log.read_text("utf-8")
    png = {path.stem for path in service.data_dir.glob("storage/renderings/*/*.png")}
    assert png == others
    verify_all_else(service, kept)

    # Databases and files of the time before: the next start withdraws again.
    site.lose_everything()
    site.restore_files(copy)
    site.restore_databases(copy)
    assert search(lay_open(site, tmp_path / "open"), canaries)
    service.start()
    service.wait_until(lambda: all_withdrawn(service), 60)
    service.stop()

    assert search(lay_open(site, tmp_path / "open"), canaries) == {}
    verify_all_else(service, kept)


def all_withdrawn(service: Service) -> bool:
    result = service.run("studies", "certificate", "--json")
    records = json.loads(result.stdout)
    return bool(records) and all(record["finished_at"] for record in records)


def verify_all_else(service: Service, kept: list[dict[str, Any]]) -> None:
    """Compare what is left with what was there before."""
    assert service.answers() == kept
    states = [row["state"] for row in service.studies()]
    assert states.count("withdrawn") == 2
    assert states.count("answered") == 2
    verified = service.run("snapshots", "verify", "Fig. 1")
    assert "the others are unchanged" in verified.stdout, verified.stderr
    reconciled = service.run("db", "reconcile")
    assert reconciled.returncode == 0, reconciled.stderr
