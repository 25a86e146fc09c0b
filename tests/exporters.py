"""Exports of a site made and checked, for the tests of what is in them."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from factories import SITE_KEY
from verifiers import run_verifier

from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.steps.exporting import ExportRequest
from medr1_pacs.steps.importing_references import BroughtFile, import_references
from medr1_pacs.steps.making_exports import Exporter, make_export

QUESTION = "ct-lung-pattern"


@pytest.fixture
def key():
    return SigningKey.generate("medr1-pacs/test")


@pytest.fixture
def export(database, pictures, sealer, key, tmp_path):
    """Export a project into a new folder, by default all of it; returns the folder."""
    numbers = itertools.count()

    def export(project="default", *, as_of=None, since_head=None, **request):
        folder = tmp_path / f"export-{next(numbers)}"
        make_export(
            Exporter(database, pictures, sealer, SITE_KEY),
            folder,
            ExportRequest(project=project, **{"filters": EVERYTHING} | request),
            actor="ada",
            as_of=as_of,
            since_head=since_head,
        )
        return folder

    return export


@pytest.fixture
def verify(key, tmp_path):
    """Run the verifier of an export, in Python alone; returns its exit status and what it says."""
    key_file = tmp_path / "log.key"
    key_file.write_text(f"# the key of the log\n{key.verifier}\n")

    def verify(folder, *arguments, has_key=True):
        trusted = ["--key", key_file] if has_key else []
        status, lines = run_verifier(folder / "verify.py", *trusted, *arguments)
        return status, "".join(f"{line}\n" for line in lines)

    return verify


@pytest.fixture
def bring(database, vault):
    """Import what somebody says is true of a study."""

    def bring(truth, *, actor="ada"):
        lines = ["accession_number,question_id,truth", f"A-1,{QUESTION},{truth}"]
        file = BroughtFile(data="\n".join(lines).encode(), project="default")
        return import_references(database, vault, file, {}, actor=actor)

    return bring


def read_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_csv(folder, table):
    return list(csv.DictReader(io.StringIO((folder / f"{table}.csv").read_text("utf-8"))))


def size_of(folder):
    return json.loads((folder / "manifest.json").read_text())["log"]["size"]
