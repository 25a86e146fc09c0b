"""Patients of whom nothing is kept."""

import pytest

from medr1_pacs.errors import OptOutUnusable
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.records.received import PatientIdentity


def somebody(patient_id, issuer=""):
    return PatientIdentity("i", "k", "1.2", "Some^Body", patient_id, issuer, "", "")


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "opt-out.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        listed = OptOutList(path)
        listed.refresh()
        return listed

    return load


def test_a_line_without_an_issuer_means_every_issuer(load):
    listed = load("patient_id,issuer_of_patient_id\n4711,\n")

    assert listed.has(somebody("4711"))
    assert listed.has(somebody("4711", "CLINIC"))
    assert not listed.has(somebody("4712"))


def test_a_line_with_an_issuer_means_that_one(load):
    listed = load("issuer_of_patient_id,patient_id\nCLINIC,4711\n")

    assert listed.has(somebody("4711", "CLINIC"))
    assert not listed.has(somebody("4711", "OTHER"))
    assert not listed.has(somebody("4711"))


def test_who_has_no_patient_id_is_nobody_of_the_list(load):
    assert not load("patient_id\n4711\n").has(somebody(""))


def test_what_spreadsheets_write_is_read(load):
    listed = load("\ufeffpatient_id\r\n 4711 \r\n\r\n")

    assert listed.has(somebody("4711"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line break"),
        ("patient_id\n4711", "line break"),
        ("\n", "no header"),
        ("name\nMiller\n", "no header"),
        ("patient_id,issuer_of_patient_id\n4711\n", "line 2"),
        ("patient_id,issuer_of_patient_id\n,CLINIC\n", "line 2"),
        (b"patient_id\n\xff\n", "UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_and_quotes_nobody(load, content, message):
    with pytest.raises(OptOutUnusable, match=message) as refused:
        load(content)

    assert "4711" not in str(refused.value)


def test_a_file_that_is_not_there_is_named_with_the_setting(tmp_path):
    with pytest.raises(OptOutUnusable, match="MEDR1_OPT_OUT_FILE"):
        OptOutList(tmp_path / "missing.csv").refresh()
