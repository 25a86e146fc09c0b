"""A file becomes a protocol, or everything that is wrong with it is said."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import make_protocol

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import Arm
from medr1_pacs.reviews.protocol_rules import author_protocol, parse_protocol
from medr1_pacs.reviews.protocol_text import write_protocol, write_template
from medr1_pacs.reviews.protocols import ReadingProtocol, hash_definition, restore_protocol

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


def test_a_definition_has_every_field_and_its_hash_does_not_depend_on_the_order():
    protocol = make_protocol()

    assert protocol.definition() == {
        "name": "chest", "version": 1, "title": "", "questions": ["xr-chest-finding"],
        "filters": {}, "cases": None, "one_a_patient": False, "controls": 0, "practice": 0,
        "readers": ["anna"], "adjudicators": [], "arm": "blind", "crossover": None, "reads": None,
        "overlap": 0.0, "repeats": 0, "washout_days": 0.0, "claim_minutes": 60.0,
        "minutes_a_read": 2.0, "reference": False, "seed": 0,
    }  # fmt: skip
    backwards = restore_protocol(dict(reversed(protocol.definition().items())))
    assert backwards.definition_sha256 == protocol.definition_sha256
    assert make_protocol(seed=1).definition_sha256 != protocol.definition_sha256


def test_what_was_checked_is_told_by_its_people_too():
    one, other = (make_protocol(readers=[name]) for name in ("anna", "ben"))

    assert one.definition_sha256 == other.definition_sha256
    assert one.checked_sha256 != other.checked_sha256
    assert one.checked_sha256 == make_protocol().checked_sha256


# -- as it was stored --------------------------------------------------------------------------

STORED = {
    "name": "chest", "questions": ["q"], "readers": ["anna", "ben"], "arm": "sequential",
    "washout_days": 7.0,
}  # fmt: skip


def test_a_definition_that_was_stored_without_defaults_is_read_with_them():
    protocol = restore_protocol(STORED)

    assert (protocol.readers, protocol.arms) == (("anna", "ben"), (Arm.SEQUENTIAL,))
    assert (protocol.version, protocol.claim_minutes, protocol.adjudicators) == (1, 60.0, ())


def test_the_hash_of_what_was_stored_is_of_that_alone():
    text = '{"arm":"sequential","name":"chest","questions":["q"],"readers":2,"washout_days":7.0}'

    assert hash_definition(STORED) == hashlib.sha256(text.encode()).hexdigest()
    stored = make_protocol().definition()
    assert hash_definition(stored) == make_protocol().definition_sha256


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Chest: the old one"},
        {"cases": 100_000},
        {"arm": "adjudication"},
        {"repeats": 5, "washout_days": 0},
        {"adjudicators": ["anna"]},
        {"filters": {"colour": ["red"]}},
        {"colour": "red"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_runs_is_not_held_against_the_rules_of_today(fields):
    definition = make_protocol().definition() | fields

    restored = restore_protocol(definition)

    kept = {name: value for name, value in fields.items() if name != "colour"}
    assert restored.definition() == make_protocol().definition() | kept
    with pytest.raises(ProtocolRefused):
        author_protocol(definition)


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"readers": 2}, "readers"), ({"arm": "loud", "cases": "many"}, "arm, cases")],
)
def test_what_is_stored_and_no_protocol_is_refused(fields, named):
    with pytest.raises(ProtocolRefused, match=f"no stored reading protocol: look at {named}$"):
        restore_protocol(STORED | fields)


# -- what no file should be --------------------------------------------------------------------

BEGUN = 'name = "chest"\nquestions = ["q"]\nreaders = ["anna"]\narm = "blind"\n'


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("title = " + "[" * 5_000, "this is no protocol: its lists or tables are too deep"),
        ("title = " + "{a=" * 5_000, "this is no protocol: its lists or tables are too deep"),
        (
            "a" + ".a" * 40_000 + " = 1",
            "this is no protocol: the name of a field has too many dots",
        ),
        (
            'title = ["""\n""", {a' + ".a" * 40_000 + ' = "1"}]',
            "this is no protocol: the name of a field has too many dots",
        ),
        ("seed = " + "9" * 5_000, "this is no protocol: a number in it has too many digits"),
        ("washout_days = 0x" + "f" * 400, "washout_days: input should be a valid number"),
        ("washout_days = 1e999", "washout_days: input should be less than or equal to 3650"),
        ("overlap = nan", "overlap: input should be less than or equal to 1"),
        ("claim_minutes = inf", "claim_minutes: input should be less than or equal to 1440"),
        ("cases = inf", "cases: input should be a finite number"),
        ('cases = "5"', "cases: write a number, without quotes"),
        ("version = true", "version: write a number, without quotes"),
        ("version = 1979-05-27", "version: input should be a valid integer"),
        ("title = 1979-05-27", "title: input should be a valid string"),
        (
            r'title = "a\u0000b"',
            "title: a NUL character, or half of a character, stands there; leave it out",
        ),
        ("filters = 5", "filters: write a table, as in [filters]"),
        ('filters.modality = "CT"', 'filters.modality: write a list, as in ["one", "another"]'),
        ("filters.modality = [1]", "filters.modality.0: input should be a valid string"),
        (
            r'filters.modality = ["\u0000"]',
            "filters: the filter 'modality' takes no NUL character",
        ),
    ],
    ids=lambda value: value[:24],
)
def test_what_no_file_should_hold_is_refused_in_a_line(line, complaint):
    with pytest.raises(ProtocolRefused) as caught:
        parse_protocol(f"{BEGUN}{line}\n")

    assert str(caught.value) == complaint


@pytest.mark.parametrize("dotted", ['"""\n{}"""""', "'''{}'''", '"\\"{}"', "'{}'", "1 # {}"])
def test_dots_of_texts_and_comments_are_no_deep_name(dotted):
    line = f"filters = {dotted.format('.' * 101)}"

    with pytest.raises(ProtocolRefused, match=r"^filters: write a table"):
        parse_protocol(f"{BEGUN}{line}\n")


@pytest.mark.parametrize("begun", ['"', "'", '"""', "'''"])
@pytest.mark.parametrize("end", ["", "\\"])
def test_a_text_that_never_ends_is_taken_to_the_end_of_the_file(begun, end):
    # To look for its end from each of its quotes anew would take the square of them.
    with pytest.raises(ProtocolRefused, match=r"^this is no TOML"):
        parse_protocol(f"title = {begun}" + r"\"." * 101 + end)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    fields=st.dictionaries(st.sampled_from(sorted(ReadingProtocol.model_fields)), ANYTHING),
    extra=st.dictionaries(st.text(), ANYTHING, max_size=2),
)
def test_whatever_a_file_holds_is_a_protocol_or_refused(fields, extra):
    values = make_protocol().model_dump() | fields | extra
    try:
        protocol = author_protocol(values)
    except ProtocolRefused:
        return
    assert restore_protocol(json.loads(json.dumps(protocol.definition()))) == protocol


def test_dots_within_texts_and_comments_are_no_names():
    dots = "." * 150

    assert parse_protocol(f'{BEGUN}title = "{dots}" # {dots}').title == dots


def test_half_a_character_is_refused():
    with pytest.raises(ProtocolRefused, match="readers"):
        author_protocol(make_protocol().definition() | {"readers": ["anna\udc80"]})


def test_a_name_that_holds_a_nul_is_refused():
    assert complaints(readers=["an\x00na"]) == [
        "readers: a NUL character, or half of a character, stands there; leave it out"
    ]


def test_of_very_many_complaints_the_first_are_told():
    fields = {f"field{number}": 1 for number in range(5_000)}

    assert len(complaints(**fields)) == 100


def test_the_name_of_an_unknown_field_is_a_line():
    [complaint] = complaints(**{"a\n\n" + "b" * 9_000: 1})

    assert complaint.startswith("a " + "b" * 61 + ": unknown field; ")


def test_minus_zero_is_zero():
    assert make_protocol(overlap=-0.0).checked_sha256 == make_protocol().checked_sha256


def test_the_seed_of_orders_names_protocol_and_version():
    assert make_protocol(version=3, seed=5).order_seed == "chest 3 5"


# -- as text -----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40)
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
    protocol = make_protocol(title='\x7f \x01 "quoted" \\ \n é')

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
