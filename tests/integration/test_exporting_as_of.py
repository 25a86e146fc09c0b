"""An export as of a head: by what was sealed until then, of one project and no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from exporters import read_csv, read_files, size_of
from factories import make_instance, make_uid, put_instance
from sqlalchemy import delete, insert, select, text, update

from medr1_pacs.asking import Questionnaire
from medr1_pacs.audit.keys import statement_text
from medr1_pacs.audit.notes import SignedNote, format_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db import audit, past
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.plans import withdraw_prompts
from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.reading import record_answer
from medr1_pacs.db.tables import AuditEvent, PastValue, ProjectStudy
from medr1_pacs.errors import ExportRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.reading import How
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.verifier.export_check import check_export

TWO = ProjectRules(
    (Project("lung"), Project("heart")),
    tuple(ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")),
)


@pytest.fixture
def two_projects(indexer, database):
    """Let there be two projects, which a study comes to by the AE title that it is sent to."""
    indexer.rules = TWO
    with database.write() as session:
        declare_projects(session, TWO, datetime.now(UTC))


@pytest.fixture
def shared(two_projects, answered, store):
    """A study of both projects, answered; returns its UIDs."""
    uids = {name: make_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    put_instance(store, make_instance(**uids), called_ae_title="HEART")
    answered(make_instance(**uids), called_ae_title="LUNG")
    return uids


def events_of(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def counts_of(folder):
    return {row["name"]: int(row["number"]) for row in read_csv(folder, "counts")}


# -- whose a study is ------------------------------------------------------------------------------


def test_a_study_whose_use_was_deleted_is_missed_in_the_export(answered, export, verify, database):
    answered()
    with database.write() as session:
        session.execute(delete(ProjectStudy))

    folder = export()

    assert counts_of(folder)["studies"] == 1
    status, said = verify(folder)
    assert status == 1
    assert "the export neither has it nor says why: deleted" in said


def test_as_of_before_a_project_was_given_a_study_it_has_nothing_of_it(
    two_projects, answered, export
):
    uids = {name: make_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    answered(make_instance(**uids), called_ae_title="LUNG")
    before = export("heart")
    answered(make_instance(**uids), called_ae_title="HEART")

    now, again = export("heart"), export("heart", as_of=size_of(before))

    assert counts_of(now)["answered"] > 0
    assert read_files(again) == read_files(before)


def test_what_another_project_does_with_a_study_after_it_was_withdrawn_is_not_told(
    shared, answered, export, verify, database, ask_to_withdraw, withdrawer
):
    had = {row["answer_id"] for row in read_csv(export("lung"), "answers")}
    ask_to_withdraw(shared["StudyInstanceUID"], project="lung")
    withdrawer.carry_out()
    answered(make_instance(**shared), called_ae_title="HEART")

    lung, heart = export("lung"), export("heart")

    assert len(read_csv(heart, "answers")) > len(had) > 0
    remains = map(json.loads, (lung / "withdrawn.jsonl").read_text().splitlines())
    assert {str(each["id"]) for each in remains if each["kind"] == "answer"} == had
    [end] = [e["seq"] for e in events_of(lung) if e["action"] == "study.project_withdrawn"]
    assert [e for e in events_of(lung) if e["seq"] > end and e["scope"][0] is not None] == []
    status, said = verify(lung)
    assert status == 0, said


def test_an_event_that_was_put_in_withdraws_no_study(answered, export, database):
    answered()
    with database.write() as session:
        [event] = session.execute(
            select(AuditEvent.__table__).where(AuditEvent.action == "study.project_added")
        ).mappings()
        session.execute(update(ProjectStudy).values(withdrawn_at=datetime.now(UTC)))
        # What cannot be hashed never gets a place.
        put_in = dict(event) | {"id": 999, "action": "study.withdrawn", "new_value": {"a": 0.5}}
        session.execute(insert(AuditEvent.__table__).values(put_in))

    with pytest.raises(
        ExportRefused, match="withdrawn by event 999, which has no place in the log"
    ):
        export()


def test_who_reads_an_answer_of_a_shared_study_is_told_to_the_project_they_read_it_in(
    shared, export, database, verify
):
    answer_id = int(read_csv(export("lung"), "answers")[0]["answer_id"])
    record_answer(database, "heart", answer_id, How.API, actor="hedda")

    lung, heart = export("lung"), export("heart")

    assert [e for e in events_of(lung) if e["action"] == "answer.viewed"] == []
    assert [e["object"] for e in events_of(heart) if e["action"] == "answer.viewed"] == [
        ["answer", answer_id]
    ]
    assert verify(lung)[0] == verify(heart)[0] == 0


# -- what was --------------------------------------------------------------------------------------


def put_in(session):
    some_event = select(AuditEvent.id).where(AuditEvent.action == "answer.parsed")
    session.add(
        PastValue(
            event_id=session.scalar(some_event.order_by(AuditEvent.id.desc()).limit(1)),
            object_type="answer",
            object_id=1,
            was={"truth": "Emphysema or bullae"},
        )
    )


def put_in_at_an_event(session):
    row = session.scalars(select(PastValue).order_by(PastValue.event_id.desc()).limit(1)).one()
    session.add(
        PastValue(
            event_id=row.event_id,
            project_id=row.project_id,
            object_type=row.object_type,
            object_id=row.object_id + 1_000,
            was={"truth": "Emphysema or bullae"},
        )
    )


def change(session):
    session.execute(update(PastValue).values(was={"truth": "Emphysema or bullae"}))


def move(session):
    session.execute(update(PastValue).values(project_id=-1))


def take_out(session):
    session.execute(delete(PastValue))


@pytest.mark.parametrize("falsify", [put_in, put_in_at_an_event, change, move, take_out])
def test_what_was_is_taken_from_no_row_that_no_event_tells_of(
    falsify, answered, bring, export, database
):
    answered(make_instance())
    bring("Nodule or mass")
    size = size_of(export())
    bring("Emphysema or bullae")
    answered(make_instance())
    export(as_of=size)
    with database.write() as session:
        if not database.is_sqlite:  # whoever owns the database can do without its triggers
            session.execute(text("SET LOCAL session_replication_role = replica"))
        falsify(session)

    with pytest.raises(ExportRefused, match="the audit log says otherwise"):
        export(as_of=size)


def test_what_an_earlier_version_kept_is_taken_as_it_is(answered, bring, export, monkeypatch):
    """Its events tell how many there were, and no hash."""

    def add_event_now(session, *what, new):
        told = {name: new[name] for name in ("answer", "series", "selection") if name in new}
        return audit.add_event_now(session, *what, new=told)

    monkeypatch.setattr(past, "add_event_now", add_event_now)
    answered(make_instance())
    bring("Nodule or mass")
    before = export()
    bring("Emphysema or bullae")

    assert read_files(export(as_of=size_of(before))) == read_files(before)


def test_an_export_after_a_withdrawal_needs_nothing_of_what_was(
    answered, bring, export, verify, ask_to_withdraw, withdrawer
):
    gone = make_instance()
    answered(gone)
    bring("Nodule or mass")
    size = size_of(export())
    bring("Emphysema or bullae")
    ask_to_withdraw(str(gone.StudyInstanceUID))
    withdrawer.carry_out()

    status, said = verify(export(as_of=size))

    assert status == 0, said


# -- what is counted, shown and signed -------------------------------------------------------------


def test_prompts_that_were_taken_back_before_they_were_sealed_count_for_nothing(
    store, index, database, packaged_bank, export, verify
):
    put_instance(store, make_instance())
    index()
    complete_studies(database, quiet_s=0)
    questionnaire = Questionnaire(
        packaged_bank, load_synonyms(), lambda requested: "ct", is_demo=False, think=True
    )
    assert plan_study(database, questionnaire)
    with database.write() as session:
        assert withdraw_prompts(session, "ct", studies_max=10) == 1

    folder = export()

    assert (counts_of(folder)["asked"], counts_of(folder)["waiting_or_failed"]) == (0, 0)
    assert verify(folder)[0] == 0


def test_an_export_as_of_before_a_key_was_replaced_is_verified_by_either_key(
    answered, export, database, key, sealer
):
    answered()
    size = size_of(export())
    new = SigningKey.generate(key.name)
    says = statement_text(key.verifier, new.verifier)
    statement = format_note(SignedNote(says, (key.sign(says), new.sign(says))))
    with database.write() as session:
        for told in ({"statement": statement}, {"statement": "none"}, {"key": "old"}):
            add_event(session, "log.key_rotated", "audit", None, new=told)

    sealer._keys = (new,)

    folder = export(as_of=size)

    assert check_export(folder, [key.verifier]).is_sound
    assert check_export(folder, [new.verifier]).is_sound


def test_objects_in_cells_have_their_names_in_order(answered, export):
    answered()

    [versions] = {row["versions"] for row in read_csv(export(), "answers")}

    assert len({*map(len, json.loads(versions))}) == 2
    assert versions == json.dumps(json.loads(versions), sort_keys=True)


def test_what_is_left_of_an_answer_is_written_in_one_order(
    answered, export, ask_to_withdraw, withdrawer
):
    gone = make_instance()
    answered(gone)
    ask_to_withdraw(str(gone.StudyInstanceUID))
    withdrawer.carry_out()

    lines = (export() / "withdrawn.jsonl").read_text().splitlines()

    orders = {tuple(json.loads(line)["commitments"]) for line in lines}
    assert (
        "options", "prompt_text", "chat_text", "raw_output", "reasoning", "choice_text", "versions"
    ) in orders  # fmt: skip


def test_no_uid_is_told_of_what_may_be_named_later(answered, bring, export):
    answered(make_instance())
    bring("Nodule or mass")
    folder = export()

    for table in ("selections", "references"):
        [*columns] = read_csv(folder, table)[0]
        assert not {"series_instance_uid", "sop_instance_uid"} & {*columns}


def test_an_export_says_how_the_project_shows_dates(answered, export):
    answered()

    manifest = json.loads((export() / "manifest.json").read_text())

    assert manifest["shows"] == {"times": False, "reasons": False, "dates": "year"}


def test_filters_find_what_they_would_have_found_among_what_changed_since(answered, bring, export):
    answered(make_instance())
    bring("Nodule or mass")
    filters = AnswerFilters(truth=("right",))
    before = export(filters=filters)
    bring("Emphysema or bullae")

    assert read_files(export(filters=filters, as_of=size_of(before))) == read_files(before)
