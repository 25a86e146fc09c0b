"""Data of the first schema, brought to today's: nothing is lost, and what is new is filled in."""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from factories import SITE_KEY
from first_schema import FIRST_REVISIONS, STORED, bring_to, restore
from sqlalchemy import MetaData, func, select

from medr1_pacs.db.facets import list_faults
from medr1_pacs.db.generations import has_due_prompts
from medr1_pacs.db.renderings import list_pictures, record_pixels
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Generation, Instance, Rendering
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.words import GenerationState
from medr1_pacs.steps.naming import name_for_research

_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def upgrade(request, tmp_path):
    """Bring rows of the first schema to today's."""
    databases = []

    def upgrade(rows: dict[str, list[dict[str, Any]]]) -> Database:
        url = f"sqlite:///{tmp_path / 'research.sqlite'}"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            server.start()
            url = server.create_database(f"first_schema_{next(_numbers)}")
        databases.append(Database(url))
        bring_to(databases[0], Branch.RESEARCH, FIRST_REVISIONS[Branch.RESEARCH])
        restore(databases[0], rows)
        upgrade_schema(databases[0], Branch.RESEARCH)
        return databases[0]

    yield upgrade
    for database in databases:
        database.dispose()


def research_rows() -> dict[str, list[dict[str, Any]]]:
    return deepcopy(STORED[Branch.RESEARCH])


def test_every_row_is_there_afterwards(upgrade):
    database = upgrade(research_rows())

    with database.connection() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        counts = {
            name: connection.scalar(select(func.count()).select_from(metadata.tables[name]))
            for name in research_rows()
        }
        events = metadata.tables["audit_event"]
        adopted = select(func.count()).where(events.c.action.endswith(".adopted"))
        counts["audit_event"] -= connection.scalar(adopted)  # the log tells of what it found
    assert counts == {name: len(rows) for name, rows in research_rows().items()}


def test_an_answer_knows_the_file_that_its_model_was_shown(upgrade):
    pictures = {row["id"]: row["png_sha256"] for row in research_rows()["rendering"]}
    prompts = {row["id"]: row["rendering_id"] for row in research_rows()["prompt"]}

    with upgrade(research_rows()).read() as session:
        shown = {row.prompt_id: row.png_sha256 for row in session.scalars(select(Generation))}

    assert shown == {prompt: pictures[rendering] for prompt, rendering in prompts.items()}


def test_a_prompt_that_waited_can_be_answered_and_one_without_a_picture_cannot(upgrade):
    rows = research_rows()
    rows["answer"] = rows["answer"][2:]
    for generation in rows["generation"][:2]:
        generation |= {"state": "waiting", "generated_at": None}
    rows["rendering"][1] |= {"state": "planned", "png_sha256": None}

    with upgrade(rows).read() as session:
        waiting = session.scalars(
            select(Generation)
            .where(Generation.state == GenerationState.WAITING)
            .order_by(Generation.id)
        ).all()
        checkpoint = rows["prompt"][0]["checkpoint"]
        assert has_due_prompts(session, checkpoint)

    assert [(row.waits_for, row.is_ready, row.png_sha256) for row in waiting] == [
        (checkpoint, True, None),
        (checkpoint, False, None),
    ]


def test_of_two_current_instances_of_a_uid_the_newest_stays_current(upgrade):
    rows = research_rows()
    first = rows["instance"][0]
    twin = first | {
        "id": 99,
        "sha256": "e" * 64,
        "stored_name": "later.dcm",
        "received_at": {"utc": "2030-01-01T00:00:00+00:00"},
    }
    rows["instance"].append(twin)

    with upgrade(rows).read() as session:
        current = session.scalars(
            select(Instance.id).where(
                Instance.sop_instance_uid == first["sop_instance_uid"],
                Instance.superseded_at.is_(None),
            )
        ).all()

    assert current == [99]


def test_pictures_of_the_first_schema_get_the_hash_of_their_pixels_later(upgrade):
    database = upgrade(research_rows())

    with database.write() as session:
        (png_sha256, has_pixels), *_ = list_pictures(session)
        assert not has_pixels
        record_pixels(session, png_sha256, "p" * 64)

    with database.read() as session:
        of_file = select(Rendering.pixels_sha256).where(Rendering.png_sha256 == png_sha256)
        assert set(session.scalars(of_file)) == {"p" * 64}


def test_answers_of_the_first_schema_are_found_by_research_once_the_sweep_has_named_them(upgrade):
    rows = research_rows()
    project = rows["project"][0]["name"]
    word = next(
        word.strip(".,")
        for row in rows["answer"]
        for word in (row["reasoning"] or "").split()
        if word.strip(".,").isalpha()
    )
    database = upgrade(rows)

    while name_for_research(database, SITE_KEY):
        pass

    every = AnswerFilters(demo="yes", versions="all")
    found = list(iterate_found(database, project, every))
    assert [answer.answer_id for answer in found] == [row["id"] for row in rows["answer"]]
    assert list(iterate_found(database, project, replace(every, words=word)))
    with database.read() as session:
        assert list_faults(session) == []
