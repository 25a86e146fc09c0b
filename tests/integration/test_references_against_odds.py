"""Findings of a hostile review of reference standards, accuracy and re-identification.

Each test says what was promised, and fails while the finding stands.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

sys.path.insert(0, str(Path(__file__).parent))
from test_references import (  # noqa: F401 - fixtures
    CLEAR,
    NODULE,
    QUESTION,
    RULES,
    bring,
    check,
    faults_of,
    make_file,
    make_slices,
    shown,
    slices,
    truths,
)

from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import Instance, ReferenceStatement
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.words import InstanceHold
from medr1_pacs.references import parse_references
from medr1_pacs.statistics import estimate_accuracy
from medr1_pacs.steps.re_identifying import re_identify

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def test_the_line_that_is_no_utf8_is_told_by_its_number_after_a_bom_too():
    header = b"\xef\xbb\xbfaccession_number,question_id,truth\n"
    with pytest.raises(ReferenceRefused, match="line 3 "):
        parse_references(header + b"A,q,Yes\n\xc4,q,Yes\n")


def test_a_study_date_that_contradicts_another_key_is_a_fault_with_two_issuers_too(answered, check):
    answered(*make_slices("1", PatientID="PID", IssuerOfPatientID="HERE"))  # of 2026-03-02
    answered(*make_slices("2", PatientID="PID", IssuerOfPatientID="THERE", StudyDate="20260101"))

    report = check(
        f"ACC-1,PID,20260101,{NODULE}", columns="accession_number,patient_id,study_date,truth"
    )

    assert faults_of(report) == {"several_keys_disagree": (2,)}


def test_an_id_that_a_study_came_under_as_well_is_not_its_patient(answered, bring, shown):
    """An instance of Y was sent into a study of X: what is said of Y is not said of X."""
    answered(*make_slices("1", PatientID="X"))
    answered(*make_slices("2", PatientID="X"))
    [late] = make_slices("1", sides=("L",), PatientID="Y")
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1.1.9"
    answered(late)

    report = bring(f"Y,{NODULE}", columns="patient_id,truth", leave_out_faulty=True)

    assert {truth for uid, truth in shown().items() if uid.startswith("1.2.3.2.")} == {None}
    assert report.new == 0


def test_a_truth_of_a_picture_supersedes_though_its_first_instance_is_held_meanwhile(
    answered, bring, shown, database, rows
):
    [ds] = make_slices("1", sides=("L",))
    answered(ds)
    ds.PatientName = "Corrected^Name"
    answered(ds)
    bring(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth")
    with database.write() as session:  # as `_hold` does when another sender sends the first again
        first = update(Instance).where(Instance.id == 1)
        session.execute(first.values(hold=InstanceHold.HELD))

    report = bring(f"1.2.3.1.1.1,{CLEAR}", columns="sop_instance_uid,truth")

    assert [row.version for row in rows(ReferenceStatement)] == [1, 2]
    assert shown() == slices("1", CLEAR)
    assert (report.new, report.changed) == (0, 1)


def test_a_study_that_a_project_uses_later_is_held_against_the_truth_of_its_patient(
    answered, bring, shown, indexer
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"), called_ae_title="HEART")
    bring(f"PID,{NODULE}", columns="patient_id,truth", project="heart")
    answered(*make_slices("2", PatientID="PID"))

    answered(*make_slices("2", PatientID="PID"), called_ae_title="HEART")

    assert shown("heart") == slices("1", NODULE, NODULE) | slices("2", NODULE, NODULE)


def test_a_truth_of_a_patient_is_not_shown_to_another_project_of_the_study(
    answered, bring, shown, indexer
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"))
    answered(*make_slices("1", PatientID="PID"), called_ae_title="HEART")

    bring(f"PID,{NODULE}", columns="patient_id,truth", project="heart")

    assert shown("default") == slices("1", None, None)


def test_the_same_file_twice_is_unchanged_though_another_project_says_so_too(
    answered, bring, indexer
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"))
    answered(*make_slices("2", PatientID="PID"), called_ae_title="HEART")
    of_patient = {"columns": "patient_id,truth"}
    bring(f"PID,{NODULE}", **of_patient)
    bring(f"PID,{NODULE}", **of_patient, project="heart")

    assert bring(f"PID,{NODULE}", **of_patient).unchanged == 1


def test_the_same_file_twice_is_unchanged_though_the_option_is_spelled_in_capitals_now(
    answered, bring, database, vault
):
    from medr1_pacs.steps.importing_references import check_references

    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = check_references(
        database, vault, make_file(f"ACC-1,{NODULE}"), {QUESTION: [NODULE.upper(), CLEAR]}
    )

    assert (report.changed, report.unchanged) == (0, 1)


def test_a_patient_id_that_begins_with_a_space_is_found(answered, check):
    answered(*make_slices("1", PatientID=" 0042", AccessionNumber=" A-1"))

    assert check(f" A-1,{NODULE}").faults == {}


def test_the_hash_of_a_file_does_not_tell_whom_it_names(answered, bring, database):
    """A file of one line: its accession number is found by trying them all."""
    from medr1_pacs.db.references import list_imports

    answered(*make_slices("1", AccessionNumber="A-004217"))
    bring(f"A-004217,{NODULE}")
    with database.read() as session:
        [kept] = list_imports(session, "default")

    header = "accession_number,truth,question_id\n"
    found = [
        number
        for number in range(10_000)
        if hashlib.sha256(f"{header}A-{number:06},{NODULE},{QUESTION}".encode()).hexdigest()
        == kept.file_sha256
    ]
    assert found == []


def test_a_picture_pseudonym_of_two_patients_is_answered_and_recorded(
    answered, database, vault, rows
):
    """An archive moved an instance to the study of the right patient: one SOP Instance UID."""
    answered(*make_slices("1", PatientID="X"))
    wrong = list(iterate_found(database, "default", AnswerFilters()))
    moved = make_slices("1", PatientID="Y", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC-2")
    answered(*moved)

    found = re_identify(
        database, vault, "default", pseudonym=wrong[0].sop_instance_uid, reason="why", actor="c"
    )
    assert found.studies


def test_one_more_error_does_not_make_an_interval_narrower():
    all_right = estimate_accuracy({(2, 2): 20})
    one_wrong = estimate_accuracy({(2, 2): 19, (1, 2): 1})

    assert one_wrong.low <= all_right.low


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_study_that_comes_while_a_file_is_imported_is_held_against_its_patients_truth(
    answered, bring, shown, monkeypatch
):
    from medr1_pacs.steps import importing_references

    answered(*make_slices("1", PatientID="PID"))
    real = importing_references.add_import

    def meanwhile(session, new):
        answered(*make_slices("2", PatientID="PID"))
        real(session, new)

    monkeypatch.setattr(importing_references, "add_import", meanwhile)
    bring(f"PID,{NODULE}", columns="patient_id,truth")

    assert shown() == slices("1", NODULE, NODULE) | slices("2", NODULE, NODULE)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_import_of_two_chunks_and_a_batch_of_answers_do_not_wait_for_each_other(database):
    """Each chunk adds its new combinations in order, but the second chunk's come after the
    first's: `refresh_facets` of chunk 1 adds z, of chunk 2 adds a; a worker adds a, then z."""
    import threading
    from types import SimpleNamespace

    from medr1_pacs.db import facets
    from medr1_pacs.db.tables import AnswerOutcome

    def combination(question):
        values = {
            "question_id": question,
            "task": "Modality Recognition",
            "kind": "protocol",
            "coverage": "in",
            "checkpoint": "ct",
            "is_demo": False,
            "parse_status": "parsed",
            "choice": "A",
            "correctness": "right",
        }
        return SimpleNamespace(**values)

    failures = []

    def work():
        try:
            with database.write() as session:
                rows = [combination("a"), combination("z")]
                facets._ids_of(session, AnswerOutcome, facets.OUTCOME, rows)
        except Exception as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    try:
        with database.write() as session:
            facets._ids_of(session, AnswerOutcome, facets.OUTCOME, [combination("z")])
            worker.start()
            worker.join(1)
            facets._ids_of(session, AnswerOutcome, facets.OUTCOME, [combination("a")])
    except Exception as error:
        failures.append(error)
    worker.join(10)

    assert failures == []


def test_a_row_links_to_as_many_answers_as_it_counts(answered, bring, database):
    from urllib.parse import parse_qs

    from medr1_pacs.filters import parse_filters
    from medr1_pacs.steps.estimating import estimate
    from medr1_pacs.web.pages.accuracy import _shown

    answered(*make_slices("1"))
    answered(*make_slices("2"))
    bring(f"ACC-1,{NODULE}")
    filters = AnswerFilters(truth=("known", "unknown"), question=(QUESTION,))

    [row] = estimate(database, "default", filters, [])
    linked = parse_filters(parse_qs(_shown(filters, row).known.removeprefix("?")))

    assert len(list(iterate_found(database, "default", linked))) == row.answers


def test_an_instance_that_was_moved_to_another_study_is_not_ambiguous(answered, check):
    """Only one of the two is current: that of the study to which the archive moved it."""
    answered(*make_slices("1", PatientID="X"))
    answered(*make_slices("1", PatientID="Y", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC-2"))

    assert check(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth").faults == {}


def test_a_file_of_which_nothing_is_left_is_not_an_import(answered, bring, rows):
    from medr1_pacs.db.tables import ReferenceImport

    answered(*make_slices("1"))
    bring(f"ACC-9,{NODULE}", leave_out_faulty=True)

    assert rows(ReferenceImport) == []


def test_pictures_are_found_by_their_pseudonym_without_reading_them_all(database):
    """Re-identification and the import both look them up so."""
    from sqlalchemy import inspect as inspect_tables

    with database.connection() as connection:
        tables = inspect_tables(connection)
        for table in ("project_instance", "project_series"):
            led = [each["column_names"] for each in tables.get_indexes(table)]
            led += [each["column_names"] for each in tables.get_unique_constraints(table)]
            assert [names for names in led if "pseudonymous_uid" in names[:2]], table


@pytest.mark.parametrize(("patients", "share"), [(100, 0.98)])
def test_about_95_of_100_intervals_hold_a_high_share(patients, share):
    """High shares are the usual ones, and no figure of 60 or 100 patients is marked."""
    from collections import Counter

    import numpy as np

    from medr1_pacs import statistics

    rng = np.random.default_rng(1)
    alike = 0.5  # correlation of a patient's answers
    a, b = share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike
    held = 0
    for _ in range(1_000):
        right = rng.binomial(4, rng.beta(a, b, patients))
        tallies = Counter((int(each), 4) for each in right)
        if len(tallies) == 1:
            found = estimate_accuracy(tallies)
            low, high = found.low, found.high
        else:
            low, high = statistics.cluster_bootstrap_interval(tallies, draws=1_000)
        held += low <= share <= high

    assert held / 1_000 >= 0.93


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_import_and_an_instance_that_moves_do_not_wait_for_each_other(
    answered, bring, index, store, monkeypatch, caplog
):
    """Who indexes locks the study that an instance comes to (2), then the one that loses it (1)."""
    import threading
    import time

    from factories import put_instance

    from medr1_pacs.db import instances

    answered(*make_slices("1"))
    answered(*make_slices("2"))
    failures = []

    def work():
        try:
            bring(f"ACC-1,{NODULE}", f"ACC-2,{NODULE}")
        except Exception as error:
            failures.append(error)

    importer = threading.Thread(target=work)
    real = instances._supersede

    def meanwhile(session, current, study, now):
        if not importer.ident:
            importer.start()
            time.sleep(0.5)
        real(session, current, study, now)

    monkeypatch.setattr(instances, "_supersede", meanwhile)
    [moved, _] = make_slices("1", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC-2")
    put_instance(store, moved)
    index()
    importer.join(20)

    assert failures == []
    assert "DeadlockDetected" not in caplog.text


def test_a_proven_truth_that_was_brought_last_counts(answered, bring, shown):
    """A panel of one reader corrected itself once: its version 2 outranks pathology for ever."""
    from medr1_pacs.records.words import Certainty, TruthSource

    answered(*make_slices("1"))
    panel = {"source": TruthSource.READER_PANEL, "certainty": Certainty.SINGLE}
    bring(f"ACC-1,{CLEAR}", **panel)
    bring(f"ACC-1,{NODULE}", **panel)

    assert bring(f"ACC-1,{CLEAR}", certainty=Certainty.PROVEN).new == 1
    assert shown() == slices("1", CLEAR, CLEAR)


def test_what_stands_within_quotes_is_no_line():
    """`parse_references`: a quote that nobody closed spoils one line alone."""
    parsed = parse_references(
        b'accession_number,question_id,truth,stated_by\nA-1,q,Yes,"Dr\nA-2,q,No,X\n"\n'
    )

    assert parsed.lines == ()
