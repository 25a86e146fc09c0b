"""A study sent by C-STORE ends as answers in the database."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import urllib.request
from pathlib import Path

import httpx
import pytest
from pydicom.data import get_testdata_file
from service import AE_TITLE, Service

from medr1_pacs.demo.studies import make_study
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.words import Modality

# Everything that DESIGN promises of an answer; scripts of others read these names.
ANSWER_FIELDS = [
    "answer_id",
    "kind",
    "run",
    "is_demo",
    "is_current",
    "study_version",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "frame_number",
    "modality",
    "coverage",
    "window_center",
    "window_width",
    "window_source",
    "png_sha256",
    "question_id",
    "question_version",
    "question_sha256",
    "task",
    "options",
    "option_order",
    "prompt_text",
    "chat_text",
    "requested_checkpoint",
    "checkpoint",
    "checkpoint_revision",
    "checkpoint_sha256",
    "engine",
    "versions",
    "dtype",
    "attention",
    "decoding",
    "raw_output",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "reasoning",
    "choice",
    "choice_text",
    "parse_status",
    "seconds",
    "answered_at",
]
NULL_WHEN_COLOR = {"window_center", "window_width", "window_source"}
NULL_WHEN_UNPARSED = {"reasoning", "choice", "choice_text"}

UNCOMPRESSED = ["CT_small.dcm", "MR_small.dcm"]
# DCMTK's option that proposes the syntax -> a file in it.
COMPRESSED = {
    "-xw": "693_J2KI.dcm",
    "-xr": "MR_small_RLE.dcm",
    "-xy": "examples_ybr_color.dcm",
    "-xu": "JPEGLSNearLossless_08.dcm",
}


def bundled(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return path


def send_with_dcmtk(service: Service, *arguments: str) -> None:
    subprocess.run(
        [arguments[0], "-aec", AE_TITLE, "127.0.0.1", str(service.dicom_port), *arguments[1:]],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory):
    """A service that received phantoms of every modality and real files, and answered."""
    service = Service(tmp_path_factory.mktemp("answered"))
    service.start()
    try:
        send_with_dcmtk(service, "/usr/bin/dcmsend", *map(bundled, UNCOMPRESSED))
        for option, name in COMPRESSED.items():
            send_with_dcmtk(service, "/usr/bin/storescu", option, bundled(name))
        studies = [make_study(modality, 7001) for modality in Modality]
        instances = [dataset for study in studies for dataset in study]
        assert set(service.send(instances)) == {0x0000}
        service.wait_until(lambda: len(service.studies()) >= len(studies) + 4, 60)
        service.wait_for_settled(len(service.studies()))
        yield service
    finally:
        service.stop()


def test_every_study_is_answered_or_says_why_not(answered):
    for row in answered.studies():
        assert row["state"] == "answered" or row["reason"], row


def test_the_command_line_lists_the_studies(answered):
    result = answered.run("studies", "--json")

    assert json.loads(result.stdout) == answered.studies()


def test_each_modality_has_at_least_three_answers(answered):
    answers = answered.answers()

    for modality in Modality:
        assert sum(row["modality"] == modality for row in answers) >= 3, modality


def test_an_answer_has_every_field_that_made_it(answered):
    for row in answered.answers():
        allowed = set()
        if row["window_source"] is None or row["window_source"].endswith("lut"):
            allowed |= NULL_WHEN_COLOR
        if row["parse_status"] != "parsed":
            allowed |= NULL_WHEN_UNPARSED
        missing = [name for name in ANSWER_FIELDS if name not in row]
        null = [name for name in ANSWER_FIELDS if row.get(name) is None and name not in allowed]
        assert (missing, null) == ([], []), row["question_id"]


def test_every_demo_question_of_a_phantom_is_asked_once(answered):
    demo = [question for question in load_bank(PACKAGED_BANK).questions if question.is_demo]
    asked = [
        row["question_id"]
        for row in answered.answers()
        if row["study_instance_uid"].startswith("2.25.") and row["requested_checkpoint"] == "demo"
    ]

    assert sorted(asked) == sorted(question.id for question in demo)


def test_the_demo_checkpoint_marks_its_answers(answered):
    assert {(row["checkpoint"], row["is_demo"]) for row in answered.answers()} == {("demo", True)}


def test_phantoms_are_recognized_as_the_model_card_promises(answered):
    rows = [
        row
        for row in answered.answers()
        if row["study_instance_uid"].startswith("2.25.") and row["question_id"].endswith("modality")
    ]

    assert len(rows) == 8
    assert sum(row["is_correct"] for row in rows) >= 7


def test_replayed_answers_are_equal(answered):
    ids = [row["answer_id"] for row in answered.answers()]

    for answer_id in ids[:: max(1, len(ids) // 3)][:3]:
        result = answered.run("replay", str(answer_id), "--json")
        assert json.loads(result.stdout)["is_equal"], result.stdout


def test_the_service_says_that_it_is_ready(answered):
    with urllib.request.urlopen(f"http://127.0.0.1:{answered.web_port}/readyz") as response:
        assert json.load(response)["status"] == "ready"


@pytest.fixture(scope="module")
def browser(answered):
    """A browser that came in by the link of the first administrator."""
    roles = ("--role", "administrator", "--role", "researcher", "--project", "default")
    printed = answered.run("accounts", "add", "anna", *roles)
    link = printed.stdout.strip()
    with httpx.Client(base_url=f"http://127.0.0.1:{answered.web_port}") as client:
        token = re.search(r'name="csrf_token" value="(\w+)"', client.get(link).text)[1]
        assert client.post(link, data={"csrf_token": token}).status_code == 303
        yield client


def test_nobody_sees_a_page_without_signing_in(answered):
    answer = httpx.get(f"http://127.0.0.1:{answered.web_port}/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/")


def test_the_pages_list_studies_and_answers(answered, browser):
    operations = browser.get("/operations").text
    answers = browser.get("/projects/default/answers?demo=yes").text

    assert "Research use only" in operations
    assert answered.studies()[-1]["study_instance_uid"] in operations
    assert f"<strong>{len(answered.answers())}</strong> found" in answers


def test_a_picture_is_served_to_who_may_see_its_answer(answered, browser):
    row = answered.answers()[0]

    picture = browser.get(f"/projects/default/answers/{row['answer_id']}/picture.png").content

    assert hashlib.sha256(picture).hexdigest() == row["png_sha256"]


def test_a_late_instance_raises_the_version_and_only_new_pictures_are_asked(answered):
    study = make_study(Modality.CT, 7002)
    uid = str(study[0].StudyInstanceUID)

    def row():
        return next(row for row in answered.studies() if row["study_instance_uid"] == uid)

    count = len(answered.studies())
    assert set(answered.send(study[:-1])) == {0x0000}
    answered.wait_for_settled(count + 1)
    before = row()

    assert set(answered.send(study[-1:])) == {0x0000}
    answered.wait_until(lambda: row()["version"] == 2 and row()["state"] == "answered", 120)

    prompts = [
        (r["png_sha256"], r["question_id"])
        for r in answered.answers()
        if r["study_instance_uid"] == uid
    ]
    assert row()["answers"] >= before["answers"]
    assert len(set(prompts)) == len(prompts)


def test_sigterm_stops_every_process(make_service):
    service = make_service()
    service.start()
    service.wait_until(lambda: len(service.children()) == 5, 60)
    children = list(service.children().values())

    assert service.stop() == 0
    assert not [child for child in children if child.is_running()]


def test_a_second_service_on_the_same_folder_is_refused(make_service):
    service = make_service()
    service.start()

    result = service.run("up")

    assert result.returncode == 2
    assert "another `medr1-pacs up` runs on" in result.stderr


def test_the_logs_name_no_patient(answered):
    log = Path(answered.log).read_text("utf-8")

    assert "PHANTOM^" not in log
    assert "CompressedSamples" not in log
