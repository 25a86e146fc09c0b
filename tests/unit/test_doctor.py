"""What doctor finds, and how bad it is."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from factories import NOON

from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.accounts import add_account
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.set_aside import replace_set_aside
from medr1_pacs.doctor import Finding, Severity, examine
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.steps.sealing import Sealer
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key, make_signing_key


@pytest.fixture
def private_umask():
    """Let what a test makes be private, as every entry point does."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def find(site, tmp_path, monkeypatch, private_umask):
    """Return what doctor finds about one subject of a site."""
    site.data_dir.chmod(0o700)
    for path in site.data_dir.rglob("*"):
        path.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_DATABASE_URL", site.database_url)

    def find(subject: str, **environ: str) -> Finding:
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        findings = examine(check_broker=lambda _: "there", check_packages=lambda _: "CPU only")
        return next(finding for finding in findings if finding.subject == subject)

    return find


on_sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


@on_postgresql
def test_a_vault_of_the_research_role_is_a_warning_with_its_remedy(find):
    finding = find("identity vault")

    assert finding.severity is Severity.WARNING
    assert "belong to the role of the research database" in finding.message
    assert "name it in MEDR1_VAULT_URL" in finding.message


@on_postgresql
def test_a_vault_with_a_role_of_its_own_is_none(find, site):
    # The test's server trusts everybody; who is asked for is what matters.
    url = site.vault_url.replace("medr1@127.0.0.1", "medr1@localhost")

    assert find("identity vault", MEDR1_VAULT_URL=url).severity is Severity.OK


@on_sqlite
def test_a_vault_that_is_a_file_is_none(find):
    assert find("identity vault").severity is Severity.OK


@on_sqlite
def test_a_private_site_is_good(find):
    assert find("permissions").severity is Severity.OK


@on_sqlite
@pytest.mark.parametrize("name", ["", "storage", "vault.sqlite", "medr1.sqlite", "site.key"])
def test_what_others_can_read_is_bad_and_named(find, site, name):
    (site.data_dir / "storage").mkdir()
    (site.data_dir / "site.key").touch()
    path = site.data_dir / name
    path.chmod(path.stat().st_mode | 0o044)

    finding = find("permissions")

    assert finding.severity is Severity.BAD
    assert f"`chmod -R go= {path}`" in finding.message


@on_sqlite
def test_a_group_that_may_read_is_none_of_the_others(find, site):
    site.data_dir.chmod(0o2770)

    assert find("permissions", MEDR1_GROUP_ACCESS="true").severity is Severity.OK


def test_a_warning_is_no_failure():
    finding = Finding("vault", Severity.WARNING, "it works")

    assert finding.is_ok
    assert json.loads(json.dumps(finding.to_json())) == {
        "subject": "vault",
        "is_ok": True,
        "severity": "warn",
        "message": "it works",
    }
    assert not replace(finding, severity=Severity.BAD).is_ok


def test_what_waits_for_a_person_is_a_warning(site, find):
    database = Database(site.database_url)
    file = SetAsideFile("1-0-0.dcm", "Input/output error", None, None, NOON)
    with database.write() as session:
        replace_set_aside(session, [file])
    database.dispose()

    finding = find("for a person")

    assert finding.severity is Severity.WARNING
    assert "1-0-0.dcm is set aside: Input/output error" in finding.message


def test_without_open_matters_doctor_says_so(find):
    assert find("for a person").severity is Severity.OK


@on_sqlite
def test_a_site_without_an_administrator_is_a_warning_with_its_remedy(find, database):
    finding = find("administrator")

    assert finding.severity is Severity.WARNING
    assert "`medr1-pacs accounts add NAME --role administrator`" in finding.message
    with database.write() as session:
        add_account(session, "anna", actor="test", now=NOON, is_administrator=True)
    assert find("administrator").severity is Severity.OK


@on_sqlite
@pytest.mark.parametrize(
    "environ", [{"MEDR1_WEB_HOST": "0.0.0.0"}, {"MEDR1_WEB_URL": "https://medr1.example.org"}]
)
def test_pages_that_are_reached_from_where_nobody_can_sign_in_are_a_warning(find, environ):
    finding = find("sign-in", **environ)

    assert finding.severity is Severity.WARNING
    assert "MEDR1_WEB_CERTIFICATE" in finding.message
    assert "MEDR1_TRUSTED_PROXIES" in finding.message
    assert find("sign-in", MEDR1_TRUSTED_PROXIES="10.0.0.1").severity is Severity.OK


@on_sqlite
def test_pages_for_this_machine_alone_are_good(find):
    assert find("sign-in").severity is Severity.OK


@on_sqlite
def test_a_certificate_that_cannot_be_read_is_bad_and_named(find, tmp_path):
    path = str(tmp_path / "missing.pem")
    finding = find("sign-in", MEDR1_WEB_CERTIFICATE=path, MEDR1_WEB_KEY=path)

    assert finding.severity is Severity.BAD
    assert "missing.pem" in finding.message


@on_sqlite
def test_without_any_way_to_sign_in_it_is_a_warning(find):
    assert find("sign-in", MEDR1_LOCAL_ACCOUNTS="false").severity is Severity.WARNING


# -- the audit log ---------------------------------------------------------------------------------


@pytest.fixture
def signed(site, tmp_path):
    """A log that is sealed and signed; returns the settings that find its heads."""
    database = Database(site.database_url)
    key = make_signing_key(site.audit_key_path, SigningKey.generate("medr1-pacs/test"))
    heads = tmp_path / "audit-heads.jsonl"
    with database.write() as session:
        add_event(session, "study.created", "study", 1)
    Sealer(database, (key,), HeadsFile(heads)).current_head()
    database.dispose()
    return {"MEDR1_AUDIT_HEADS_FILE": str(heads)}


def test_the_key_of_the_log_is_named_and_when_it_signed(find, site, signed):
    finding = find("audit log", **signed)

    key = load_signing_key(site.audit_key_path).verifier
    assert f"key medr1-pacs/test+{key.key_id:08x}, last signed 20" in finding.message or (
        finding.severity is Severity.WARNING and "owns the log" in finding.message
    )


@on_sqlite
def test_heads_in_the_data_folder_are_warned_of(find, site, signed):
    finding = find("audit log", MEDR1_AUDIT_HEADS_FILE=str(site.data_dir / "heads"))

    assert finding.severity is Severity.WARNING
    assert "name a file elsewhere in MEDR1_AUDIT_HEADS_FILE" in finding.message


@on_sqlite
def test_a_log_that_nobody_seals_is_warned_of(find, site, signed, monkeypatch):
    monkeypatch.setattr("medr1_pacs.doctor.UNSEALED_MAX_S", 0.0)
    database = Database(site.database_url)
    with database.write() as session:
        add_event(session, "study.created", "study", 2)
    database.dispose()

    finding = find("audit log", **signed)

    assert finding.severity is Severity.WARNING
    assert "1 events are not in the log" in finding.message


@on_sqlite
def test_a_log_that_was_signed_misses_its_key(find, site, signed):
    site.audit_key_path.unlink()

    finding = find("audit log", **signed)

    assert finding.severity is Severity.BAD
    assert "the key of the audit log is missing" in finding.message


@on_sqlite
def test_a_log_without_a_key_has_not_begun(find):
    assert "not begun yet" in find("audit log").message
