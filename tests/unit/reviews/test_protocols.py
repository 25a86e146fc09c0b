"""A file becomes a protocol, or everything that is wrong with it is said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import make_protocol

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import Arm
from medr1_pacs.reviews.protocol_text import write_protocol, write_template
from medr1_pacs.reviews.protocols import parse_protocol, restore_protocol

FILE = """
name = "chest-nodules"
version = 2
title = "Nodules, before and after the model"
questions = ["ct-chest-nodule"]
arm = "sequential"
readers = ["anna", "ben"]
adjudicators = ["carla"]

[filters]
modality = ["CT"]
"""
TWO = {"readers": ["anna", "ben"]}
CROSSOVER = {"arm": None, "crossover": ["blind", "assisted"], "washout_days": 7}


def complaints(**fields) -> list[str]:
    with pytest.raises(ProtocolRefused) as caught:
        make_protocol(**fields)
    return str(caught.value).splitlines()


def test_a_file_says_what_it_says_and_the_rest_has_defaults():
    protocol = parse_protocol(FILE)

    assert (protocol.name, protocol.version, protocol.arms) == (
        "chest-nodules",
        2,
        (Arm.SEQUENTIAL,),
    )
    assert protocol.filters == {"modality": ("CT",)}
    assert (protocol.cases, protocol.reads, protocol.overlap) == (None, None, 0.0)
    assert (protocol.washout_days, protocol.claim_minutes, protocol.seed) == (0, 60, 0)
    assert protocol.needs_model


def test_what_is_no_toml_says_so():
    with pytest.raises(ProtocolRefused, match="this is no TOML: Invalid value"):
        parse_protocol("name = ")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"arm": None}, "arm: say either `arm` or `crossover`"),
        (CROSSOVER | {"arm": "blind"}, "arm: say either `arm` or `crossover`"),
        (
            {"arm": "adjudication"},
            "arm: use `blind`, `sequential` or `assisted`; adjudicators are named apart",
        ),
        (
            CROSSOVER | {"crossover": ["blind", "blind"]},
            "crossover: name two of `blind`, `sequential` and `assisted`",
        ),
        (
            CROSSOVER | {"crossover": ["blind", "adjudication"]},
            "crossover: name two of `blind`, `sequential` and `assisted`",
        ),
        (
            CROSSOVER | {"washout_days": 0},
            "washout_days: a crossover needs a washout between the arms",
        ),
        (
            CROSSOVER | {"repeats": 1},
            "repeats: a crossover reads every case twice already; drop them",
        ),
        (
            CROSSOVER | TWO | {"reads": 1},
            "reads: in a crossover every reader reads every case; drop it",
        ),
        ({"repeats": 1}, "washout_days: repeats need a washout before them"),
        ({"questions": ["q", "q"]}, "questions: `q` stands there twice"),
        ({"readers": ["anna", "anna"]}, "readers: `anna` stands there twice"),
        (TWO | {"adjudicators": ["c", "c"]}, "adjudicators: `c` stands there twice"),
        (
            TWO | {"adjudicators": ["anna"]},
            "adjudicators: `anna` is a reader too, and would judge their own reads",
        ),
        (TWO | {"reads": 3}, "reads: there are 2 readers; name more, or read less"),
        (
            {"adjudicators": ["carla"]},
            "adjudicators: nobody disagrees where a case is read once; set `reads` to 2 or more",
        ),
        (
            TWO | {"adjudicators": ["carla"], "reads": 1},
            "adjudicators: nobody disagrees where a case is read once; set `reads` to 2 or more",
        ),
        (
            {"arm": "sequential", "reference": True},
            'reference: a panel that saw the model is no reference; use `arm = "blind"`',
        ),
        (
            {"filters": {"versions": ["all"]}},
            "filters: cases are current, and the demo's are as good as others; drop these",
        ),
        (
            {"filters": {"demo": ["yes"]}},
            "filters: cases are current, and the demo's are as good as others; drop these",
        ),
        ({"cases": 0}, "cases: input should be greater than or equal to 1"),
        ({"overlap": 1.5}, "overlap: input should be less than or equal to 1"),
        (
            {"washout_days": float("nan")},
            "washout_days: input should be less than or equal to 3650",
        ),
        ({"readers": "anna"}, 'readers: write a list, as in ["one", "another"]'),
        ({"readers": []}, "readers: name at least one"),
        (
            {"name": "Chest"},
            "name: use 2 to 64 lower-case letters, digits and dashes, a letter first",
        ),
        ({"name": None}, "name: is missing; add it"),
        ({"reader": ["anna"]}, "reader: unknown field; did you mean `readers`?"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else None,
)
def test_each_rule_has_its_complaint(fields, complaint):
    assert complaints(**fields) == [complaint]


def test_an_unknown_filter_is_told():
    [complaint] = complaints(filters={"modalitty": ["CT"]})

    assert complaint.startswith("filters: ")
    assert "modalitty" in complaint


def test_everything_that_is_wrong_is_said_at_once():
    assert complaints(questions=["q", "q"], repeats=2, reads=2) == [
        "washout_days: repeats need a washout before them",
        "questions: `q` stands there twice",
        "reads: there are 1 readers; name more, or read less",
    ]


def test_nobody_needs_the_model_of_a_blind_reading():
    assert not make_protocol().needs_model
    assert make_protocol(**CROSSOVER).needs_model
    assert make_protocol(**CROSSOVER).arms == (Arm.BLIND, Arm.ASSISTED)


def test_a_definition_leaves_defaults_out_and_its_hash_does_not_depend_on_the_order():
    protocol = make_protocol(overlap=0.0, seed=0)

    assert protocol.definition() == {
        "name": "chest", "questions": ["xr-chest-finding"], "readers": ["anna"], "arm": "blind",
    }  # fmt: skip
    backwards = restore_protocol(dict(reversed(protocol.definition().items())))
    assert backwards.definition_sha256 == protocol.definition_sha256
    assert make_protocol(seed=1).definition_sha256 != protocol.definition_sha256


def test_the_seed_of_orders_names_protocol_and_version():
    assert make_protocol(version=3, seed=5).order_seed == "chest 3 5"


# -- as text -----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
names = st.lists(texts.filter(bool), min_size=1, max_size=4, unique=True)


@given(
    title=texts,
    readers=names,
    washout=st.floats(0, 3650),
)
def test_a_protocol_that_is_written_is_read_as_the_same(title, readers, washout):
    protocol = make_protocol(
        title=title, readers=readers, washout_days=washout, filters={"words": ['left "lobe"']}
    )

    assert parse_protocol(write_protocol(protocol)) == protocol


def test_what_json_lets_stand_and_toml_does_not_is_escaped():
    protocol = make_protocol(title='\x7f \x00 "quoted" \\ \n é')

    assert parse_protocol(write_protocol(protocol)) == protocol


def test_a_crossover_that_is_written_is_read_as_the_same():
    protocol = make_protocol(**CROSSOVER, one_a_patient=True)

    assert parse_protocol(write_protocol(protocol)) == protocol
    assert json.loads(json.dumps(protocol.definition())) == protocol.definition()


def test_a_template_can_be_checked_as_it_is():
    protocol = parse_protocol(write_template(["anna", "ben"], {"xr-chest-finding": 12, "q": 1}))

    assert protocol.readers == ("anna", "ben")
    assert protocol.questions == ("xr-chest-finding",)


def test_a_template_without_its_comments_marks_is_of_known_fields():
    text = write_template(["anna"], {"q": 2})
    fields = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
    given = "\n".join(
        line for line in fields if not line.startswith(("crossover", "[filters]", "modality"))
    )
    values = given.replace('arm = "sequential"', 'arm = "blind"')

    assert parse_protocol(values).reference


def test_a_template_of_an_empty_project_says_what_is_missing():
    text = write_template([], {})

    assert "none yet; an administrator gives the role" in text
    with pytest.raises(ProtocolRefused) as caught:
        parse_protocol(text)
    assert str(caught.value).splitlines() == [
        "questions: name at least one",
        "readers: name at least one",
    ]


def test_whole_numbers_are_written_whole():
    assert "washout_days = 14\n" in write_protocol(make_protocol(washout_days=14.0))
