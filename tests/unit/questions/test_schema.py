import hashlib
import json

import pytest
from pydantic import ValidationError

from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank, restore_question
from medr1_pacs.questions.schema import requested_checkpoint
from medr1_pacs.records.words import CheckpointName, Modality


@pytest.mark.parametrize(
    ("modality", "checkpoint"),
    [("CT", "ct"), ("MRI", "mri"), ("X-Ray", "xray"), ("Ultrasound", "us"),
     ("Dermoscopy", "dermoscopy"), ("Fundus", "fundus"), ("OCT", "oct"),
     ("Microscopy", "microscopy")],
)  # fmt: skip
def test_a_question_asks_for_its_modalitys_checkpoint(make_question, modality, checkpoint):
    assert requested_checkpoint(make_question(modality=modality)) == checkpoint
    assert checkpoint in set(CheckpointName)
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


@pytest.mark.parametrize("question", load_bank(PACKAGED_BANK).questions, ids=lambda q: q.id)
def test_a_stored_definition_is_the_question_again(question):
    again = restore_question(json.loads(json.dumps(question.definition())))

    assert again.question_sha256 == question.question_sha256
    assert again.definition() == question.definition()


def test_the_hashes_of_the_bank_are_those_that_answers_were_stored_under():
    # Another hash would be another question: whole studies would count as never asked.
    hashes = {q.id: q.question_sha256 for q in load_bank(PACKAGED_BANK).questions}

    assert hashes["ct-contrast"] == (
        "05a15f282ddd0634c1e2e2581103b17ca0166221c4f1e2b64bcb006579da8c8e"
    )
    assert hashes["demo-ct-marker-quadrant"] == (
        "6b8bedc2a37e572f7c904ade7ed31980278cb30c72417252022344a918326454"
    )
