"""An export, from the answers that somebody found to its file, with the sweep of a real service."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from verifiers import run_verifier
from whole_site import WholeSite

from medr1_pacs.processes import module_command
from medr1_pacs.storage.audit_files import load_signing_key

FINISHED_MS = 60_000


@pytest.fixture
def sweep(whole_site: WholeSite) -> Iterator[None]:
    """The process that has exports carried out."""
    data_dir = whole_site.settings.data_dir
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MEDR1_")}
    environ |= {
        "MEDR1_DATA_DIR": str(data_dir),
        "MEDR1_PROJECTS": str(whole_site.settings.projects),
        "MEDR1_AUDIT_HEADS_FILE": str(whole_site.settings.audit_heads_path),
    }
    with (data_dir.parent / "sweep.log").open("wb") as log:
        process = subprocess.Popen(
            module_command("medr1_pacs", "sweep"),
            env=environ,
            cwd=data_dir.parent,
            stdout=log,
            stderr=log,
        )
    yield
    process.terminate()
    assert process.wait(30) == 0


def test_found_answers_are_exported_watched_and_downloaded(page_of, sweep, whole_site, tmp_path):
    page = page_of("researcher", "/projects/lung/answers?modality=CT")
    page.get_by_role("link", name="Export these").click()
    page.get_by_role("button", name="Ask for an export").click()
    row = page.locator("table.exports tbody tr").first
    expect(row).to_contain_text("Modality: CT")
    expect(row).to_contain_text("waits")

    expect(row).to_contain_text("finished", timeout=FINISHED_MS)  # nobody loads the page again
    with page.expect_download() as started:
        row.get_by_role("link", name="Download").click()

    assert started.value.suggested_filename.startswith("lung-")
    with zipfile.ZipFile(started.value.path()) as archive:
        archive.extractall(tmp_path)
    key = tmp_path / "log.key"
    key.write_text(str(load_signing_key(whole_site.settings.audit_key_path).verifier) + "\n")
    [verifier] = tmp_path.glob("lung-*/verify.py")
    status, lines = run_verifier(verifier, "--key", key)
    assert (status, lines[-1]) == (0, "VERIFIED"), lines
