"""Which weights there are, and that their files are what they were."""

from __future__ import annotations

import json

import pytest

from medr1_pacs.checkpoints import (
    DEMO,
    MANIFEST_FILE,
    SUBFOLDERS,
    hash_files,
    load_registry,
    pull_checkpoint,
    verify_files,
)
from medr1_pacs.errors import CheckpointMissing, SettingInvalid

REVISION = "0123456789" * 4


@pytest.fixture
def pulled(tmp_path):
    """A weights folder with a pulled `ct`, of which only the files matter here."""
    folder = tmp_path / "ct" / REVISION
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / MANIFEST_FILE).write_text(json.dumps(hash_files(folder)))
    return tmp_path


def test_the_thirteen_published_checkpoints_have_the_names_of_the_contract():
    names = "ct mri xray us dermoscopy fundus oct microscopy"
    tasks = "anatomy disease grading recognition attributes"

    assert list(SUBFOLDERS) == f"{names} {tasks}".split()


def test_without_any_the_demo_checkpoint_stands_in(tmp_path):
    registry = load_registry(None, tmp_path)

    assert registry.is_demo
    assert registry.resolve("ct") == DEMO
    assert registry.get(DEMO).is_demo


def test_a_pulled_checkpoint_answers_for_itself(pulled):
    registry = load_registry(None, pulled)

    assert not registry.is_demo
    assert registry.resolve("ct") == "ct"
    assert registry.get("ct").revision == REVISION


def test_once_one_is_configured_the_others_are_missing_with_the_remedy(pulled):
    registry = load_registry(None, pulled)

    assert registry.resolve("mri") == "mri"
    with pytest.raises(CheckpointMissing, match="medr1-pacs checkpoints pull mri --revision"):
        registry.get("mri")


def test_two_pulled_revisions_need_a_choice(pulled):
    other = pulled / "ct" / ("f" * 40)
    (pulled / "ct" / REVISION).rename(other)
    (pulled / "ct" / REVISION).mkdir()
    (pulled / "ct" / REVISION / MANIFEST_FILE).write_text("{}")

    with pytest.raises(SettingInvalid, match="two revisions; name one in MEDR1_CHECKPOINTS"):
        load_registry(None, pulled)


def test_a_checkpoints_file_may_name_a_folder_beside_it(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    (tmp_path / "checkpoints.toml").write_text('[mri]\npath = "mine"\n')

    registry = load_registry(tmp_path / "checkpoints.toml", tmp_path / "weights")

    assert registry.get("mri").path == tmp_path / "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[cd]\nrevision = "x"', "there is no checkpoint 'cd'; the names are ct, mri"),
        ("[ct]", r"\[ct\] takes path"),
        ('[ct]\nfolder = "x"', r"\[ct\] takes path"),
        ("[ct", "cannot be read as TOML"),
    ],
)
def test_a_checkpoints_file_that_is_wrong_says_where(tmp_path, content, message):
    (tmp_path / "checkpoints.toml").write_text(content)

    with pytest.raises(SettingInvalid, match=message):
        load_registry(tmp_path / "checkpoints.toml", tmp_path)


def test_unchanged_files_have_one_hash(pulled):
    checkpoint = load_registry(None, pulled).get("ct")

    assert verify_files(checkpoint) == verify_files(checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "added.json"])
def test_a_file_that_changed_or_was_added_is_named(pulled, name):
    checkpoint = load_registry(None, pulled).get("ct")
    (checkpoint.path / name).write_bytes(b"other")

    with pytest.raises(CheckpointMissing, match=name):
        verify_files(checkpoint)


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [("cd", REVISION, "no checkpoint 'cd'"), ("ct", "main", "40 hexadecimal digits")],
)
def test_only_a_published_name_at_a_pinned_revision_is_pulled(tmp_path, name, revision, message):
    with pytest.raises(SettingInvalid, match=message):
        pull_checkpoint(name, revision, tmp_path)
