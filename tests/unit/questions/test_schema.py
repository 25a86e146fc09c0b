import hashlib

import pytest
from pydantic import ValidationError

from medr1_pacs.questions.schema import CHECKPOINTS, requested_checkpoint
from medr1_pacs.records import Modality


@pytest.mark.parametrize(
    ("modality", "checkpoint"),
    [("CT", "ct"), ("MRI", "mri"), ("X-Ray", "xray"), ("Ultrasound", "us"),
     ("Dermoscopy", "dermoscopy"), ("Fundus", "fundus"), ("OCT", "oct"),
     ("Microscopy", "microscopy")],
)  # fmt: skip
def test_a_question_asks_for_its_modalitys_checkpoint(make_question, modality, checkpoint):
    assert requested_checkpoint(make_question(modality=modality)) == checkpoint
    assert checkpoint in CHECKPOINTS
    assert len(Modality) == 8


def test_a_question_may_ask_for_a_task_checkpoint(make_question):
    assert requested_checkpoint(make_question(checkpoint="anatomy")) == "anatomy"


@pytest.mark.parametrize(
    "change",
    [
        {"stem": "Which side?"},
        {"options": ["Right", "Left"]},
        {"version": 2},
        {"think": False},
        {"when": {"anatomy": "chest"}},
        {"window": "lung"},
        {"truth": "reference"},
    ],
)
def test_the_hash_tells_definitions_apart(make_question, change):
    assert make_question().question_sha256 == make_question().question_sha256
    assert make_question(**change).question_sha256 != make_question().question_sha256


def test_a_default_written_out_is_the_same_definition(make_question):
    written = make_question(think=True, aggregate="none", positive=[])

    assert written.question_sha256 == make_question().question_sha256


def test_the_hash_is_over_the_canonical_json(make_question):
    canonical = (
        '{"coverage":"in","id":"ct-side","modality":"CT","options":["Left","Right"],'
        '"role":"study","select":"middle","stem":"Which side is shown, ä?",'
        '"task":"Anatomy Identification","truth":{"kind":"reader"},"version":1}'
    )
    expected = hashlib.sha256(canonical.encode()).hexdigest()

    assert make_question(stem="Which side is shown, ä?").question_sha256 == expected


def test_a_question_cannot_be_changed(make_question):
    with pytest.raises(ValidationError):
        make_question().stem = "Other?"
