"""Somebody who writes the database, or an export, and has no key: what they change is located.

A thousand tamperings, kinds in turn and victims at random, each with a seed of its own: by its
number any of them is done again. The table at the end of a run says what was found by whom.

Not found by an export is what lies outside of it: of other projects, or nobody's record.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import database_tampering
import export_tampering
import pytest
from audited_site import REQUESTS, AuditedSite, open_audited_site
from database_tampering import Expected, Scene
from servers import PostgresqlServer
from verifiers import run_verifier

from medr1_pacs.audit.export_form import KEY_OF, RECORDS
from medr1_pacs.audit.findings import Finding
from medr1_pacs.db.accounts import add_account
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ExportRefused
from medr1_pacs.steps.audit_keys import restart_log, rotate_key
from medr1_pacs.steps.exporting import write_export
from medr1_pacs.steps.verifying import KeptHead, LogReport, verify_database
from medr1_pacs.storage.audit_files import HeadsFile, make_signing_key
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.verifier.export_check import ExportReport, check_export
from medr1_pacs.verifier.standalone import assemble_verifier

OF_DATABASES, OF_EXPORTS = 372, 628
"""Tamperings of a run."""
EXPORTED_EVERY, RUN_EVERY = 8, 17
"""Of so many tampered databases one is exported, of so many exports one is checked by a program."""
ON_POSTGRESQL = (
    "edit answer of an answer",
    "edit prompt of an answer",
    "edit a role",
    "insert reference_standard",
    "edit reading_case",
    "delete review",
    "edit of which kind a read is, or in which arm",
    "delete question",
    "edit a record and let an event that says so be sealed",
    "edit an event",
    "edit an event and its leaf",
    "delete an event and close the gap",
    "swap the events of two leaves",
    "cut the log off",
    "rewrite the log, heads signed by another key of its name",
)
_DATABASES, _EXPORTS = database_tampering.KINDS, export_tampering.KINDS


# -- the site --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditedSite]:
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(migrated_sqlite, folder / "data")
    with open_audited_site(folder, folder / "data") as site:
        yield site


@pytest.fixture
def scene(site: AuditedSite, tmp_path: Path) -> Iterator[Scene]:
    path = tmp_path / "tampered.sqlite"

    def put_back() -> None:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(site.database, path)

    scene = Scene(site, f"sqlite:///{path}", put_back)
    scene.reset()
    yield scene
    scene.database.dispose()


@pytest.fixture(scope="module")
def exported(site: AuditedSite) -> set[tuple[str, int]]:
    """What the exports of a whole database have: (kind of record, or `event`; id).

    Of events those that are there by their scope; others by what they say that they are about.
    """
    folder = export_tampering.Folder(site.exports["jsonl"], site, random.Random(0))
    found = {
        (kind, row[KEY_OF[kind]])
        for table, kind in RECORDS.items()
        for row in folder.rows(f"{table}.jsonl")
    }
    found |= {(row["kind"], row["id"]) for row in folder.rows("withdrawn.jsonl")}
    events = folder.rows("events.jsonl")
    return found | {("event", row["event"]) for row in events if row["scope"] != [None, None]}


class Table:
    """Counts, by kind, what was tried and what was found."""

    COLUMNS = ("tried", "located", "exported", "located by it", "refused")

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: dict[str, Counter[str]] = {}
        self.missed: list[str] = []

    def count(self, kind: str, column: str) -> None:
        self._rows.setdefault(kind, Counter())[column] += 1

    def miss(self, kind: str, seed: str, expected: Expected, missing: Any, found: Any) -> None:
        self.missed.append(
            f"{seed}: {kind}: {expected.what}: not located: {missing}; found: "
            + "; ".join(map(str, found))[:600]
        )

    def __str__(self) -> str:
        columns = [each for each in self.COLUMNS if any(row[each] for row in self._rows.values())]
        width = max(map(len, self._rows))
        lines = [f"{self._title:{width}}  " + "  ".join(columns)]
        total: Counter[str] = Counter()
        for row in self._rows.values():
            total += row
        for kind, row in [*self._rows.items(), ("all", total)]:
            numbers = "  ".join(f"{row[each]:>{len(each)}}" for each in columns)
            lines.append(f"{kind:{width}}  {numbers}")
        return "\n".join(lines)


def _in_turn(kinds: Sequence[str], number: int) -> Iterator[tuple[str, str]]:
    """Yield (kind, seed)."""
    for n in range(number):
        yield kinds[n % len(kinds)], f"tampering {n}"


# -- databases -------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "exported_every"),
    [
        pytest.param(OF_DATABASES, EXPORTED_EVERY, id="in-turn"),
        pytest.param(10 * OF_DATABASES, 1, id="ten-times", marks=pytest.mark.soak),
    ],
)
def test_what_is_changed_in_a_database_is_located(
    site: AuditedSite,
    scene: Scene,
    exported: set[tuple[str, int]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    number: int,
    exported_every: int,
) -> None:
    table = Table("tampered databases")
    for n, (kind, seed) in enumerate(_in_turn(list(_DATABASES), number)):
        expected = scene.tamper(kind, random.Random(seed))
        table.count(kind, "tried")
        report = _verify(scene, expected)
        if missing := expected.missing(report.findings):
            table.miss(kind, seed, expected, missing, report.findings)
        else:
            table.count(kind, "located")
        is_due = n % len(_DATABASES) % exported_every == n // len(_DATABASES) % exported_every
        if is_due and expected.can_be_exported:
            _export(scene, kind, seed, expected, exported, tmp_path / "export", table)
    record_property("table", str(table))
    assert "\n".join(table.missed) == ""


def _verify(scene: Scene, expected: Expected) -> LogReport:
    kept = scene.site.heads if expected.kept is None else expected.kept
    return verify_database(scene.database, [scene.site.key.verifier], kept)


def _export(
    scene: Scene,
    kind: str,
    seed: str,
    expected: Expected,
    exported: set[tuple[str, int]],
    folder: Path,
    table: Table,
) -> None:
    """Export what was tampered with, as an honest service does that suspects nothing."""
    named = {*expected.records, *(("event", event) for event in expected.events)} & exported
    pictures = PictureStore(scene.site.settings.data_dir / "storage")
    head = scene.site.heads[-1].note
    shutil.rmtree(folder, ignore_errors=True)
    table.count(kind, "exported")
    try:
        write_export(scene.database, pictures, folder, REQUESTS["jsonl"], head, scene.site.key)
    except ExportRefused:
        table.count(kind, "refused")
        return
    report = check_export(folder, [scene.site.key.verifier])
    missing = {each for each in named if not _is_named(report.findings, *each)}
    if missing:
        table.miss(kind, f"{seed}, exported", expected, missing, report.findings)
    elif named:
        table.count(kind, "located by it")


def _is_named(findings: Sequence[Finding], kind: str, row_id: int) -> bool:
    pattern = re.compile(rf"(^|, ){kind} {row_id}(?!\d)")
    return any(one.is_fault and pattern.search(one.where) for one in findings)


# -- exports ---------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(OF_EXPORTS, id="in-turn"),
        pytest.param(10 * OF_EXPORTS, id="ten-times", marks=pytest.mark.soak),
    ],
)
def test_what_is_changed_in_an_export_is_located(
    site: AuditedSite,
    verifier: Callable[[Path], tuple[int, str]],
    record_property: Callable[[str, object], None],
    number: int,
) -> None:
    table = Table("tampered exports")
    key = site.key.verifier
    for n, (kind, seed) in enumerate(_in_turn(list(_EXPORTS), number)):
        rng = random.Random(seed)
        folder = rng.choice(sorted(site.exports.values()))
        changed, expected = export_tampering.tamper(kind, folder, site, rng)
        try:
            table.count(kind, "tried")
            report = check_export(changed.path, [key], _kept(expected))
            if missing := expected.missing(report.findings):
                table.miss(kind, seed, expected, missing, report.findings)
            else:
                table.count(kind, "located")
            assert report.is_sound is (expected.remark is not None), (seed, kind)
            if n % RUN_EVERY == 0 and not expected.kept:
                assert verifier(changed.path) == _as_program(report), (seed, kind)
        finally:
            changed.undo()
    record_property("table", str(table))
    assert "\n".join(table.missed) == ""


def _kept(expected: Expected) -> list[tuple[str, str]]:
    return [(head.where, head.note) for head in expected.kept or ()]


def _as_program(report: ExportReport) -> tuple[int, str]:
    return (0 if report.is_sound else 1), "".join(f"{line}\n" for line in report.lines())


@pytest.fixture
def verifier(site: AuditedSite, tmp_path: Path) -> Callable[[Path], tuple[int, str]]:
    """Run the verifier as somebody does who has Python and nothing of ours."""
    program, key = tmp_path / "verify.py", tmp_path / "key"
    program.write_text(assemble_verifier(), "utf-8")
    key.write_text(f"{site.key.verifier}\n", "utf-8")

    def run(folder: Path) -> tuple[int, str]:
        status, lines = run_verifier(program, folder, "--key", key)
        return status, "".join(f"{line}\n" for line in lines)

    return run


# -- on PostgreSQL ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgresql_scene(
    migrated_postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    server = migrated_postgresql
    server.start()
    folder = tmp_path_factory.mktemp("audited-postgresql")
    (folder / "data").mkdir()
    names = "audited_site", "audited_copy"
    url = server.create_database(names[0], "medr1_template")
    with open_audited_site(folder, folder / "data", url) as site:
        made: list[str] = []

        def put_back() -> None:
            if made:
                server.drop_database(names[1])
            made.append(server.create_database(names[1], names[0]))

        put_back()
        scene = Scene(site, made[0], put_back)
        yield scene
        scene.database.dispose()
    for name in names:
        server.drop_database(name)


@pytest.mark.parametrize("kind", ON_POSTGRESQL)
def test_what_is_changed_on_postgresql_is_located(postgresql_scene: Scene, kind: str) -> None:
    expected = postgresql_scene.tamper(kind, random.Random(kind))

    assert expected.missing(_verify(postgresql_scene, expected).findings) == []


# -- what is no tampering --------------------------------------------------------------------------


def test_copies_that_nobody_touched_give_no_finding(
    site: AuditedSite, scene: Scene, verifier: Callable[[Path], tuple[int, str]]
) -> None:
    report = verify_database(scene.database, [site.key.verifier], site.heads)
    assert (report.findings, report.is_sound) == ([], True)
    for folder in site.exports.values():
        report = check_export(folder, [site.key.verifier], [_where(site.heads[0])])
        assert (report.findings, report.is_sound) == ([], True)
        exit_status, said = verifier(folder)
        assert (exit_status, said.splitlines()[-1]) == (0, "VERIFIED")


def test_a_day_of_work_after_a_head_gives_no_finding(
    site: AuditedSite, scene: Scene, tmp_path: Path
) -> None:
    heads_path = tmp_path / "heads.jsonl"
    sealer = site.sealer(scene.database, heads_path)
    _work(scene.database)

    unsealed = verify_database(scene.database, [site.key.verifier], site.heads)
    kept = KeptHead("the head of the day", sealer.current_head())
    sealed = verify_database(scene.database, [site.key.verifier], [*site.heads, kept])

    assert (unsealed.findings, unsealed.unsealed) == ([], 2)
    assert (sealed.findings, sealed.is_sound, sealed.unsealed) == ([], True, 0)


def test_another_key_and_another_log_give_no_fault(
    site: AuditedSite, scene: Scene, tmp_path: Path
) -> None:
    heads, key_path = HeadsFile(tmp_path / "heads.jsonl"), tmp_path / "audit.key"
    site.sealer(scene.database, heads.path)
    make_signing_key(key_path, site.key)

    rotate_key(scene.database, key_path, heads, actor=OPERATOR)
    _work(scene.database)
    rotated = verify_database(scene.database, [site.key.verifier], [*site.heads, _last(heads)])
    key_path.unlink()
    new = restart_log(scene.database, key_path, heads, reason="A test", actor=OPERATOR)
    restarted = verify_database(scene.database, [new.verifier], [_last(heads)])
    by_old_key = verify_database(scene.database, [site.key.verifier], site.heads)

    assert (rotated.findings, rotated.is_sound) == ([], True)
    assert restarted.is_sound
    assert [one.is_fault for one in restarted.findings] == [False]  # the earlier log, which ended
    assert by_old_key.is_sound


def _work(database: Database) -> None:
    now = datetime.now(UTC)
    with database.write() as session:
        for name in ("one-more", "and-another"):
            add_account(session, name, actor="administrator", now=now)


def _where(head: KeptHead) -> tuple[str, str]:
    return head.where, head.note


def _last(heads: HeadsFile) -> KeptHead:
    last = heads.read_last()
    assert last is not None
    return KeptHead("the last head", last.note)
