import pytest

from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.questions.lint import lint

SIGNED = {"reviewed_by": "Dr. A", "reviewed_at": "2026-01-02"}


@pytest.fixture
def lint_question(make_question, tmp_path):
    def lint_question(**fields):
        make_question(**(SIGNED | fields))
        return [
            (f.rule, f.place.rsplit("/", 1)[1]) for f in lint(load_bank(tmp_path / "questions"))
        ]

    return lint_question


def test_a_careful_question_has_no_findings(lint_question):
    assert lint_question() == []


@pytest.mark.parametrize(
    ("fields", "rule", "line"),
    [
        ({"stem": "Which lung is shown?", "options": ["Left lung", "Heart"]}, "stem word", 8),
        ({"stem": "How many nodules?", "options": ["One nodule", "None"]}, "stem word", 8),
        ({"options": ["Left", "Right with a very long tail"]}, "option length", 9),
        ({"role": "sentinel"}, "sentinel without truth", 12),
        (
            {"role": "sentinel", "truth": {"header": "Laterality", "map": {"L": "Left"}}},
            "constant truth",
            12,
        ),
        ({"task": "Disease Diagnosis"}, "study without positive", 2),
        ({"positive": ["Left", "Right"]}, "no negative", 16),
        ({"reviewed_by": None}, "not reviewed", 2),
    ],
)
def test_a_give_away_is_found_at_its_line(lint_question, fields, rule, line):
    assert (rule, f"q.yaml:{line}") in lint_question(**fields)


def test_a_stem_word_in_all_options_gives_nothing_away(lint_question):
    assert lint_question(stem="Which lung is shown?", options=["Left lung", "Right lung"]) == []


def test_the_shipped_bank_has_only_known_findings():
    findings = lint(load_bank(PACKAGED_BANK))

    assert {(f.question_id, f.rule) for f in findings if f.rule != "not reviewed"} == {
        ("ct-technique", "constant truth"),
        ("ct-contrast", "constant truth"),
        ("dm-technique", "constant truth"),
        ("mr-technique", "constant truth"),
        ("dm-lineage", "study without positive"),
        ("oc-disease", "study without positive"),
        ("fp-macula", "option length"),
        ("oc-fluid", "option length"),
    }
    assert sum(f.rule == "not reviewed" for f in findings) == 8  # one a file
