"""What the groups of an OpenID provider give, as a site writes it."""

from __future__ import annotations

import pytest

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.provider_roles import GroupRole, load_group_roles
from medr1_pacs.records.words import Role


def test_a_list_gives_roles_in_projects_and_administrators():
    items = ("lung-readers=reader@lung", "CN=it=administrator", "all = auditor @ my lung")

    assert load_group_roles(items) == (
        GroupRole("lung-readers", Role.READER, "lung"),
        GroupRole("CN=it", Role.ADMINISTRATOR, None),
        GroupRole("all", Role.AUDITOR, "my lung"),
    )


def test_a_file_gives_the_same_for_names_with_commas(tmp_path):
    path = tmp_path / "roles.toml"
    path.write_text('[[role]]\ngroup = "CN=a,DC=b"\nrole = "reader"\nproject = "lung"\n')

    assert load_group_roles((str(path),)) == (GroupRole("CN=a,DC=b", Role.READER, "lung"),)


@pytest.mark.parametrize(
    "item", ["lung", "g=boss", "g=reader", "g=reader@", "g=administrator@lung", "=reader@lung"]
)
def test_what_gives_no_role_is_refused(item):
    with pytest.raises(SettingInvalid):
        load_group_roles((item,))


@pytest.mark.parametrize(
    "text",
    ["not toml", "role = 3", "[[roles]]\n", "[[role]]\nname = 'x'", "[[role]]\ngroup = 'x'"],
)
def test_a_file_that_gives_no_roles_is_refused_and_named(tmp_path, text):
    path = tmp_path / "roles.toml"
    path.write_text(text)

    with pytest.raises(SettingInvalid, match=r"roles\.toml"):
        load_group_roles((str(path),))


def test_a_file_that_is_not_there_is_refused_and_named():
    with pytest.raises(SettingInvalid, match=r"nowhere\.toml"):
        load_group_roles(("nowhere.toml",))
