"""Question files that differ from a valid one in the fields that a test names."""

import pytest
import yaml

from medr1_pacs.questions.bank import load_bank

VALID = {
    "id": "ct-side",
    "version": 1,
    "task": "Anatomy Identification",
    "role": "study",
    "modality": "CT",
    "select": "middle",
    "stem": "Which side is shown?",
    "options": ["Left", "Right"],
    "truth": "reader",
    "coverage": "in",
}


@pytest.fixture
def make_question(tmp_path):
    """A question as the bank loads it from a file; a field given as None is left out."""

    def make_question(**fields):
        question = {k: v for k, v in (VALID | fields).items() if v is not None}
        folder = tmp_path / "questions"
        folder.mkdir(exist_ok=True)
        text = yaml.safe_dump({"questions": [question]}, sort_keys=False, allow_unicode=True)
        (folder / "q.yaml").write_text(text, encoding="utf-8")
        return load_bank(folder).questions[0]

    return make_question


@pytest.fixture
def write_questions(tmp_path):
    """Write one question file into a folder of its own and return the folder."""

    def write_questions(text, folder="bank", name="q.yaml"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path.parent

    return write_questions
