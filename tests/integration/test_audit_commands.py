"""`medr1-pacs audit` and `export`, as somebody with a shell types them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from factories import SITE_KEY
from sqlalchemy import text
from typer.testing import CliRunner

from medr1_pacs.audit.notes import TreeHead, VerifierKey, parse_note, verify_note
from medr1_pacs.cli import app
from medr1_pacs.errors import LogInconsistent, SourceUnreadable, WitnessRefused

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def run(site, answered, monkeypatch, tmp_path):
    """Run a command over a site with an answered study; returns the result."""
    answered()
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_AUDIT_HEADS_FILE", str(tmp_path / "heads.jsonl"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def write(run, tmp_path):
    """Run a command and write what it prints to a file; returns its path."""

    def write(name, *arguments):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        path = tmp_path / name
        path.write_text(done.stdout)
        return path

    return write


def test_a_sound_database_is_verified(run):
    run("audit", "head")

    done = run("audit", "verify", "--database")

    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "VERIFIED"), done.output
    assert "records compared with their events" in done.stdout


def test_an_edited_database_is_not_and_says_where(run, database):
    run("audit", "head")
    with database.write() as session:
        session.execute(text("UPDATE answer SET choice = 'D' WHERE id = 1"))

    done = run("audit", "verify", "--database")

    assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, "NOT VERIFIED")
    assert "FAULT: answer 1:" in done.stdout


def test_heads_outside_show_that_an_older_copy_was_put_back(run, site):
    run("audit", "head")
    with (
        closing(sqlite3.connect(site.data_dir / "medr1.sqlite")) as here,
        closing(sqlite3.connect(":memory:")) as older,
    ):
        here.backup(older)
        run("accounts", "add", "ada")
        run("audit", "head")
        older.backup(here)

    done = run("audit", "verify", "--database")

    assert done.exit_code == 1
    assert "an older copy of it was put back" in done.stdout
    assert isinstance(run("audit", "head").exception, LogInconsistent)


def test_without_a_head_outside_nothing_shows_that_the_log_is_whole(run, tmp_path):
    run("audit", "head")
    assert run("audit", "verify", "--database").exit_code == 0
    (tmp_path / "heads.jsonl").unlink()

    done = run("audit", "verify", "--database")

    assert done.exit_code == 1
    assert "no head lies outside of the database" in done.stdout


def test_an_export_is_written_and_verified(run, write, tmp_path):
    key = write("key", "audit", "key") if run("audit", "head").exit_code == 0 else None
    head = write("head", "audit", "head")

    done = run("export", "--out", tmp_path / "export", "--everything", "--since-head", head)
    assert done.exit_code == 0, done.output
    assert "answers as of" in done.stdout
    checked = run(
        "audit", "verify", tmp_path / "export", "--key", key, "--expect-head", head,
        "--save-head", tmp_path / "kept",
    )  # fmt: skip

    assert (checked.exit_code, checked.stdout.splitlines()[-1]) == (0, "VERIFIED"), checked.output
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    assert (tmp_path / "kept").read_text() == manifest["log"]["head"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["audit", "verify"], "name the folder of an export, or --database"),
        (["audit", "verify", "x", "--database"], "name the folder of an export, or --database"),
        (["audit", "verify", "--database", "--save-head", "x"], "--save-head is for an export"),
        (["export", "--out", "x", "--format", "xlsx"], "use csv, jsonl, parquet"),
        (["export", "--out", "x", "--everything", "modality=CT"], "nothing to filter"),
    ],
)
def test_a_wrong_use_is_explained(run, arguments, what):
    done = run(*arguments)

    assert done.exit_code == 2
    assert what in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "it cannot be read: No such file or directory"),
        ("", "there is no key in it"),
        ("medr1-pacs/x+00000000+AAAA", r"not a whole key \(mistyped\?\)"),
    ],
)
def test_a_key_that_is_none_accuses_nobody(run, tmp_path, content, what):
    path = tmp_path / "log.key"
    if content is not None:
        path.write_text(content)

    done = run("audit", "verify", tmp_path, "--key", path)

    with pytest.raises(SourceUnreadable, match=what):
        raise done.exception


@pytest.mark.parametrize("how", ["plain", "quoted", "manifest", "no newline", "byte order mark"])
def test_a_head_is_read_however_it_was_kept(run, write, tmp_path, how):
    head = write("head", "audit", "head").read_text()
    run("export", "--out", tmp_path / "export")
    key = write("key", "audit", "key")
    kept = tmp_path / "kept"
    kept.write_text(
        {
            "plain": head,
            "quoted": json.dumps(head),
            "manifest": json.dumps({"log": {"head": head}}, indent=1),
            "no newline": head.rstrip("\n"),
            "byte order mark": "\ufeff" + head.replace("\n", "\r\n"),
        }[how],
        "utf-8",
    )

    done = run("audit", "verify", tmp_path / "export", "--key", key, "--expect-head", kept)

    assert done.exit_code == 0, done.output


# -- a witness -------------------------------------------------------------------------------------


@pytest.fixture
def witness(run, write, tmp_path):
    """Let another department cosign what is in a file; returns the result."""
    run("audit", "head")
    key = write("log.key", "audit", "key")
    return lambda source: run(
        "audit", "witness", source, "--name", "lab.hospital.org", "--log-key", key,
        "--witness-key", tmp_path / "lab.key", "--state", tmp_path / "state",
    )  # fmt: skip


def test_a_witness_cosigns_what_goes_on_from_what_it_saw(run, write, witness):
    first = witness(write("first", "audit", "head"))
    assert first.exit_code == 0, first.output
    lab = VerifierKey.parse(first.stderr.split("to hand on: ")[1].replace("\n", ""))
    run("accounts", "add", "ada")

    second = witness(write("proof", "audit", "proof", "--since-head", "first"))

    assert second.exit_code == 0, second.output
    for done in (first, second):
        note = parse_note(done.stdout)
        [cosignature] = verify_note(note, [lab])
        assert cosignature.timestamp is not None
    assert TreeHead.parse(parse_note(second.stdout).text).size > 0


def test_a_witness_wants_a_proof_from_the_head_it_saw(run, write, witness):
    witness(write("first", "audit", "head"))
    run("accounts", "add", "ada")

    done = witness(write("second", "audit", "head"))

    assert isinstance(done.exception, WitnessRefused)
    assert "a proof from it is needed" in str(done.exception)


def test_a_witness_cosigns_no_other_history(run, write, witness, tmp_path):
    witness(write("first", "audit", "head"))
    run("accounts", "add", "ada")
    proof = write("proof", "audit", "proof", "--since-head", "first")
    values = json.loads(proof.read_text())
    values["proof"] = ["0" * 64 for _ in values["proof"]]
    proof.write_text(json.dumps(values))
    before = (tmp_path / "state").read_text()

    done = witness(proof)

    assert isinstance(done.exception, WitnessRefused)
    assert "two histories" in str(done.exception)
    assert (tmp_path / "state").read_text() == before


def test_a_witness_cosigns_nothing_that_the_log_did_not_sign(run, write, witness, tmp_path):
    head = write("first", "audit", "head").read_text().splitlines()
    forged = tmp_path / "forged"
    forged.write_text("\n".join([head[0], "1", *head[2:], ""]))

    done = witness(forged)

    assert isinstance(done.exception, WitnessRefused)
    assert not (tmp_path / "state").exists()


def test_cosignatures_in_an_export_are_checked_with_it(run, write, witness, tmp_path):
    run("export", "--out", tmp_path / "export")
    head = tmp_path / "export-head"
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    head.write_text(manifest["log"]["head"])
    cosigned = witness(head)
    (tmp_path / "export" / "cosignatures.txt").write_text(cosigned.stdout)
    keys = tmp_path / "keys"
    lab = cosigned.stderr.split("to hand on: ")[1].replace("\n", "")
    keys.write_text((tmp_path / "log.key").read_text() + lab + "\n")

    done = run("audit", "verify", tmp_path / "export", "--key", keys)

    assert done.exit_code == 0, done.output
    assert "ok: the head is cosigned by lab.hospital.org at " in done.stdout
