"""Wrong input is answered with a message that names the thing and the remedy."""

from __future__ import annotations

import socket
import sqlite3
from datetime import UTC, datetime

import pytest

from medr1_pacs.db.tables import Patient


def refusal(service, *arguments: str, status: int) -> str:
    result = service.run(*arguments)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr + result.stdout


def test_a_malformed_question_file(make_service, tmp_path):
    questions = tmp_path / "questions"
    questions.mkdir()
    (questions / "mine.yaml").write_text("modality: CT\nquestions:\n- {id: my-ct, verzion: 1}\n")
    service = make_service(MEDR1_QUESTIONS_DIR=str(questions))

    message = refusal(service, "up", status=2)

    assert "mine.yaml:3" in message
    assert "did you mean `version`" in message


def test_an_unknown_checkpoint(make_service, tmp_path):
    (tmp_path / "checkpoints.toml").write_text('[cd]\nrevision = "abc"\n')
    service = make_service(MEDR1_CHECKPOINTS=str(tmp_path / "checkpoints.toml"))

    message = refusal(service, "up", status=2)

    assert "there is no checkpoint 'cd'" in message
    assert "ct, mri" in message


def test_a_missing_weights_folder(make_service, tmp_path):
    revision = "0123456789" * 4
    (tmp_path / "checkpoints.toml").write_text(f'[ct]\nrevision = "{revision}"\n')
    service = make_service(MEDR1_CHECKPOINTS=str(tmp_path / "checkpoints.toml"))

    message = refusal(service, "up", status=1)

    assert f"weights/ct/{revision}" in message
    assert f"medr1-pacs checkpoints pull ct --revision {revision}" in message


@pytest.mark.parametrize("kind", ["dicom", "web"])
def test_a_port_in_use(make_service, kind):
    service = make_service()
    with socket.socket() as other:
        other.bind(("127.0.0.1", getattr(service, f"{kind}_port")))
        other.listen()

        message = refusal(service, "up", status=2)

    assert f"port {getattr(service, f'{kind}_port')} on 127.0.0.1 is in use" in message
    assert f"MEDR1_{kind.upper()}_PORT" in message


def test_a_data_folder_without_write_permission(make_service):
    # /proc refuses even root
    service = make_service(MEDR1_DATA_DIR="/proc/medr1")

    message = refusal(service, "up", status=2)

    assert "MEDR1_DATA_DIR: /proc/medr1 cannot be written" in message
    assert "write permission" in message


def test_a_database_of_a_newer_schema(make_service):
    service = make_service()
    assert service.run("db", "upgrade").returncode == 0
    with sqlite3.connect(service.data_dir / "medr1.sqlite") as connection:
        connection.execute("UPDATE schema_version_research SET version_num = 'r9999'")
    connection.close()

    message = refusal(service, "up", status=1)

    assert "r9999" in message
    assert "newer medr1-pacs" in message


def test_a_text_file_given_to_ingest(make_service, tmp_path):
    (tmp_path / "report.txt").write_text("no picture")

    message = refusal(make_service(), "ingest", str(tmp_path / "report.txt"), status=1)

    assert "report.txt: not a DICOM file" in message


def test_a_wide_address_without_an_allow_list(make_service):
    message = refusal(make_service(MEDR1_DICOM_HOST="0.0.0.0"), "up", status=2)

    assert "MEDR1_DICOM_HOST=0.0.0.0" in message
    assert "MEDR1_ALLOWED_PEERS" in message


def test_doctor_finds_what_is_wrong(make_service):
    message = refusal(make_service(MEDR1_AE_TITLE="A TITLE THAT IS TOO LONG"), "doctor", status=1)

    assert "MEDR1_AE_TITLE" in message


def test_doctor_is_content_before_the_first_start(make_service):
    assert make_service().run("doctor").returncode == 0


def test_a_site_that_lost_its_key_gets_no_new_one_in_silence(make_service):
    service = make_service()
    assert service.run("db", "upgrade").returncode == 0
    database = service.database()
    with database.write() as session:
        session.add(Patient(patient_key="k", created_at=datetime.now(UTC)))
    database.dispose()

    message = refusal(service, "db", "reconcile", status=2)

    assert "the site key is missing" in message
    assert "restore it from the backup" in message
    assert not (service.data_dir / "site.key").exists()
