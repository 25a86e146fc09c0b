"""A file of 10,000 lines with every kind of mistake, over a site of 8,000 answered studies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from factories import NOON, make_identity
from sqlalchemy import func, insert, select

from medr1_pacs.db.facets import list_faults, refresh_facets
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOutcome,
    AuditEvent,
    Base,
    Checkpoint,
    Generation,
    Instance,
    Patient,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.db.vault import record_identities
from medr1_pacs.records.planned import Decoding, WindowRequest
from medr1_pacs.records.references import Fault
from medr1_pacs.steps.importing_references import (
    BroughtFile,
    LinesFaulty,
    check_references,
    import_references,
)

STUDIES = 8_000
GOOD = 9_000
TWICE, DAY_TWICE = STUDIES - 10, STUDIES - 20
"""Studies whose accession number, or whose day, the next one has too."""
OPTIONS = ("Nodule or mass", "No abnormality seen", "Emphysema or bullae")
HEADER = (
    "accession_number;patient_id;study_date;study_instance_uid;sop_instance_uid;patient_pseudonym;"
    "side;question_id;truth;certainty"
)


def uid_of(study: int) -> str:
    return f"1.2.3.{study}"


def fill(database: Database, vault: Database) -> None:
    """Write studies of one instance each, with the answers to two questions about it."""
    numbers = range(1, STUDIES + 1)
    common: dict[str, Any] = {"created_at": NOON, "due_at": NOON}
    tables: list[tuple[type[Base], Iterator[dict[str, Any]]]] = [
        (Project, iter([{"id": 1, "name": "lung", "title": "", "approval_number": "",
                         "purpose": "", "dates": "year", "created_at": NOON}])),
        (Checkpoint, iter([{"id": 1, "name": "ct", "revision": "r", "sha256": "c" * 64,
                            "is_demo": False, "first_used_at": NOON}])),
        (Question, ({"id": number, "question_id": f"q{number}", "version": 1,
                     "question_sha256": f"{number:064x}", "modality": "CT",
                     "task": "Disease Diagnosis", "role": "study",
                     "definition": {"options": list(OPTIONS)}, "first_used_at": NOON}
                    for number in (1, 2))),
        (Patient, ({"id": n, "patient_key": f"{n:032x}", "sex": "F", "created_at": NOON}
                   for n in numbers)),
        (Study, ({"id": n, "study_instance_uid": uid_of(n), "patient_id": patient_of(n),
                  "state": "answered", "state_reason": "", "version": 1, "study_date": "20260302",
                  "created_at": NOON, "last_received_at": NOON} for n in numbers)),
        (ProjectStudy, ({"project_id": 1, "study_id": n, "rule": "", "added_at": NOON,
                         "is_named": True, "pseudonymous_uid": f"2.25.{n}",
                         "patient_pseudonym": f"{patient_of(n):032x}"} for n in numbers)),
        (StudyVersion, ({"id": n, "study_id": n, "version": 1, "instances": 1,
                         "completed_at": NOON, "planned_at": NOON, "missing": ""}
                        for n in numbers)),
        (Series, ({"id": n, "study_id": n, "series_instance_uid": f"{uid_of(n)}.1",
                   "route_modality": "CT", "route_reason": ""} for n in numbers)),
        (ProjectSeries, ({"project_id": 1, "series_id": n, "pseudonymous_uid": f"2.25.1{n}"}
                         for n in numbers)),
        (Instance, ({"id": n, "series_id": n, "sop_instance_uid": f"{uid_of(n)}.1.1",
                     "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2", "sha256": f"{n:064x}",
                     "size_bytes": 1, "number_of_frames": 1,
                     "attributes": {"ImageLaterality": "LR"[n % 2]}, "stored_name": str(n),
                     "association_token": "t", "calling_ae_title": "A", "called_ae_title": "B",
                     "study_version": 1, "received_at": NOON, "indexed_at": NOON}
                    for n in numbers)),
        (ProjectInstance, ({"project_id": 1, "instance_id": n, "pseudonymous_uid": f"2.25.2{n}"}
                           for n in numbers)),
        (Rendering, ({"id": n, "instance_id": n, "frame_number": 1, "recipe": "r" * 64,
                      "window_request": WindowRequest().to_json(), "state": "rendered",
                      "is_claimed_alone": False, "is_suspect": False, "attempts": 0, "losses": 0}
                     | common for n in numbers)),
        *((table, rows) for question in (1, 2) for table, rows in answers(numbers, question)),
    ]  # fmt: skip
    for table, rows in tables:
        with database.connection() as connection:
            connection.execute(insert(table.__table__), list(rows))
    record_identities(
        vault,
        [
            make_identity(
                identity_key=f"{n:032x}",
                patient_key=f"{patient_of(n):032x}",
                study_instance_uid=uid_of(n),
                patient_id=f"PID-{patient_of(n)}",
                accession_number=f"ACC-{TWICE if n == TWICE + 1 else n}",
            )
            for n in numbers
        ],
        NOON,
    )
    with database.write() as session:
        for chunk in iterate_chunks(numbers):
            refresh_facets(session, *chunk)


def patient_of(study: int) -> int:
    return DAY_TWICE if study == DAY_TWICE + 1 else study


def answers(numbers: range, question: int) -> list[tuple[type[Base], Iterator[dict[str, Any]]]]:
    first = (question - 1) * STUDIES
    return [
        (Selection, ({"study_version_id": n, "question_id": question, "series_id": n,
                      "rendering_id": n, "reason": ""} for n in numbers)),
        (Prompt, ({"id": first + n, "kind": "protocol", "rendering_id": n, "question_id": question,
                   "requested_checkpoint": "ct", "checkpoint": "ct", "coverage": "in",
                   "options": list(OPTIONS), "option_order": [0, 1, 2], "prompt_text": "",
                   "prompt_sha256": "p" * 64, "decoding": Decoding(True, 256).to_json(),
                   "decoding_sha256": "d" * 64, "created_at": NOON} for n in numbers)),
        (Generation, ({"id": first + n, "prompt_id": first + n, "run": 1, "state": "answered",
                       "waits_for": "ct", "is_ready": True, "checkpoint_id": 1,
                       "is_claimed_alone": False, "is_suspect": False, "attempts": 0, "losses": 0,
                       "created_at": NOON, "due_at": NOON} for n in numbers)),
        (Answer, ({"id": first + n, "generation_id": first + n, "parse_status": "parsed",
                   "choice": "A", "choice_text": OPTIONS[0], "answered_at": NOON}
                  for n in numbers)),
    ]  # fmt: skip


def good_line(number: int, truth: str) -> str:
    """Return one of the lines that can be imported: of every kind of key, two a study at most."""
    study, question = number % (STUDIES - 100) + 1, 1 + number // (STUDIES - 100)
    uid, side = uid_of(study), "LR"[study % 2]
    key = (
        f"ACC-{study};;;;;;",
        f";PID-{study};2026-03-02;;;;",
        f";;;{uid};;;",
        f";;;;{uid}.1.1;;",
        f";;;;;{study:032x};",
        f";PID-{study};;;;;",
        f"ACC-{study};;;;;;{side}",
        f"ACC-{study};PID-{study};20260302;{uid};;;",
    )[study % 8]
    return f"{key};q{question};{truth};proven"


FREE = STUDIES - 60
"""The first of the studies that no good line is about."""
BAD: dict[Fault, list[str]] = {
    Fault.MALFORMED: ['ACC-1;;;;;;;q1;"Nodule;', "ACC-1;q1;Nodule", "ACC\x001;;;;;;;q1;x;"],
    Fault.NO_KEY: [f";;;;;;;q1;{OPTIONS[0]};"],
    Fault.BAD_VALUE: [
        f"ACC-1;;;;;;M;q1;{OPTIONS[0]};",
        f";PID-1;2026-13-01;;;;;q1;{OPTIONS[0]};",
        f";;;not a UID;;;;q1;{OPTIONS[0]};",
        f"ACC-1;;;;;;;q1;{OPTIONS[0]};sure",
    ],
    Fault.UNKNOWN_QUESTION: [f"ACC-1;;;;;;;q3;{OPTIONS[0]};"],
    Fault.NOT_AN_OPTION: ["ACC-1;;;;;;;q1;Pneumothorax;"],
    Fault.UNMATCHED: [f"ACC-0;;;;;;;q1;{OPTIONS[0]};", f";PID-0;;;;;;q1;{OPTIONS[0]};"],
    Fault.SEVERAL_KEYS_DISAGREE: [f"ACC-1;PID-2;;;;;;q1;{OPTIONS[0]};"],
    Fault.AMBIGUOUS: [
        f"ACC-{TWICE};;;;;;;q1;{OPTIONS[0]};",
        f";PID-{DAY_TWICE};20260302;;;;;q1;{OPTIONS[0]};",
    ],
}
REPEATS = {Fault.DUPLICATE: 200, Fault.CONTRADICTION: 50}
TIMES = 50
"""How often each of the bad lines is there: 15 of them, with the repeats 1,000."""


def make_file(seed: int, truth: str) -> tuple[bytes, dict[Fault, tuple[int, ...]]]:
    """Make a file in a random order; returns the numbers of its faulty lines beside it."""
    rng = random.Random(seed)
    lines: list[tuple[Fault | None, str]] = [
        (None, good_line(number, truth)) for number in range(GOOD)
    ]
    lines += [(fault, line) for fault, bad in BAD.items() for line in bad * TIMES]
    rng.shuffle(lines)
    # An earlier line counts, so the ones that repeat it stand below.
    lines += [
        (Fault.DUPLICATE, good_line(number, truth)) for number in range(REPEATS[Fault.DUPLICATE])
    ]
    for study in range(FREE, FREE + REPEATS[Fault.CONTRADICTION] // 2):
        for option in OPTIONS[:2]:
            lines.append((Fault.CONTRADICTION, f";;;{uid_of(study)};;;;q1;{option};"))
    numbers: dict[Fault, list[int]] = {}
    for number, (fault, _) in enumerate(lines, start=2):
        if fault is not None:
            numbers.setdefault(fault, []).append(number)
    data = "\n".join((HEADER, *(line for _, line in lines))).encode("utf-8-sig")
    return data, {fault: tuple(numbers[fault]) for fault in Fault}


@pytest.fixture
def filled(database, vault):
    fill(database, vault)
    return database


def count(database, table, *conditions):
    with database.read() as session:
        return session.scalar(select(func.count(table.id)).where(*conditions))


def correctness(database, question):
    with database.read() as session:
        return dict(
            session.execute(
                select(AnswerOutcome.correctness, func.count())
                .join(AnswerFacet, AnswerFacet.outcome_id == AnswerOutcome.id)
                .where(AnswerOutcome.question_id == question)
                .group_by(AnswerOutcome.correctness)
            ).all()
        )


def test_ten_thousand_lines_with_every_kind_of_mistake(filled, vault):
    data, faults = make_file(1, OPTIONS[0])
    file = BroughtFile(data=data, project="lung")
    assert data.count(b"\n") == 10_000
    assert set(faults) == set(Fault)
    of_first = STUDIES - 100

    report = check_references(filled, vault, file, {})

    assert (report.lines, report.new, report.changed, report.unchanged) == (10_000, GOOD, 0, 0)
    assert report.faults == faults
    with pytest.raises(LinesFaulty):
        import_references(filled, vault, file, {}, actor="ada")
    for table in (ReferenceImport, ReferenceStatement, ReferenceStandard):
        assert count(filled, table) == 0
    assert count(filled, AuditEvent) == 0
    assert correctness(filled, "q1") == {"unknown": STUDIES}

    written = import_references(filled, vault, file, {}, actor="ada", leave_out_faulty=True)

    assert written == report
    assert count(filled, ReferenceStatement) == count(filled, ReferenceStandard) == GOOD
    assert correctness(filled, "q1") == {"right": of_first, "unknown": 100}
    assert correctness(filled, "q2") == {
        "right": GOOD - of_first,
        "unknown": STUDIES - GOOD + of_first,
    }

    again = import_references(filled, vault, file, {}, actor="ada", leave_out_faulty=True)

    assert (again.new, again.changed, again.unchanged) == (0, 0, GOOD)
    assert count(filled, ReferenceStatement) == GOOD

    second, _ = make_file(2, OPTIONS[1])
    superseding = import_references(
        filled,
        vault,
        BroughtFile(data=second, project="lung"),
        {},
        actor="ada",
        leave_out_faulty=True,
    )

    assert (superseding.new, superseding.changed) == (0, GOOD)
    for version in (1, 2):
        assert count(filled, ReferenceStatement, ReferenceStatement.version == version) == GOOD
        assert count(filled, ReferenceStandard, ReferenceStandard.version == version) == GOOD
    assert correctness(filled, "q1") == {"wrong": of_first, "unknown": 100}
    with filled.read() as session:
        assert list_faults(session) == []
