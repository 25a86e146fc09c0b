"""Making an export: what cannot be meant is refused unnoted, and what fails leaves nothing."""

from __future__ import annotations

import hashlib
import json

import pytest
from factories import SITE_KEY, make_instance
from typer.testing import CliRunner

from medr1_pacs.audit.notes import SignedNote, TreeHead, format_note, parse_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.cli import app
from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.db.tables import AuditEvent, ProjectStudy
from medr1_pacs.errors import ExportRefused, Interrupted, StorageUnavailable, WitnessRefused
from medr1_pacs.records.words import TableFormat
from medr1_pacs.steps.audit_keys import rotate_key
from medr1_pacs.steps.exporting import ExportRequest
from medr1_pacs.steps.importing_references import BroughtFile, import_references
from medr1_pacs.steps.making_exports import Exporter, make_export
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.audit_files import HeadsFile, make_signing_key

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def exporter(database, pictures, sealer):
    return Exporter(database, pictures, sealer, SITE_KEY)


@pytest.fixture
def out(tmp_path):
    """Where exports are made, beside nothing else."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def export(exporter, out):
    """Export all of the project; returns the folder."""

    def export(name="export", *, as_of=None, since_head=None, progress=None, **request):
        make_export(
            exporter,
            out / name,
            ExportRequest(**{"project": "default", "filters": EVERYTHING} | request),
            actor="ada",
            as_of=as_of,
            since_head=since_head,
            **({"progress": progress} if progress else {}),
        )
        return out / name

    return export


@pytest.fixture
def bring(database, vault):
    """Say what is true of a study."""

    def bring(truth="Nodule or mass"):
        lines = f"accession_number,question_id,truth\nA-1,ct-lung-pattern,{truth}"
        file = BroughtFile(data=lines.encode(), project="default")
        return import_references(database, vault, file, {}, actor="ada")

    return bring


def count_noted(rows):
    return [event.action for event in rows(AuditEvent)].count("project.exported")


def size_of(head):
    return TreeHead.parse(parse_note(head).text).size


# -- what cannot be meant --------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize("as_of", [-1, 10**9, 10**30])
def test_as_of_what_has_not_happened_is_refused_before_it_is_noted(
    answered, export, rows, out, as_of
):
    answered()

    with pytest.raises(ExportRefused, match=rf"the audit log has \d+ events: .* {as_of} yet"):
        export(as_of=as_of)

    assert count_noted(rows) == 0
    assert list(out.iterdir()) == []


@sqlite
def test_a_kept_head_that_is_later_than_the_export_is_no_alarm(answered, export, sealer, rows):
    answered()
    early = size_of(sealer.current_head())
    answered(make_instance())
    kept = sealer.current_head()

    message = f"of {size_of(kept)} events, later than the head of {early}"
    with pytest.raises(ExportRefused, match=message):
        export(as_of=early, since_head=kept)

    assert count_noted(rows) == 0


@sqlite
def test_a_kept_head_that_is_later_than_the_log_is_one(answered, export, sealer, rows):
    answered()
    text = TreeHead(sealer.origin, 10**6, bytes(32)).text()
    kept = format_note(SignedNote(text, (sealer._keys[0].sign(text),)))

    with pytest.raises(WitnessRefused, match="it was cut off"):
        export(since_head=kept)

    assert count_noted(rows) == 0


@sqlite
def test_what_is_no_head_of_this_log_is_refused_before_it_is_noted(answered, export, sealer, rows):
    answered()
    text = parse_note(sealer.current_head()).text
    other, impostor = (SigningKey.generate(name) for name in ("elsewhere", sealer.origin))
    elsewhere = TreeHead("elsewhere", 1, bytes(32)).text()

    for kept, message in (
        ("no head at all", "the head you kept is none"),
        (format_note(SignedNote(elsewhere, (other.sign(elsewhere),))), "of the log elsewhere"),
        (format_note(SignedNote(text, (impostor.sign(text),))), "no key of this log signed"),
    ):
        with pytest.raises(ExportRefused, match=message):
            export(since_head=kept)

    assert count_noted(rows) == 0


@sqlite
def test_a_head_of_a_key_that_was_replaced_is_gone_on_from(
    answered, database, pictures, site, tmp_path, out
):
    answered()
    heads = HeadsFile(tmp_path / "heads.jsonl")
    key_path = site.data_dir / "audit.key"
    old = make_signing_key(key_path, SigningKey.generate("medr1-pacs/test"))
    kept = Sealer(database, (old,), heads).current_head()
    new = rotate_key(database, key_path, heads, actor="operator")
    exporter = Exporter(database, pictures, Sealer(database, (new,), heads), SITE_KEY)
    request = ExportRequest(project="default", filters=EVERYTHING)

    make_export(exporter, out / "export", request, actor="ada", since_head=kept)

    proof = json.loads((out / "export" / "consistency.json").read_text())
    assert proof["first_head"] == kept


@sqlite
def test_parquet_without_its_package_is_refused_before_it_is_noted(
    answered, export, rows, monkeypatch
):
    answered()
    monkeypatch.setattr("medr1_pacs.steps.exporting.find_spec", lambda name: None)

    with pytest.raises(ExportRefused, match=r"pip install 'medr1-pacs\[parquet\]'"):
        export(formats=(TableFormat.CSV, TableFormat.PARQUET))

    assert count_noted(rows) == 0


# -- what fails ------------------------------------------------------------------------------------


@sqlite
def test_after_a_failure_an_empty_folder_is_empty_and_takes_the_next_try(answered, export, out):
    answered()
    (out / "export").mkdir()

    def fail(table, rows):
        if table == "events.jsonl":
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        export(progress=fail)

    assert list(out.rglob("*")) == [out / "export"]
    assert (export() / "manifest.json").exists()


def test_an_export_during_which_a_study_was_withdrawn_is_not_kept(
    answered, export, out, ask_to_withdraw, withdrawer, rows
):
    answered()
    answered(make_instance())
    gone = next(use.study_id for use in rows(ProjectStudy))

    def withdraw(table, _):
        if table == "questions":
            ask_to_withdraw(rows=[gone])
            withdrawer.carry_out()

    with pytest.raises(Interrupted, match="a study was withdrawn while it was exported"):
        export(progress=withdraw)

    assert list(out.iterdir()) == []


@sqlite
def test_a_study_that_was_withdrawn_before_stops_no_export(
    answered, export, ask_to_withdraw, withdrawer
):
    answered()
    ask_to_withdraw(rows=[1])
    withdrawer.carry_out()

    assert (export() / "manifest.json").exists()


# -- pictures --------------------------------------------------------------------------------------


@sqlite
def test_a_list_names_the_pictures_and_the_manifest_the_list(answered, bring, export):
    answered(make_instance())
    bring()

    folder = export()

    files = json.loads((folder / "manifest.json").read_text())["files"]
    listed = (folder / "med-r1" / "images.txt").read_text().splitlines()
    laid_beside = sorted((folder / "med-r1" / "images").iterdir())
    assert "med-r1/images.txt" in files
    assert not any(name.endswith(".png") for name in files)
    assert sorted(listed) == [path.stem for path in laid_beside] != []
    for path in laid_beside:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@sqlite
def test_without_pictures_the_list_of_them_is_empty(answered, bring, export):
    answered(make_instance())
    bring()

    folder = export(has_pictures=False)

    assert (folder / "med-r1" / "images.txt").read_bytes() == b""
    assert not (folder / "med-r1" / "images").exists()


@sqlite
def test_a_lost_picture_is_not_listed(answered, bring, export, pictures):
    answered(make_instance())
    bring()
    for stored in pictures.list_stored():
        for png_sha256 in stored:
            pictures.discard(png_sha256)

    assert (export() / "med-r1" / "images.txt").read_bytes() == b""


# -- where it is written ---------------------------------------------------------------------------


@pytest.fixture
def run(site, answered, monkeypatch, tmp_path):
    """Run `medr1-pacs export` over a site with an answered study; returns the result."""
    answered()
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_AUDIT_HEADS_FILE", str(tmp_path / "heads.jsonl"))
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)])


@sqlite
@pytest.mark.parametrize("name", ["file/export", "/proc/export", "link", "file"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_noted(run, out, rows, name):
    (out / "file").touch()
    (out / "link").symlink_to(out / "nowhere")

    done = run("--out", out / name)

    assert isinstance(done.exception, StorageUnavailable | ExportRefused), done.exception
    assert str(out / name) in str(done.exception)
    assert "name another folder" in str(done.exception)
    assert count_noted(rows) == 0
