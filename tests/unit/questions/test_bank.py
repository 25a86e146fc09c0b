import re
from collections import Counter

import pytest

from medr1_pacs.errors import QuestionInvalid
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank, questions_for
from medr1_pacs.questions.schema import Role, TruthKind
from medr1_pacs.records.words import Modality

QUESTION = """\
modality: CT
questions:
- id: ct-side
  version: 1
  task: Anatomy Identification
  role: study
  select: middle
  stem: "Which side is shown?"
  options: [Left, Right]
  truth: reader
  coverage: in
"""
DEMO = """\
questions:
- id: demo-shape
  version: 1
  task: Other Biological Attributes
  role: sentinel
  modality: CT
  checkpoint: demo
  select: middle
  stem: "What shape has the marker?"
  options: [Circle, Square]
  when: {PhantomMarkerShape: present}
  truth: {header: PhantomMarkerShape}
  coverage: in
"""


def test_the_shipped_bank_loads_with_its_63_questions():
    questions = [q for q in load_bank(PACKAGED_BANK).questions if not q.is_demo]

    assert Counter(question.modality for question in questions) == {
        modality: 7 if modality is Modality.OCT else 8 for modality in Modality
    }
    sentinels = [question for question in questions if question.role is Role.SENTINEL]
    assert len(sentinels) == 19
    assert all(q.truth.kind in (TruthKind.HEADER, TruthKind.FUNCTION) for q in sentinels)


def test_every_place_in_the_shipped_bank_is_its_id_line():
    bank = load_bank(PACKAGED_BANK)

    for question in bank.questions:
        source = bank.sources[question.id]
        lines = source.path.read_text(encoding="utf-8").splitlines()
        assert lines[source.field_lines["id"] - 1] == f"- id: {question.id}"


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("stem: ", "stem ", r":9: YAML syntax: could not find .*; correct it"),
        ("version: 1", "version: 1\n  version: 2", r":5: version: written twice; keep one"),
        ("role: study", "rolle: study", r":6: rolle: unknown field; did you mean `role`\?"),
        ("role: study", "role: judge", r":6: role: input should be 'sentinel' or 'study'"),
        ("  role: study\n", "", r":3: role: is missing; add it"),
        ("modality: CT", "modality: Cat", r":1: modality: input should be 'CT', 'MRI'"),
        ("modality: CT", "modalety: CT", r":1: modalety: unknown field; did you mean `modality`"),
        ("ct-side", "CT side", r":3: id: use 2 to 64 lower-case letters"),
        ("version: 1", "version: 0", r":4: version: input should be greater than or equal to 1"),
        ("[Left, Right]", "[Left]", r":9: options: 1 options; Med-R1 knows 2 to 4"),
        ("[Left, Right]", "[A, B, C, D, E]", r":9: options: 5 options; Med-R1 knows 2 to 4"),
        ("[Left, Right]", "[Left, left]", r":9: options: two options are equal"),
        ("[Left, Right]", "['Left, a bit', Right]", r":9: options: `Left, a bit` has a comma"),
        ("[Left, Right]", "[Left (a), Right]", r":9: options: `Left \(a\)` has a closing bracket"),
        ("[Left, Right]", "[' Left', Right]", r":9: options: ` Left` is empty or has spaces"),
        ("[Left, Right]", "[Yes, No]", r":9: options: a text is wanted, not True; put"),
        ("select: middle", "select: midle", r":7: select: `midle` is no selection policy; use"),
        ("coverage: in", "coverage: in\n  window: long", r":12: window: .*did you mean `lung`\?"),
        ("coverage: in", "coverage: in\n  second_window: object", r":12: second_window: `object`"),
        ("coverage: in", "coverage: in\n  positive: [Lefft]", r":12: positive: .*mean `Left`\?"),
        ("coverage: in", "coverage: in\n  aggregate: any positive", r":12: aggregate: .*needs"),
        ("coverage: in", "coverage: in\n  checkpoint: xrays", r":12: checkpoint: .*mean `xray`\?"),
        ("coverage: in", "coverage: in\n  when: {anatomie: a}", r":12: when: .*mean `anatomy`\?"),
        ("coverage: in", "coverage: in\n  when: {PatientName: x}", r":12: when: `PatientName`"),
        ("truth: reader", "truth: rider", r":10: truth: write `reader`, `reference`"),
        ("truth: reader", "truth: {header: Modalty}", r":10: truth: .*mean `Modality`\?"),
        ("truth: reader", "truth: {function: modality}", r":10: truth: .*mean `modality_name`\?"),
        ("truth: reader", "truth: {header: Laterality, map: {L: Lift}}", r":10: truth: `L` maps"),
        ("truth: reader", "truth: {header: a, function: b}", r":10: truth: write `reader`"),
        ("truth: reader", "truth: {kind: reader}", r":10: truth: write `reader`"),
        ("Which side is shown?", "Which  side?", r":8: stem: one line of text"),
        ("- id", "- 3\n- id", r":3: questions: not a mapping"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_and_remedy(write_questions, before, after, complaint):
    folder = write_questions(QUESTION.replace(before, after, 1))

    with pytest.raises(QuestionInvalid, match=re.escape(str(folder / "q.yaml")) + complaint):
        load_bank(folder)


@pytest.mark.parametrize("text", ["", "- a\n", "questions: 3\n", "\x00"])
def test_a_file_without_questions_is_refused(write_questions, text):
    with pytest.raises(QuestionInvalid, match=r"q\.yaml:1: "):
        load_bank(write_questions(text))


def test_all_complaints_come_at_once(write_questions):
    text = QUESTION.replace("middle", "midle").replace("[Left, Right]", "[Left]")

    with pytest.raises(QuestionInvalid) as caught:
        load_bank(write_questions(text))

    assert len(str(caught.value).splitlines()) == 2


def test_an_id_is_unique_in_a_folder(write_questions):
    write_questions(QUESTION, name="a.yaml")
    folder = write_questions(QUESTION, name="b.yaml")

    with pytest.raises(QuestionInvalid, match=r"b\.yaml:3: id: `ct-side` is also at .*a\.yaml:3"):
        load_bank(folder)


def test_a_site_replaces_a_question_under_a_higher_version(write_questions):
    shipped = write_questions(QUESTION, "shipped")
    site = write_questions(QUESTION.replace("version: 1", "version: 2"), "site")

    bank = load_bank(shipped, site)

    assert [question.version for question in bank.questions] == [2]
    assert bank.sources["ct-side"].path.parent == site
    with pytest.raises(QuestionInvalid, match=r":4: version: .*give it version 3"):
        load_bank(shipped, site, shipped)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(QuestionInvalid, match="no such folder"):
        load_bank(tmp_path / "none")


def test_a_file_is_signed_once_for_all_its_questions(write_questions):
    signed = "reviewed_by: Dr. A\nreviewed_at: 2026-01-02\n" + QUESTION

    plain = load_bank(write_questions(QUESTION, "plain")).questions[0]
    question = load_bank(write_questions(signed, "signed")).questions[0]

    assert question.reviewed_by == "Dr. A"
    assert question.question_sha256 == plain.question_sha256


def test_demo_questions_are_offered_only_while_the_demo_checkpoint_stands_in(write_questions):
    write_questions(QUESTION)
    bank = load_bank(write_questions(DEMO, name="demo.yaml"))

    def offered(modality, demo):
        return [question.id for question in questions_for(bank, modality, demo=demo)]

    assert offered(Modality.CT, demo=False) == ["ct-side"]
    assert sorted(offered(Modality.CT, demo=True)) == ["ct-side", "demo-shape"]
    assert offered(Modality.MRI, demo=True) == []
