import hashlib
import hmac
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.part10 import is_uid
from medr1_pacs.pseudonyms import load_site_key, pseudonym, pseudonymous_uid

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def test_a_pseudonym_is_an_hmac_over_scope_and_identifier():
    expected = hmac.new(KEY, b"project lung\x001.2.3", hashlib.sha256).hexdigest()[:32]

    assert pseudonym(KEY, "project lung", "1.2.3") == expected


def test_key_scope_and_identifier_each_change_a_pseudonym():
    pseudonyms = {
        pseudonym(key, scope, identifier)
        for key in (KEY, OTHER_KEY)
        for scope in ("patient", "project lung")
        for identifier in ("1", "2")
    }

    assert len(pseudonyms) == 8


def test_scope_and_identifier_cannot_be_shifted_into_each_other():
    assert pseudonym(KEY, "ab", "c") != pseudonym(KEY, "a", "bc")


@given(st.text(), st.text())
def test_a_pseudonymous_uid_is_a_uid_and_repeats(project, uid):
    made = pseudonymous_uid(KEY, project, uid)

    assert is_uid(made)
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", made)  # PS3.5 B.2: no leading zeros
    assert made == pseudonymous_uid(KEY, project, uid)


def test_two_projects_cannot_be_linked_by_a_study():
    assert pseudonymous_uid(KEY, "lung", "1.2.3") != pseudonymous_uid(KEY, "neuro", "1.2.3")


def test_the_site_key_is_made_once_and_readable_by_us_alone(tmp_path):
    path = tmp_path / "new" / "site.key"

    key = load_site_key(path)

    assert len(key) == 32
    assert load_site_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_start_at_once_read_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_site_key, [tmp_path / "site.key"] * 8))

    assert len(keys) == 1


def test_what_a_crash_left_half_made_is_no_obstacle(tmp_path):
    (tmp_path / f"site.key.{os.getpid()}.part").write_bytes(b"half")

    assert len(load_site_key(tmp_path / "site.key")) == 32


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_file_that_is_no_site_key_is_refused(tmp_path, length):
    path = tmp_path / "site.key"
    path.write_bytes(b"x" * length)

    with pytest.raises(SettingInvalid, match=r"site.key.*restore it from the backup"):
        load_site_key(path)
