"""A file of truths is read line by line, and each line says itself what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from medr1_pacs import references
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.records.references import Fault, ReferenceKey, ReferenceLine, Target
from medr1_pacs.records.words import Certainty, TruthSource, TruthUnit
from medr1_pacs.references import (
    COLUMNS,
    find_repeats,
    first_version,
    match_option,
    parse_references,
    side_of,
)

HEADER = "accession_number,question_id,truth"


def parse(*lines, header=HEADER):
    return parse_references("\n".join((header, *lines)).encode())


def parse_one(columns, values):
    """Return the only line of a file, or its fault; the question and the truth are given."""
    parsed = parse(f"q,Yes,{values}", header=f"question_id,truth,{columns}")
    [found] = parsed.lines or parsed.faults.values()
    return found


def test_a_line_is_read_with_its_number_in_the_file():
    parsed = parse("A-1,q,Yes", "", "A-2,r,No")

    assert parsed.lines == (
        ReferenceLine(2, ReferenceKey(accession_number="A-1"), "q", "Yes"),
        ReferenceLine(4, ReferenceKey(accession_number="A-2"), "r", "No"),
    )
    assert parsed.faults == {}


@pytest.mark.parametrize(
    "data",
    [
        b"accession_number;question_id;truth\nA-1;q;Yes\n",
        b"\xef\xbb\xbfaccession_number,question_id,truth\r\nA-1,q,Yes\r\n",
        b'"Accession_Number", question_id ,truth\n"A-1", q , Yes \n,,\n',
        b"accession_number;question_id;truth\nA-1;q;Yes\n;;\n\n",
    ],
    ids=["semicolons", "spreadsheet", "quotes and spaces", "empty lines"],
)
def test_a_file_is_read_as_programs_write_it(data):
    assert parse_references(data).lines == (
        ReferenceLine(2, ReferenceKey(accession_number="A-1"), "q", "Yes"),
    )


def test_a_quoted_field_may_hold_the_delimiter():
    assert parse('A-1,q,"Yes, with ""quotes"""').lines[0].truth == 'Yes, with "quotes"'


def test_what_else_a_line_may_say():
    line = parse_one("study_instance_uid,certainty,stated_by,stated_at", "1.2,PROVEN,Roe,20250201")

    assert (line.certainty, line.stated_by) == (Certainty.PROVEN, "Roe")
    assert line.stated_at == datetime(2025, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("certainty", Certainty)
def test_a_line_may_say_every_certainty(certainty):
    assert parse_one("study_instance_uid,certainty", f"1.2,{certainty}").certainty is certainty


@pytest.mark.parametrize(
    ("columns", "values", "unit"),
    [
        ("sop_instance_uid", "1.2", "picture"),
        ("picture_pseudonym", "2.25.1", "picture"),
        ("accession_number", "A", "study"),
        ("study_instance_uid", "1.2", "study"),
        ("study_pseudonym", "2.25.1", "study"),
        ("patient_id,study_date", "P,20250131", "study"),
        ("patient_id,study_date", "P,2025-01-31", "study"),
        ("patient_id,study_date,side", "P,2025-01-31,L", "side"),
        ("accession_number,side", "A,r", "side"),
        ("patient_id", "P", "patient"),
        ("patient_id,study_date", "P,", "patient"),
        ("patient_id,issuer_of_patient_id", "P,I", "patient"),
        ("patient_pseudonym", "ABCDEF0123456789" * 2, "patient"),
        ("patient_id,accession_number,unit", "P,A,Study", "study"),
    ],
)
def test_the_keys_of_a_line_say_what_it_is_about(columns, values, unit):
    assert parse_one(columns, values).key.unit is TruthUnit(unit)


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("accession_number,unit", "A,patient"),
        ("accession_number,unit", "A,series"),
        ("accession_number,side", "A,B"),
        ("sop_instance_uid,side", "1.2,L"),
        ("patient_id,side", "P,L"),
        ("study_instance_uid", "1.2.x"),
        ("study_pseudonym", "abc"),
        ("patient_pseudonym", "abc"),
        ("patient_id,study_date", "P,31.01.2025"),
        ("patient_id,study_date", "P,20250231"),
        ("patient_id,study_date", "P,2025-0131"),
        ("study_date", "20250131"),
        ("issuer_of_patient_id,accession_number", "I,A"),
        ("accession_number,certainty", "A,sure"),
        ("accession_number,stated_at", "A,yesterday"),
        ("accession_number,stated_by", f"A,{'x' * 65}"),
    ],
)
def test_a_value_that_is_none_is_a_fault(columns, values):
    assert parse_one(columns, values) is Fault.BAD_VALUE


@pytest.mark.parametrize(("columns", "values"), [("accession_number", ""), ("side", "L")])
def test_a_line_without_a_key_is_a_fault(columns, values):
    assert parse_one(columns, values) is Fault.NO_KEY


@pytest.mark.parametrize(
    "line",
    ["A-1,q", "A-1,q,Yes,more", 'A-1,q,"Yes', 'A-1,q,"Yes"no', "A\x00,q,Yes", f"{'A' * 1025},q,Y"],
    ids=["too few", "too many", "open quote", "closed quote", "NUL", "too long"],
)
def test_a_malformed_line_spoils_no_other(line):
    parsed = parse(line, "A-2,q,Yes")

    assert parsed.faults == {2: Fault.MALFORMED}
    assert [each.number for each in parsed.lines] == [3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n\n", "the file is empty"),
        (b"accession_number,question_id,truth\n", "no line below its header"),
        (b"accession_number,question,truth\nA,q,Y", "column 'question' is not known; use acc"),
        (b"accession_number,truth\nA,Y", "column 'question_id' is missing"),
        (b"accession_number,question_id\nA,q", "column 'truth' is missing"),
        (b"truth,question_id,truth\nA,q,A", "column 'truth' stands twice"),
        (b"A-1,q,Yes\n", "line 1 has to name the columns"),
        (b'"truth\nx', "line 1: the header cannot be read"),
        (b"truth,question_id\na,b\n\xff,q\n", "line 3 is not UTF-8"),
        (b"\xef\xbb\xbftruth,question_id\n\xff,q\n", "line 2 is not UTF-8"),
        ("truth,question_id\n".encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_line(data, message):
    with pytest.raises(ReferenceRefused, match=message):
        parse_references(data)


def test_a_file_without_a_header_is_refused_without_its_values():
    with pytest.raises(ReferenceRefused) as refused:
        parse_references(b"PID-77801,Zaubernuss,Yes\n")

    assert "PID" not in str(refused.value)
    assert all(name in str(refused.value) for name in COLUMNS)


def test_a_file_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(references, "LINES_MAX", 2)
    assert len(parse("A,q,Y", "B,q,Y").lines) == 2
    with pytest.raises(ReferenceRefused, match="line 4: the file has more than 2 lines"):
        parse("A,q,Y", "B,q,Y", "C,q,Y")

    monkeypatch.setattr(references, "FILE_MAX_BYTES", 1)
    with pytest.raises(ReferenceRefused, match="divide it"):
        parse("A,q,Y")


def test_neither_a_line_nor_its_key_shows_whom_it_is_about():
    line = parse_one("patient_id,accession_number", "PID-1,ACC-1")

    assert "PID-1" not in repr(line)
    assert "ACC-1" not in repr(line)


def test_an_option_is_found_apart_from_capitals_and_spaces():
    assert match_option(" NODULE or mass", ["Clear", "Nodule or mass"]) == "Nodule or mass"
    assert match_option("Nodule", ["Nodule or mass"]) is None


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"ImageLaterality": "L"}, "L"),
        ({"ImageLaterality": "B", "Laterality": "L"}, None),
        ({"Laterality": "R"}, "R"),
        ({"FrameLaterality": "R"}, "R"),
        ({"ImageLaterality": "U"}, None),
        ({}, None),
    ],
)
def test_a_side_is_that_of_the_picture_before_that_of_its_series(attributes, side):
    assert side_of(attributes) == side


STUDY, OTHER = Target(TruthUnit.STUDY, study_id=1), Target(TruthUnit.STUDY, study_id=2)


@pytest.mark.parametrize(
    ("said", "faults"),
    [
        ([(STUDY, "q", "Y"), (OTHER, "q", "N"), (STUDY, "r", "N")], {}),
        ([(STUDY, "q", "Y"), (STUDY, "q", "Y")], {3: Fault.DUPLICATE}),
        ([(STUDY, "q", "Y"), (STUDY, "q", "N")], dict.fromkeys((2, 3), Fault.CONTRADICTION)),
        (
            [(STUDY, "q", "Y"), (STUDY, "q", "Y"), (STUDY, "q", "N")],
            dict.fromkeys((2, 3, 4), Fault.CONTRADICTION),
        ),
    ],
)
def test_repeats_are_found_by_target_and_question(said, faults):
    lines = [
        (ReferenceLine(number, ReferenceKey(), question_id, truth), target)
        for number, (target, question_id, truth) in enumerate(said, start=2)
    ]

    assert find_repeats(lines) == faults


def test_what_a_plan_reads_from_a_header_is_the_first_version():
    assert first_version(TruthSource.HEADER, TruthUnit.PICTURE) == 2
    assert first_version(TruthSource.HEADER, TruthUnit.STUDY) == 1
    assert first_version(TruthSource.IMPORT, TruthUnit.PICTURE) == 1
