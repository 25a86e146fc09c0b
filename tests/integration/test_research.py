"""What research finds: by every filter, page by page, counted, and only in its own project."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from factories import make_instance
from sqlalchemy import update

from medr1_pacs.db import research
from medr1_pacs.db.research import (
    count_facets,
    count_found,
    find_page,
    get_research_answer,
    iterate_found,
    list_history,
)
from medr1_pacs.db.studies import get_locked, reopen
from medr1_pacs.db.tables import Answer
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import AnswerNotFound
from medr1_pacs.filters import AnswerFilters, parse_filters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import Modality

TWO_PROJECTS = ProjectRules(
    (Project("default"), Project("lung"), Project("heart")),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)


@pytest.fixture
def find(database):
    """Return the answers that filters mean, the oldest first."""

    def find(project="default", **query):
        filters = parse_filters({k: [v] if isinstance(v, str) else v for k, v in query.items()})
        found = list(iterate_found(database, project, filters))
        with database.read() as session:
            assert count_found(session, project, filters).number == len(found)
            assert count_facets(session, project, filters).total.number == len(found)
        return found

    return find


@pytest.fixture
def get_page(database):
    def get_page(**arguments):
        with database.read() as session:
            return find_page(session, "default", AnswerFilters(), **({"limit": 2} | arguments))

    return get_page


@pytest.fixture
def radiograph_and_ct(answered):
    answered(checkpoint="xray", raw_output="<think>A left sided shadow.</think><answer>B</answer>")
    answered(
        make_instance(
            PatientAge="067Y",
            PatientSex="F",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.1",
            PatientID="other",
            DeviceSerialNumber="SN-1",
            StudyDate="20240117",
        ),
        checkpoint="ct",
        raw_output="no tag at all",
    )


@pytest.mark.parametrize(
    ("query", "modalities"),
    [
        ({}, "CT X-Ray"),
        ({"modality": "CT"}, "CT"),
        ({"modality": ["CT", "X-Ray"]}, "CT X-Ray"),
        ({"checkpoint": "xray"}, "X-Ray"),
        ({"choice": "B"}, "X-Ray"),
        ({"choice": "(none)"}, "CT"),
        ({"parse_status": "no_answer"}, "CT"),
        ({"year": "2024"}, "CT"),
        ({"since": "2025"}, "X-Ray"),
        ({"since": "2025-06-01"}, "X-Ray"),
        ({"until": "2024"}, "CT"),
        ({"until": "2024-01-01"}, "CT"),
        ({"until": "2024-06"}, "CT"),
        ({"since": "2024-06"}, "CT X-Ray"),
        ({"since": "2023", "until": "2024-12-31"}, "CT"),
        ({"sex": "F"}, "CT"),
        ({"age_band": "60-69"}, "CT"),
        ({"words": "SHADOW left"}, "X-Ray"),
        ({"words": "shadow right"}, ""),
        ({"words": "shadow", "modality": "CT"}, ""),
        ({"demo": "only"}, ""),
        ({"kind": "blank"}, ""),
        ({"truth": "known", "modality": "X-Ray"}, "X-Ray"),
        ({"question": "xr-technique"}, "X-Ray"),
        ({"task": "Modality Recognition", "modality": "X-Ray"}, "X-Ray"),
    ],
    ids=str,
)
def test_a_filter_narrows_down(radiograph_and_ct, find, query, modalities):
    assert " ".join(sorted({answer.modality for answer in find(**query)})) == modalities


def test_answers_are_found_by_scanner_patient_and_study(radiograph_and_ct, find):
    ct = find(modality="CT")[0]

    for query in (
        {"scanner": ct.scanner_key},
        {"patient": ct.patient_pseudonym},
        {"study": ct.study_instance_uid},
    ):
        assert {answer.modality for answer in find(**query)} == {"CT"}


def test_superseded_answers_are_found_when_they_are_asked_for(answered, find, database):
    answered()
    every = find()
    with database.write() as session:
        reopen(session, get_locked(session, 1), "a late instance")

    assert find() == []
    assert len(find(versions="all")) == len(every)
    assert not any(answer.is_current for answer in find(versions="all"))


def test_a_project_finds_its_own_answers_alone(answered, find, indexer, database):
    indexer.rules = TWO_PROJECTS
    answered(called_ae_title="LUNG")

    assert find("heart") == []
    [first, *_] = find("lung")
    assert first.project == "lung"
    with database.read() as session, pytest.raises(AnswerNotFound):
        get_research_answer(session, "heart", first.answer_id)


def test_two_projects_cannot_link_an_answers_pictures_by_name(answered, find, indexer):
    indexer.rules = TWO_PROJECTS
    study = make_study(Modality.XRAY, 1)
    answered(*study, called_ae_title="LUNG")
    answered(*study, called_ae_title="HEART")

    lung, heart = find("lung")[0], find("heart")[0]
    assert lung.answer_id == heart.answer_id
    for name in (
        "patient_pseudonym",
        "study_instance_uid",
        "series_instance_uid",
        "sop_instance_uid",
    ):
        assert getattr(lung, name) != getattr(heart, name)


def test_nothing_that_names_anybody_is_in_a_research_answer(answered, find, rows):
    ds = make_instance(StudyDate="20240117", PatientBirthDate="19700401")
    answered(ds)

    text = json.dumps([answer.to_json() for answer in find()])
    for real in (
        ds.StudyInstanceUID,
        ds.SeriesInstanceUID,
        ds.SOPInstanceUID,
        "20240117",
        "2024-01-17",
        "19700401",
        "T-1",
        "A-1",
        "Test^Patient",
    ):
        assert str(real) not in text


def test_pages_follow_each_other_both_ways(radiograph_and_ct, find, get_page):
    ids = [answer.answer_id for answer in reversed(find())]
    assert len(ids) >= 4

    first = get_page()
    assert [a.answer_id for a in first.answers] == ids[:2]
    assert (first.has_newer, first.has_older) == (False, True)

    second = get_page(before=ids[1])
    assert [a.answer_id for a in second.answers] == ids[2:4]
    assert second.has_newer

    back = get_page(after=ids[2])
    assert [a.answer_id for a in back.answers] == ids[:2]
    assert (back.has_newer, back.has_older) == (False, True)

    last = get_page(from_the_end=True)
    assert [a.answer_id for a in last.answers] == ids[-2:]
    assert (last.has_newer, last.has_older) == (True, False)


def test_a_stream_yields_every_answer_once_however_many_chunks(answered, database, monkeypatch):
    answered()
    whole = [a.answer_id for a in iterate_found(database, "default", AnswerFilters())]
    monkeypatch.setattr(research, "_CHUNK", 1)

    by_one = [a.answer_id for a in iterate_found(database, "default", AnswerFilters())]

    assert by_one == whole
    assert all(earlier < later for earlier, later in pairwise(whole))


def test_facets_count_every_value(radiograph_and_ct, database, find):
    with database.read() as session:
        counts = count_facets(session, "default", AnswerFilters())

    for facet in ("modality", "checkpoint", "choice", "truth", "year", "scanner", "age_band"):
        assert sum(number for _, number in counts.values[facet]) == len(find())
    assert dict(counts.values["modality"])["CT"] == len(find(modality="CT"))
    numbers = [number for _, number in counts.values["question"]]
    assert numbers == sorted(numbers, reverse=True)


def test_counting_the_hits_of_words_stops(answered, database, monkeypatch):
    answered()
    monkeypatch.setattr(research, "WORD_HITS_MAX", 1)

    with database.read() as session:
        filters = AnswerFilters(words="seen")
        counts = [
            count_found(session, "default", filters),
            count_facets(session, "default", filters).total,
        ]

    assert [(count.number, count.is_at_least) for count in counts] == [(1, True)] * 2


def test_a_reasoning_that_is_changed_or_deleted_is_found_by_its_words_no_more(
    answered, find, database
):
    answered()
    assert find(words="seen")

    with database.write() as session:
        session.execute(update(Answer).values(reasoning="masked"))

    assert find(words="seen") == []
    assert find(words="masked")


def test_the_history_of_an_answer_is_that_of_what_made_it(answered, find, database):
    answered()

    with database.read() as session:
        history = list_history(session, find()[0].answer_id)

    assert history == [
        "prompt.created",
        "rendering.rendered",
        "generation.generated",
        "answer.parsed",
    ]


def test_ages_over_89_are_told_by_their_band_alone(answered, find):
    answered(make_instance(PatientAge="093Y"))

    assert {(answer.age_years, answer.age_band) for answer in find()} == {(None, "90+")}


@pytest.mark.parametrize(
    ("reasoning", "words"),
    [
        ("left/right difference", "right"),
        ("a nodule of 1.5 cm", "1.5"),
        ("effusion.The heart", "heart"),
        ("density <lesion and more>", "lesion"),
        ("T2-weighted", "t2 weighted"),
        ("left_lobe", "lobe"),
        ("T1/T2", "T1"),
    ],
)
def test_words_are_found_whatever_stands_between_them(answered, find, database, reasoning, words):
    answered()
    with database.write() as session:
        session.execute(update(Answer).values(reasoning=reasoning))

    assert find(words=words)
    assert not find(words=f"{words} elsewhere")


def test_accents_tell_words_apart(answered, find, database):
    answered()
    with database.write() as session:
        session.execute(update(Answer).values(reasoning="Größe unklar"))

    assert find(words="größe")
    assert find(words="GRÖSSE") == find(words="grosse") == []


def test_what_has_no_modality_can_be_asked_for(answered, find, database):
    answered()

    assert find(modality="(none)") == []
