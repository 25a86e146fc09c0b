"""The folder of an export: all of it, or nothing that looks like one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from medr1_pacs.errors import ExportRefused, StorageFull, StorageUnavailable
from medr1_pacs.exports.cells import Table
from medr1_pacs.records.words import TableFormat
from medr1_pacs.storage.durable import named_failures
from medr1_pacs.storage.export_folder import ExportFolder, written_at_once

KILLED = """
import os, signal, sys
from pathlib import Path
from medr1_pacs.storage.export_folder import written_at_once

with written_at_once(Path(sys.argv[1])) as folder:
    (folder / "answers.csv").write_text("answer_id")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_gets_its_name_when_all_is_written(tmp_path, is_there):
    wanted = tmp_path / "export"
    if is_there:
        wanted.mkdir()

    with written_at_once(wanted) as folder:
        (folder / "answers.csv").write_text("answer_id")
        assert not list(wanted.glob("*"))

    assert [path.name for path in wanted.iterdir()] == ["answers.csv"]
    assert list(tmp_path.iterdir()) == [wanted]


@pytest.mark.parametrize("is_there", [False, True])
def test_of_what_fails_nothing_stays(tmp_path, is_there):
    wanted = tmp_path / "export"
    if is_there:
        wanted.mkdir()

    with suppress(KeyboardInterrupt), written_at_once(wanted) as folder:
        (folder / "answers.csv").write_text("answer_id")
        raise KeyboardInterrupt

    assert list(tmp_path.rglob("*")) == [wanted] * is_there


def test_what_is_killed_looks_unfinished_and_is_in_nobodys_way(tmp_path):
    wanted = tmp_path / "export"
    subprocess.run([sys.executable, "-c", KILLED, str(wanted)], check=False)

    [left] = tmp_path.iterdir()
    assert left.name.startswith(".export.unfinished-")
    with written_at_once(wanted):
        pass
    assert wanted.is_dir()


def test_a_link_to_an_empty_folder_leads_there(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "export").symlink_to(tmp_path / "disk")

    with written_at_once(tmp_path / "export") as folder:
        (folder / "answers.csv").touch()

    assert (tmp_path / "disk" / "answers.csv").exists()
    assert (tmp_path / "export").is_symlink()


def test_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "export").symlink_to(tmp_path / "nowhere")

    with (
        pytest.raises(ExportRefused, match="is a link to nothing"),
        written_at_once(tmp_path / "export"),
    ):
        pass


def test_the_folder_one_stands_in_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ExportRefused, match="name a folder in it"), written_at_once(tmp_path):
        pass


def test_every_format_of_a_table_is_told_with_its_rows(tmp_path):
    folder = ExportFolder(tmp_path, tuple(TableFormat))

    folder.write_table("answers", Table({"answer_id": "int"}), [["1"], ["2"]])

    assert folder.rows == {"answers": 2}
    assert {name: told["rows"] for name, told in folder.files.items()} == {
        "answers.csv": 2,
        "answers.jsonl": 2,
        "answers.parquet": 2,
    }


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StorageFull, "--out x is full: No space left on device; make room"),
        (errno.EACCES, StorageUnavailable, "--out x cannot be written: Permission denied; make"),
    ],
)
def test_a_failure_names_the_folder_and_the_remedy(number, kind, message):
    with pytest.raises(kind, match=message), named_failures("--out x", remedy="make room"):
        raise OSError(number, os.strerror(number))
