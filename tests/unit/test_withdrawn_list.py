"""The list of withdrawals: written durably, read whole, and never believed when damaged."""

import json

import pytest

from medr1_pacs.errors import WithdrawnListUnusable
from medr1_pacs.records.withdrawals import WithdrawnEntry
from medr1_pacs.records.words import WithdrawnKind
from medr1_pacs.storage.withdrawn_list import WithdrawnList

KEY = b"k" * 32
ONE = WithdrawnEntry(WithdrawnKind.STUDY, "1" * 32, None)
TWO = WithdrawnEntry(WithdrawnKind.PATIENT, "2" * 32, None)
OF_LUNG = WithdrawnEntry(WithdrawnKind.STUDY, "1" * 32, "lung")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "withdrawn.jsonl"


@pytest.fixture
def listed(path):
    return WithdrawnList(path, KEY)


def test_without_a_file_nothing_was_withdrawn(listed):
    assert listed.read() == []


def test_what_was_added_is_read_in_its_order(listed):
    listed.add([TWO, ONE])
    listed.add([OF_LUNG])

    assert listed.read() == [TWO, ONE, OF_LUNG]


def test_nothing_is_added_twice(listed, path):
    listed.add([ONE])
    before = path.read_bytes()
    listed.add([ONE, ONE])

    assert path.read_bytes() == before


def test_a_last_line_that_a_crash_left_half_written_is_written_over(listed, path):
    listed.add([ONE])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "study", "key": "22')

    assert listed.read() == [ONE]
    listed.add([TWO])

    assert listed.read() == [ONE, TWO]
    assert path.read_bytes().startswith(whole)


def test_a_first_line_that_a_crash_left_half_written_is_written_over(listed, path):
    path.write_bytes(b'{"list": "medr')

    listed.add([ONE])

    assert listed.read() == [ONE]


@pytest.mark.parametrize("line", [b"rubbish", b"[]", b'{"kind": "pet", "key": "1"}', b"{}"])
def test_a_damaged_line_is_named_and_nothing_is_believed(listed, path, line):
    listed.add([ONE])
    path.write_bytes(path.read_bytes() + line + b"\n")

    with pytest.raises(WithdrawnListUnusable, match="damaged in line 3"):
        listed.read()


def test_a_list_of_another_site_key_is_refused(listed, path):
    listed.add([ONE])

    with pytest.raises(WithdrawnListUnusable, match="site key"):
        WithdrawnList(path, b"other" * 8).read()


def test_a_folder_that_is_not_there_is_named_with_the_setting(tmp_path):
    with pytest.raises(WithdrawnListUnusable, match="MEDR1_WITHDRAWN_FILE"):
        WithdrawnList(tmp_path / "missing" / "list.jsonl", KEY).add([ONE])


def test_each_line_is_one_object(listed, path):
    listed.add([ONE, OF_LUNG])

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1:] == [
        {"kind": "study", "key": "1" * 32, "project": None},
        {"kind": "study", "key": "1" * 32, "project": "lung"},
    ]
