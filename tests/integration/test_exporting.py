"""An export: complete, the same for the same head, and checked by what travels with it."""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import UTC, datetime

import duckdb
import pandas
import pytest
from exporters import read_csv, read_files, size_of
from factories import make_instance, make_uid
from sqlalchemy import select, update

from medr1_pacs.audit.canonical import commit
from medr1_pacs.audit.events import COMMITTED, leaf_of
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.accounts import add_account, give_role, remove_role
from medr1_pacs.db.exported_answers import EVERYTHING
from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import Answer, AnswerFacet, AuditEvent
from medr1_pacs.db.verifying import iterate_places
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import ExportRefused
from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.research import FIELDS
from medr1_pacs.records.words import Modality, Role
from medr1_pacs.steps.citing import make_snapshot
from medr1_pacs.steps.exporting import TableFormat
from medr1_pacs.verifier.export_check import check_export

ALL_FORMATS = (TableFormat.CSV, TableFormat.JSONL, TableFormat.PARQUET)


def test_an_export_is_verified_by_the_program_in_it(answered, bring, export, verify):
    answered(make_instance())
    bring("Nodule or mass")
    bring("Emphysema or bullae")

    status, said = verify(export(formats=ALL_FORMATS))

    assert (status, said.splitlines()[-1]) == (0, "VERIFIED"), said


def test_without_a_key_from_outside_nothing_is_verified(answered, export, verify):
    answered()

    status, said = verify(export(), has_key=False)

    assert status == 1
    assert "the signature is unchecked" in said
    assert "FAULT" not in said


def test_a_key_of_somebody_else_verifies_nothing(answered, export, tmp_path):
    answered()
    other = SigningKey.generate("medr1-pacs/test").verifier

    report = check_export(export(), [other])

    assert not report.is_sound
    assert any("none of the keys that you trust" in str(each) for each in report.findings)


def test_a_truth_that_no_reference_states_is_found(answered, bring, export, verify, database):
    answered(make_instance())
    bring("Emphysema or bullae")
    with database.write() as session:
        session.execute(update(AnswerFacet).values(truth="Nodule or mass"))

    status, said = verify(export())

    assert status == 1
    assert "`truth` is not what the references say" in said


def test_the_head_of_a_verified_export_is_saved_once(answered, export, verify, tmp_path):
    answered()
    folder, head = export(), tmp_path / "head"

    assert [verify(folder, "--save-head", head)[0] for _ in range(2)] == [0, 0]
    assert (
        head.read_text("utf-8") == json.loads((folder / "manifest.json").read_text())["log"]["head"]
    )


def test_the_head_of_an_export_that_is_not_verified_is_not_saved(
    answered, export, verify, tmp_path
):
    answered()
    folder, head = export(), tmp_path / "head"
    (folder / "answers.csv").write_text("none")

    assert verify(folder, "--save-head", head)[0] == 1
    assert not head.exists()


def test_every_answer_is_in_it_as_research_sees_it(answered, export, database):
    answered(make_instance(), make_instance())
    answered(raw_output="=HYPERLINK()\r\n'quoted', \"so\" and so")
    folder = export(formats=(TableFormat.CSV, TableFormat.JSONL))

    found = [each.to_json() for each in iterate_found(database, "default", EVERYTHING)]

    exported = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [{name: row[name] for name in FIELDS} for row in exported] == found
    expected = "".join(csv_lines(list(exported[0]), exported))
    assert (folder / "answers.csv").read_bytes().decode() == expected


def test_what_filters_leave_out_is_named_with_the_reason(answered, export, verify):
    answered()
    answered(*make_study(Modality.XRAY, 2), checkpoint="demo")

    folder = export(filters=AnswerFilters(task=("Modality Recognition",)))

    reasons = {row["reason"] for row in read_csv(folder, "left_out")}
    counts = {row["name"]: int(row["number"]) for row in read_csv(folder, "counts")}
    assert reasons == {"demo", "filter"}
    assert counts["answered"] == counts["exported"] + counts["left_out"] > counts["exported"] > 0
    assert verify(folder)[0] == 0


def do_a_days_work(answered, bring, database, export):
    """Let happen in a day what can change what is current: of studies, truths and people."""
    now = datetime.now(UTC)
    # Late instances, all on one side: other versions, with other middle slices.
    answered(make_instance(ImagePositionPatient=[0, 0, 5]))
    answered(*(make_instance(ImagePositionPatient=[0, 0, z]) for z in (10, 15)))
    answered(*make_study(Modality.XRAY, 3))
    bring("Emphysema or bullae")
    with database.write() as session:
        add_account(session, "bob", actor="operator", now=now)
        for role in (Role.AUDITOR, Role.READER):
            give_role(session, "bob", role, "default", rules=ProjectRules(), actor="ada", now=now)
        remove_role(session, "bob", Role.READER, "default", actor="ada")
    make_snapshot(database, "default", "Table 1", AnswerFilters(), actor="ada")
    export(filters=AnswerFilters())


def test_an_export_made_again_as_of_the_same_head_has_the_same_bytes(
    answered, bring, export, database
):
    answered(make_instance())
    answered(*make_study(Modality.XRAY, 1))
    bring("Nodule or mass")
    requests = [
        {"formats": ALL_FORMATS},
        {"filters": AnswerFilters()},
        {"filters": AnswerFilters(truth=("right", "wrong"))},
    ]
    before = [export(**request) for request in requests]
    sizes = [size_of(folder) for folder in before]

    do_a_days_work(answered, bring, database, export)
    after = [export(**request, as_of=size) for request, size in zip(requests, sizes, strict=True)]

    for first, second in zip(before, after, strict=True):
        assert read_files(second) == read_files(first)
    now = export()
    assert len(read_csv(now, "answers")) > len(read_csv(before[0], "answers")) > 0
    was, is_now = (
        {row["answer_id"]: row for row in read_csv(folder, "answers")}
        for folder in (before[0], now)
    )
    changed = {
        name
        for answer_id in was
        for name in was[answer_id]
        if was[answer_id][name] != is_now[answer_id][name]
    }
    assert {"is_current", "truth"} <= changed


def test_an_equal_picture_sent_again_changes_nothing_of_an_earlier_day(answered, export, database):
    first = make_instance()
    answered(first)
    before = export()
    corrected = make_instance(SOPInstanceUID=first.SOPInstanceUID, StudyDescription="Corrected")
    corrected.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    answered(corrected)

    assert read_files(export(as_of=size_of(before))) == read_files(before)


def test_as_of_takes_the_last_head_signed_until_then(answered, export, database):
    answered()
    size = size_of(export())
    answered(make_instance())

    assert size_of(export(as_of=size + 3)) == size


def test_before_the_first_head_there_is_nothing_to_export(answered, export):
    answered()

    with pytest.raises(ExportRefused, match="no head of the log was signed at or before 1 events"):
        export(as_of=1)


def test_what_was_withdrawn_since_is_said_and_the_rest_is_the_same(
    answered, bring, export, verify, ask_to_withdraw, withdrawer
):
    gone = make_instance()
    answered(gone)
    answered(*make_study(Modality.XRAY, 1))
    bring("Nodule or mass")
    before = export()
    ask_to_withdraw(str(gone.StudyInstanceUID))
    withdrawer.carry_out()

    after = export(as_of=size_of(before))

    withdrawn = [json.loads(line) for line in (after / "withdrawn.jsonl").read_text().splitlines()]
    answers = {row["answer_id"]: row for row in read_csv(before, "answers")}
    left = {row["answer_id"]: row for row in read_csv(after, "answers")}
    gone_ids = {str(each["id"]) for each in withdrawn if each["kind"] == "answer"}
    assert gone_ids
    assert gone_ids == answers.keys() - left.keys()
    assert all(left[answer_id] == answers[answer_id] for answer_id in left)
    assert read_files(after)["leaves.bin"] == read_files(before)["leaves.bin"]
    status, said = verify(after)
    assert status == 0, said
    assert f"{len(withdrawn)} withdrawn records are what their events say" in said


def test_pandas_and_duckdb_read_what_was_written(answered, export):
    answered(make_instance())
    answered()
    folder = export(formats=ALL_FORMATS)
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    ids = [row["answer_id"] for row in rows]

    frames = [
        pandas.read_csv(folder / "answers.csv"),
        pandas.read_json(folder / "answers.jsonl", lines=True),
        pandas.read_parquet(folder / "answers.parquet"),
        *(
            duckdb.sql(f"SELECT * FROM '{folder}/answers.{each}' ORDER BY answer_id").df()
            for each in ALL_FORMATS
        ),
    ]

    for frame in frames:
        assert list(frame["answer_id"]) == ids
        assert list(frame["raw_output"]) == [row["raw_output"] for row in rows]
        assert list(frame["seconds"]) == [row["seconds"] for row in rows]
        assert list(frame["is_current"]) == [row["is_current"] for row in rows]


def test_the_list_of_med_r1_loads_by_its_own_loop(answered, bring, export, monkeypatch):
    answered(make_instance())
    bring("Nodule or mass")
    folder = export() / "med-r1"
    monkeypatch.chdir(folder)

    items = []
    for path in sorted(folder.glob("*.json")):
        with path.open() as f:
            data = json.load(f)
        items += [(i["image"], i["problem"], i["solution"]) for i in data]

    assert items
    for image, problem, solution in items:
        with open(image, "rb") as picture:  # noqa: PTH123 - as the authors' loop opens it
            assert picture.read(8) == b"\x89PNG\r\n\x1a\n"
        letter = solution.removeprefix("<answer> ").removesuffix(" </answer>")
        assert f"{letter})" in problem
        assert "<think>" not in problem


def test_a_head_kept_from_before_is_proven_to_be_gone_on_from(
    answered, export, verify, sealer, tmp_path
):
    answered()
    head = sealer.current_head()
    kept = tmp_path / "head"
    kept.write_text(head)
    answered(make_instance())

    folder = export(since_head=head)
    status, said = verify(folder, "--expect-head", kept)

    assert status == 0, said
    assert "consistency.json: the log goes on from the head" in said
    assert f"the log goes on from {kept}" in said


def test_an_edited_answer_is_found_in_its_export(answered, export, verify, database):
    answered()
    with database.write() as session:
        victim = session.scalar(select(Answer.id).limit(1))
        session.execute(update(Answer).where(Answer.id == victim).values(reasoning="as I like it"))

    status, said = verify(export())

    assert status == 1
    assert f"answer {victim}: it is not the record that its event says: changed" in said


def test_a_project_that_is_not_there_is_refused(export):
    with pytest.raises(ExportRefused, match="there is no project 'nowhere'"):
        export("nowhere")


def test_a_folder_with_something_in_it_is_left_alone(answered, export, tmp_path):
    answered()
    folder = tmp_path / "export-0"
    folder.mkdir()
    (folder / "mine").touch()

    with pytest.raises(ExportRefused, match="not empty"):
        export()

    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_parquet_alone_is_refused_since_nobody_could_check_it(answered, export):
    answered()

    with pytest.raises(ExportRefused, match="name csv or jsonl besides"):
        export(formats=(TableFormat.PARQUET,))


# -- two projects ----------------------------------------------------------------------------------


@pytest.fixture
def two_projects(answered, indexer, database):
    """Let two projects have answers of studies of their own, people and snapshots."""
    indexer.rules = rules = ProjectRules(
        (Project("lung"), Project("heart")),
        tuple(ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")),
    )
    now = datetime.now(UTC)
    with database.write() as session:
        declare_projects(session, rules, now)
        for name in ("lung", "heart"):
            person = f"person-of-{name}"
            add_account(session, person, actor="operator", now=now)
            give_role(session, person, Role.AUDITOR, name, rules=rules, actor="ada", now=now)
    for name in ("lung", "heart"):
        uids = {n: make_uid() for n in ("StudyInstanceUID", "SeriesInstanceUID")}
        answered(
            make_instance(PatientID=f"P-{name}", **uids),
            called_ae_title=name.upper(),
            raw_output=f"<think>It is of the {name} alone.</think><answer>A</answer>",
        )
        make_snapshot(database, name, f"Snapshot of {name}", AnswerFilters(), actor="ada")


def strings_of(folder):
    """Return what an export says that another project's must not: no numbers, no common words."""
    rows = [
        *read_csv(folder, "answers"),
        *read_csv(folder, "selections"),
        *map(json.loads, (folder / "events.jsonl").read_text().splitlines()),
    ]
    found = set()
    for row in rows:
        is_event = "seq" in row
        for name, value in row.items():
            if name.endswith(("_uid", "_pseudonym", "_salt", "_output", "reasoning")):
                found.add(value)
            elif is_event and name in ("record", "actor", "at", "told", "reason"):
                found |= {value} if isinstance(value, str) else {value[0]} if value else set()
    return {text.encode() for text in found if text and len(text) >= 16}


def test_an_export_has_no_string_of_a_project_without_a_common_study(
    two_projects, export, rows, verify
):
    lung, heart = export("lung"), export("heart")
    shared = {
        event.record_sha256.encode()
        for event in rows(AuditEvent)
        if event.object_type in ("question", "checkpoint") and event.record_sha256
    }

    for own, other in ((lung, heart), (heart, lung)):
        data = b"".join(
            content for name, content in read_files(own).items() if name != "leaves.bin"
        )
        secrets = strings_of(other) - shared
        salts_of_shared = {
            line.split(b'"told":["')[1][:32]
            for line in (other / "events.jsonl").read_bytes().splitlines()
            if b'"action":"question' in line or b'"action":"checkpoint' in line
        }
        found = {text for text in secrets if text in data}
        assert len(secrets) > 50
        assert found <= salts_of_shared | strings_of_shared(other)
        for word in (f"person-of-{other_name(own, lung)}", f"Snapshot of {other_name(own, lung)}"):
            assert word.encode() not in data
        assert verify(own)[0] == 0


def other_name(own, lung):
    return "heart" if own is lung else "lung"


def strings_of_shared(folder):
    """Return the salts and hashes of what both projects have: of questions and checkpoints."""
    found = set()
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["object"][0] in ("question", "checkpoint"):
            for name in ("record", "actor", "at", "told", "reason"):
                value = event[name]
                found.add((value if isinstance(value, str) else value[0]).encode())
    for row in [*read_csv(folder, "questions"), *read_csv(folder, "checkpoints")]:
        found |= {value.encode() for name, value in row.items() if name == "record_salt"}
    return found


@pytest.fixture
def sealed_events(database, two_projects):
    """Return what is known of each event of the log to somebody who was there, by its order."""

    def sealed_events():
        with database.read() as session:
            return [place.event for place in iterate_places(session)]

    return sealed_events


def leaves_of(folder):
    leaves = (folder / "leaves.bin").read_bytes()
    return {leaves[at : at + 32] for at in range(0, len(leaves), 32)}


def guesses_of(event, salts, times):
    """Yield the leaves of an event of which the 16 random bytes are guessed, and the second."""
    for salt in salts:
        known = {name: commit(salt, name, getattr(event, name)) for name in COMMITTED}
        for at in (event.at, *times):
            yield leaf_of(
                event_id=event.event_id,
                action=event.action,
                object_type=event.object_type,
                object_id=event.object_id,
                study_id=event.study_id,
                project_id=event.project_id,
                account_id=event.account_id,
                record=event.record,
                commitments=known | {"at": commit(salt, "at", at)},
            )


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_whoever_had_the_random_bytes_would_find_every_event_in_the_leaves(export, sealed_events):
    leaves = leaves_of(export("lung"))

    assert {leaf for e in sealed_events() for leaf in guesses_of(e, [e.salt], [])} == leaves


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_no_guess_of_a_million_plausible_events_is_a_leaf(export, sealed_events):
    leaves = leaves_of(export("lung"))
    events = sealed_events()
    salts = ["00" * 16, "ff" * 16, "00" * 15 + "01", hashlib.md5(b"medr1-pacs").hexdigest()]
    a_time = 1_000_000 // (len(events) * len(salts)) + 1
    times = [f"2026-11-29T12:{n // 60:02}:{n % 60:02}.000000Z" for n in range(a_time)]

    guesses = itertools.chain.from_iterable(guesses_of(e, salts, times) for e in events)

    assert sum(leaf in leaves for leaf in guesses) == 0
