"""An attack on the blinding of reading protocols each: what was seen elsewhere, is asked for by
another way, is said twice, left half done or kept open tells nothing, and counts nowhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from copy import deepcopy
from statistics import mean

import numpy as np
import pytest
from fakes import FakeClock
from readers import ReaderClient, make_chest, make_protocol, start_regardless

from medr1_pacs.db.tables import (
    Account,
    Assignment,
    AuditEvent,
    Instance,
    ReadingCase,
    ReadingProtocol,
    Review,
)
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.review_words import AssignmentState, ProtocolState, ReadKind
from medr1_pacs.records.words import Modality
from medr1_pacs.steps import reviewing
from medr1_pacs.steps.reading_protocols import end_protocol, unblind_person

BOTH = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
ONE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
PAGES = "/projects/default/reading"
HOUR_S = 3_600
DAY_S = 86_400
CROSSOVER = {"arm": None, "crossover": ["assisted", "blind"]}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def read(make_pages, sign_in, clock):
    """Sign a reader in, again after a while: no session is kept as long as a washout."""
    app = make_pages(now=clock.now, monotonic=clock.monotonic)

    def read(account, name="chest"):
        client = sign_in(app, account, {"default": ["reader"]})
        return ReaderClient(client, f"/api/v1/projects/default/reading/{name}/1")

    return read


@pytest.fixture
def chests(answered):
    """Let the model answer about so many chest radiographs, always with its first option."""

    def chests(count):
        answered(*(ds for seed in range(1, count + 1) for ds in make_chest(seed)),
                 checkpoint="xray")  # fmt: skip

    return chests


@pytest.fixture
def begin(read, database):
    """Start a protocol whose people have their accounts, although some may read its cases elsewhere
    too; keywords as `make_protocol`."""

    def begin(**fields):
        protocol = make_protocol(**fields)
        for account in (*protocol.readers, *protocol.adjudicators):
            read(account)
        return start_regardless(database, protocol)

    return begin


@pytest.fixture
def done_reads(rows):
    """The reads that somebody is done with; those of a case alone, where one read of it is
    named."""

    def done_reads(account, of=None):
        [account_id] = [row.id for row in rows(Account) if row.name == account]
        study_of = {row.id: row.study_id for row in rows(ReadingCase)}
        reads = {row.id: row for row in rows(Assignment)}
        return [
            row.id
            for row in reads.values()
            if (row.account_id, row.state) == (account_id, AssignmentState.DONE)
            and (of is None or study_of[row.case_id] == study_of[reads[of].case_id])
        ]

    return done_reads


@pytest.fixture
def amendments(rows):
    """What was amended to, and whether that does not count."""
    return lambda: [
        (row.choice_text, row.is_after_reveal) for row in rows(Review) if row.version > 1
    ]


@pytest.fixture
def events(rows):
    """The events of an action."""
    return lambda action: [row for row in rows(AuditEvent) if row.action == action]


def statuses(reader: ReaderClient, reads: Iterable[int]) -> set[int]:
    """Return what reads that are done, and the model's pictures of them, are answered with."""
    parts = ("", "/pictures/0.png")
    return {reader.look(read, part).status_code for read in reads for part in parts}


def said(case: dict) -> set[str]:
    """Return the choices that an adjudicator is shown."""
    return {each["choice_text"] for each in case["others"]}


# -- what is done is closed while it would tell --------------------------------------------------


@BOTH
def test_an_assisted_read_is_closed_while_its_case_is_read_blind(
    chests, begin, read, clock, done_reads
):
    chests(2)
    begin(**CROSSOVER, washout_days=7)
    read("anna").read_all()
    clock.pass_s(7 * DAY_S)
    anna = read("anna")
    while anna.next()["phase"] != "blind":
        assert anna.lock().status_code == 200

    [assisted] = done_reads("anna", of=anna.case["read"])

    assert statuses(anna, [assisted]) == {404}


@BOTH
def test_a_read_is_closed_while_its_repeat_is_open(chests, begin, read, clock, done_reads):
    chests(1)
    begin(arm="sequential", repeats=1, washout_days=7)
    read("anna").read_all()
    clock.pass_s(7 * DAY_S)
    anna = read("anna")

    assert anna.next()["phase"] == "blind"

    assert statuses(anna, done_reads("anna")) == {404}


@BOTH
def test_a_read_is_closed_while_its_case_waits_in_another_protocol(chests, begin, read, clock):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"])
    done = [read("anna").read_one()]
    clock.pass_s(HOUR_S + 1)
    anna, again = read("anna"), read("anna", "again")
    alone = statuses(anna, done)

    begin(name="again")
    planned = statuses(anna, done)
    again.next()
    opened = statuses(anna, done)
    again.lock()

    assert (alone, planned, opened) == ({200}, {404}, {404})
    assert statuses(anna, done) == {200}


@ONE
def test_a_read_is_closed_at_once_when_its_case_is_opened_in_another_protocol(chests, begin, read):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"])
    begin(name="again")
    anna = read("anna")
    done = anna.read_one()

    read("anna", "again").next()

    assert statuses(anna, [done]) == {404}


@ONE
def test_a_read_of_a_protocol_that_is_over_is_closed_while_its_case_waits_in_another(
    chests, begin, read, clock
):
    chests(1)
    begin(arm="sequential")
    done = read("anna").read_one()
    begin(name="again")
    clock.pass_s(HOUR_S + 1)
    anna = read("anna")

    assert statuses(anna, [done]) == {404}
    assert anna.client.get(f"{PAGES}/chest/1/results").status_code == 403


@ONE
def test_an_adjudicator_to_be_cannot_look_up_what_they_saw_of_the_model(chests, begin, read):
    chests(1)
    begin(name="before", arm="assisted", readers=["carla"])
    carla = read("carla", "before")
    done = carla.read_one()
    assert statuses(carla, [done]) == {200}

    begin(readers=["anna", "ben"], adjudicators=["carla"])

    assert statuses(carla, [done]) == {404}


@ONE
def test_who_may_still_get_a_case_cannot_look_up_what_they_saw_of_the_model(chests, begin, read):
    chests(1)
    begin(name="before", arm="assisted")
    anna = read("anna", "before")
    done = anna.read_one()
    begin(readers=["anna", "ben"], reads=1)

    read("ben").next()

    assert statuses(anna, [done]) == {404}


@ONE
def test_what_was_seen_of_a_study_under_another_question_is_closed_too(answered, begin, read):
    answered(*make_study(Modality.CT, 1), checkpoint="ct")
    begin(name="before", arm="assisted", questions=["ct-region"])
    anna = read("anna", "before")
    done = anna.read_one()
    assert statuses(anna, [done]) == {200}

    begin(questions=["ct-lung-pattern"])

    assert statuses(anna, [done]) == {404}


@ONE
@pytest.mark.parametrize(
    "fields", [{"arm": "sequential", "repeats": 1}, CROSSOVER], ids=["repeats", "crossover"]
)
def test_where_cases_come_again_each_done_read_closes_after_an_hour(
    chests, begin, read, clock, done_reads, fields
):
    chests(4)
    begin(**fields, washout_days=7)
    read("anna").read_all()
    reads = done_reads("anna")
    assert len(reads) == 4
    opened = [read("anna").look(each).status_code for each in reads]
    clock.pass_s(HOUR_S - 1)
    within = [read("anna").look(each).status_code for each in reads]
    clock.pass_s(2)
    anna = read("anna")

    assert (opened, within) == ([200] * 4, [200] * 4)
    assert statuses(anna, reads) == {404}


@ONE
def test_where_no_case_comes_again_a_done_read_stays_open(chests, begin, read, clock):
    chests(2)
    begin(arm="sequential", readers=["anna", "ben"])
    done = read("anna").read_one()
    clock.pass_s(30 * DAY_S)

    assert statuses(read("anna"), [done]) == {200}


# -- what was said after something was seen ------------------------------------------------------


@pytest.fixture
def counted(read):
    """What counts of Reader A, blind, when the protocol is over."""

    def counted():
        table = read("anna").client.get(f"{PAGES}/chest/1/results/wide.csv").text
        return [row["reader_a_blind_choice"] for row in csv.DictReader(io.StringIO(table))]

    return counted


@BOTH
def test_an_amendment_after_the_model_was_seen_in_another_protocol_does_not_count(
    chests, begin, read, amendments, counted
):
    chests(1)
    begin(readers=["anna", "ben"])
    anna = read("anna")
    done = anna.read_one("Pneumothorax")
    answers = [anna.amend(done, "Pleural effusion")]
    begin(name="helped", arm="assisted")
    read("anna", "helped").read_all()

    answers.append(anna.amend(done, "Airspace opacity"))

    assert [each.status_code for each in answers] == [200, 200]
    assert amendments() == [("Pleural effusion", False), ("Airspace opacity", True)]
    read("ben").read_all()
    assert counted() == ["Pleural effusion"]


@ONE
def test_an_amendment_after_the_model_was_seen_in_a_read_that_was_left_does_not_count(
    chests, begin, read, amendments, clock
):
    chests(1)
    begin(name="helped", arm="assisted", readers=["anna", "ben"], reads=1, claim_minutes=10)
    begin(readers=["anna", "dora"])
    anna = read("anna")
    done = anna.read_one("Pneumothorax")
    read("anna", "helped").next()
    clock.pass_s(601)
    read("ben", "helped").read_one()

    anna = read("anna")
    anna.amend(done, "Pleural effusion")

    assert amendments() == [("Pleural effusion", True)]


@BOTH
def test_a_case_whose_model_was_seen_and_left_waits_for_its_washout(chests, begin, read, clock):
    chests(1)
    begin(name="helped", arm="assisted", readers=["anna", "ben"], reads=1, claim_minutes=10)
    read("anna", "helped").next()
    clock.pass_s(601)
    read("ben", "helped").read_one()

    begin(washout_days=28)

    assert read("anna").next() is None
    clock.pass_s(28 * DAY_S)
    assert read("anna").next() is not None


@ONE
def test_a_case_that_was_half_read_when_its_protocol_ended_waits_for_its_washout(
    chests, begin, read, database, clock
):
    chests(1)
    begin(name="before", arm="sequential")
    anna = read("anna", "before")
    anna.next()
    anna.lock()
    end_protocol(database, "default", "before", 1, reason="a test", actor="lead")

    begin(washout_days=28)

    assert read("anna").next() is None
    clock.pass_s(28 * DAY_S)
    assert read("anna").next() is not None


@BOTH
def test_an_amendment_after_the_other_arm_of_a_crossover_does_not_count(
    chests, begin, read, clock, amendments, done_reads
):
    chests(2)
    begin(arm=None, crossover=["blind", "assisted"], washout_days=1)
    read("anna").read_all()
    clock.pass_s(DAY_S)
    anna = read("anna")
    while anna.next()["phase"] != "assisted":
        assert anna.lock().status_code == 200
    [blind] = done_reads("anna", of=anna.case["read"])

    answer = anna.amend(blind, "Pleural effusion")

    # By then it is closed; were it kept, it would not count.
    assert answer.status_code in (200, 404, 409)
    assert not [choice for choice, is_after_reveal in amendments() if not is_after_reveal]


@BOTH
def test_an_amendment_after_the_answers_of_others_were_seen_does_not_count(
    chests, begin, read, amendments
):
    chests(1)
    begin(readers=["anna", "dora"])
    begin(name="decided", readers=["ben", "carla"], adjudicators=["anna"])
    anna = read("anna")
    done = anna.read_one("Pneumothorax")
    answers = [anna.amend(done, "Pleural effusion")]
    read("ben", "decided").read_one("Pneumothorax")
    read("carla", "decided").read_one("Airspace opacity")
    read("anna", "decided").read_all()

    answers.append(anna.amend(done, "Airspace opacity"))

    assert [each.status_code for each in answers] == [200, 200]
    assert amendments() == [("Pleural effusion", False), ("Airspace opacity", True)]


# -- by another way, and twice -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("verb", ["lock", "draft", "amend"])
def test_what_comes_by_the_path_of_another_protocol_writes_nothing(chests, begin, read, rows, verb):
    chests(1)
    for name in ("chest", "other"):
        begin(name=name, arm="sequential")
    anna, other = read("anna"), read("anna", "other")
    anna.next()
    anna.lock("Pneumothorax")
    other.case = anna.case

    def written():
        kept = [(row.draft, row.active_ms, row.state) for row in rows(Assignment)]
        return kept, len(rows(Review)), len(rows(AuditEvent))

    before = written()
    answer = {
        "lock": lambda: other.client.post(f"{other.url()}/lock", json=anna.judge()),
        "draft": lambda: other.keep({"phase": "assisted", "confidence": 1}),
        "amend": lambda: other.amend(anna.case["read"], "Pleural effusion"),
    }[verb]()

    assert answer.status_code == 404
    assert written() == before


@BOTH
def test_an_amendment_that_is_sent_twice_is_kept_once(chests, begin, read, amendments, events):
    chests(1)
    begin(readers=["anna", "ben"])
    anna = read("anna")
    done = anna.read_one("Pneumothorax")

    answers = [anna.amend(done, "Pleural effusion", comment="faint ") for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert amendments() == [("Pleural effusion", False)]
    assert len(events("review.amended")) == 1


@BOTH
@pytest.mark.parametrize("comment", ["a\x00b", "seen  \n", " \x00 "])
def test_a_lock_that_is_sent_twice_is_kept_once_whatever_its_comment(
    chests, begin, read, rows, comment
):
    chests(2)
    begin()
    anna = read("anna")
    anna.next()
    filled = anna.judge(comment=comment)

    answers = [anna.client.post(f"{anna.url()}/lock", json=filled) for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert len(rows(Review)) == 1


# -- who decides ---------------------------------------------------------------------------------


@BOTH
def test_an_adjudicator_decides_on_what_was_said_before_the_model_was_seen(chests, begin, read):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"], adjudicators=["carla"])
    for account, choice, confidence in (
        ("anna", "Pneumothorax", 71),
        ("ben", "Pleural effusion", 32),
    ):
        reader = read(account)
        reader.next()
        reader.lock(choice, comment=f"alone, {account[0]}", confidence=confidence)
        reader.lock("Airspace opacity", comment="as the model says", confidence=99)

    case = read("carla").next()

    assert case is not None, "they agree only by what the model told them"
    shown = {(each["choice_text"], each["confidence"], each["comment"]) for each in case["others"]}
    assert shown == {("Pneumothorax", 71, "alone, a"), ("Pleural effusion", 32, "alone, b")}
    assert case["model"] is None


@ONE
def test_readers_who_differ_only_after_the_model_are_not_adjudicated(chests, begin, read, rows):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"], adjudicators=["carla"])
    read("anna").read_one("Pneumothorax", "Pneumothorax")
    read("ben").read_one("Pneumothorax", "Airspace opacity")

    assert read("carla").next() is None
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


@BOTH
def test_what_an_adjudicator_was_shown_is_in_the_log_and_stays(chests, begin, read, rows, events):
    chests(2)
    begin(readers=["anna", "ben"], adjudicators=["carla"])
    anna, carla = read("anna"), read("carla")
    anna.read_all(lambda case: "Pneumothorax")
    read("ben").read_all(lambda case: "Pleural effusion")
    opened = carla.next()
    case_of = {row.id: row.case_id for row in rows(Assignment)}
    reviews = [row for row in rows(Review) if row.case_id == case_of[opened["read"]]]
    [done] = [row.assignment_id for row in reviews if row.choice_text == "Pneumothorax"]

    amended = anna.amend(done, "Airspace opacity", comment="on second thought")

    [event] = [row for row in events("read.opened") if row.object_id == opened["read"]]
    assert sorted(event.new_value["shown"]) == sorted(row.id for row in reviews)
    assert amended.status_code == 200
    assert carla.next()["others"] == opened["others"]
    assert carla.look(opened["read"]).json()["case"]["others"] == opened["others"]


@ONE
def test_what_a_reader_opens_shows_nobody(chests, begin, read, events):
    chests(1)
    begin()
    read("anna").next()

    [event] = events("read.opened")
    assert not event.new_value.get("shown")


# -- what a name tells ---------------------------------------------------------------------------


@ONE
@pytest.mark.parametrize("names", [("chest", "technique"), ("technique", "chest")])
def test_no_series_says_what_another_protocol_asks(chests, begin, read, database, names):
    chests(1)
    technique = {"readers": ["ben"], "questions": ["xr-technique"]}
    for name in names:
        begin(name=name, **(technique if name == "technique" else {"readers": ["anna"]}))

    [series] = read("anna").next()["series"]

    assert series["label"] == "Series"


@ONE
def test_no_series_says_what_another_case_of_its_study_asks(chests, begin, read):
    chests(1)
    begin(questions=["xr-chest-finding", "xr-technique"])
    anna, labels = read("anna"), []
    while (case := anna.next()) is not None:
        labels += [series["label"] for series in case["series"]]
        anna.lock()

    assert labels == ["Series", "Series"]


@ONE
def test_a_series_is_called_by_its_header_once_nobody_is_asked_that(chests, begin, read, database):
    chests(1)
    begin(name="technique", readers=["ben"], questions=["xr-technique"])
    end_protocol(database, "default", "technique", 1, reason="a test", actor="lead")
    begin()

    assert read("anna").next()["series"][0]["label"] == "X-Ray, chest"


@ONE
def test_the_number_of_a_read_tells_nothing_of_it(answered, begin, rows):
    answered(*(ds for seed in range(1, 13) for ds in make_chest(seed)), checkpoint="xray")
    ranks: dict[str, list[float]] = {}
    for seed in range(8):
        protocol_id = begin(
            name=f"chest-{seed}",
            seed=seed,
            questions=["xr-technique"],
            readers=["anna", "ben"],
            reads=1,
            overlap=0.5,
            controls=3,
            repeats=2,
            washout_days=1,
        )
        kinds = {row.id: row.kind for row in rows(ReadingCase)}
        reads = [row for row in rows(Assignment) if row.protocol_id == protocol_id]
        for place, row in enumerate(sorted(reads, key=lambda row: row.id)):
            pool = "pooled" if row.is_pooled else "planned"
            for word in {row.kind, kinds[row.case_id], pool}:
                ranks.setdefault(word, []).append(place / (len(reads) - 1))

    assert set(ranks) == {"first", "repeat", "case", "control", "pooled", "planned"}
    # Of n ranks between 0 and 1 the mean is 0.5, and its standard deviation 0.29 / sqrt(n).
    far = {word: mean(found) for word, found in ranks.items() if is_odd(found)}
    assert far == {}


def is_odd(ranks: Sequence[float]) -> bool:
    """Whether ranks, each between 0 and 1, are not just anywhere."""
    return abs(mean(ranks) - 0.5) > 4 * 0.29 / len(ranks) ** 0.5


# -- drafts --------------------------------------------------------------------------------------

NO_DRAFTS = {
    "nested lists": '{"flags": [["bad_image"]]}',
    "deeply nested lists": '{"flags": ' + "[" * 200 + "]" * 200 + "}",
    "a lone surrogate": '{"comment": "\\ud800"}',
    "not a number": '{"confidence": NaN}',
    "infinity": '{"confidence": -Infinity}',
    "10,000 characters": '{"comment": "' + "x" * 10_000 + '"}',
    "an unknown field": '{"colour": "red"}',
    "an object": '{"choice_text": {"a": 1}}',
}


@BOTH
@pytest.mark.parametrize("draft", NO_DRAFTS.values(), ids=NO_DRAFTS)
def test_what_is_no_draft_is_refused_and_nothing_breaks_by_it(chests, begin, read, draft):
    chests(1)
    begin()
    anna = read("anna")
    anna.next()

    answer = anna.client.put(
        f"{anna.url()}/draft",
        content=f'{{"draft": {draft}, "active_ms": 0}}',
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code == 422
    assert anna.next()["draft"] is None


@BOTH
def test_all_that_the_page_fills_in_is_kept(chests, begin, read):
    chests(1)
    begin(arm="assisted")
    anna = read("anna")
    anna.next()
    draft = {
        "phase": "assisted",
        "choice_text": "Pneumothorax",
        "cannot_assess": None,
        "confidence": 40,
        "flags": ["bad_image", "hallucinated_finding"],
        "reasoning_grade": 2,
        "reasoning_error": "logic",
        "comment": "Zwei Linien – links\n" + "x" * 3_000,
    }

    assert anna.keep(draft).status_code == 204

    assert anna.next()["draft"] == draft


# -- what comes next, and what arrives late ------------------------------------------------------


@BOTH
def test_of_the_cases_to_come_only_the_next_one_is_seen_and_that_claims_nothing(
    chests, begin, read, rows, events
):
    chests(4)
    begin()
    anna = read("anna")
    opened = anna.next()["read"]

    upcoming = anna.upcoming()["read"]

    def frame(read):
        return anna.look(read, "/series/0/frames/1").status_code

    planned = {row.id for row in rows(Assignment)} - {opened, upcoming}
    assert upcoming not in (None, opened)
    assert (frame(opened), frame(upcoming)) == (200, 200)
    assert {frame(each) for each in planned} == {404}
    assert {anna.look(each).status_code for each in planned | {upcoming}} == {404}
    [row] = [row for row in rows(Assignment) if row.id == upcoming]
    assert (row.state, row.opened_at, row.place) == (AssignmentState.PLANNED, None, None)
    assert len(events("read.opened")) == 1


@BOTH
def test_an_instance_that_is_sent_again_changes_no_running_case(answered, begin, read, rows):
    [chest] = make_chest(1)
    answered(chest, checkpoint="xray")
    other = deepcopy(chest)
    other.PixelData = (np.frombuffer(chest.PixelData, np.uint16) // 2).tobytes()
    # Two cases of one study: the second one is opened by nobody before the instance comes again.
    for name, account in (("chest", "ben"), ("again", "anna")):
        begin(name=name, readers=[account])
    ben = read("ben")
    before = ben.next()

    for ds in (other, chest):
        answered(ds, checkpoint="xray")
    anna = read("anna", "again")
    after = anna.next()

    assert len(rows(Instance)) > 1
    assert [each["frames"] for each in after["series"]] == [
        each["frames"] for each in before["series"]
    ]
    frames = [
        reader.look(case["read"], "/series/0/frames/1").content
        for reader, case in ((ben, before), (anna, after))
    ]
    assert frames[0] == frames[1]
    assert anna.lock().status_code == 200


@BOTH
def test_only_other_bytes_that_come_later_change_no_running_case(answered, begin, read):
    [chest] = make_chest(1)
    answered(chest, checkpoint="xray")
    other = deepcopy(chest)
    other.PixelData = (np.frombuffer(chest.PixelData, np.uint16) // 2).tobytes()
    for name, account in (("chest", "ben"), ("again", "anna")):
        begin(name=name, readers=[account])
    ben, anna = read("ben"), read("anna", "again")
    before = ben.look(ben.next()["read"], "/series/0/frames/1").content

    answered(other, checkpoint="xray")

    assert anna.look(anna.next()["read"], "/series/0/frames/1").content == before


# -- what is left open ---------------------------------------------------------------------------


@BOTH
def test_a_read_that_was_open_for_months_is_locked(chests, begin, read, clock, rows):
    chests(1)
    begin(readers=["anna", "ben"])
    read("anna").next()
    clock.pass_s(60 * DAY_S)
    anna = read("anna")
    anna.next()

    answer = anna.lock(active_ms=DAY_S * 1_000)

    assert answer.status_code == 200
    [review] = rows(Review)
    assert (review.wall_ms, review.active_ms) == (60 * DAY_S * 1_000, DAY_S * 1_000)


@BOTH
def test_a_case_whose_claim_expired_is_left_to_the_others(chests, begin, read, clock):
    chests(1)
    begin(readers=["anna", "ben"], reads=1, claim_minutes=10)
    opened = read("anna").next()["read"]
    ben = read("ben")
    assert "Nothing is left for you at the moment" in ben.client.get(f"{PAGES}/chest/1").text

    clock.pass_s(601)

    assert "0 cases done, 1 left" in ben.client.get(f"{PAGES}/chest/1").text
    assert ben.next()["read"] == opened


@BOTH
def test_a_draft_outlives_its_claim_where_nobody_took_the_case(chests, begin, read, clock):
    chests(1)
    begin(readers=["anna", "ben"], reads=1, claim_minutes=10)
    anna = read("anna")
    anna.next()
    draft = {"phase": "blind", "choice_text": "Pneumothorax", "confidence": 40}
    assert anna.keep(draft).status_code == 204

    clock.pass_s(601)

    assert anna.next()["draft"] == draft


@BOTH
def test_a_draft_is_shown_to_nobody_who_took_the_case(chests, begin, read, clock):
    chests(1)
    begin(readers=["anna", "ben"], reads=1, claim_minutes=10)
    anna, ben = read("anna"), read("ben")
    anna.next()
    anna.keep({"phase": "blind", "choice_text": "Pneumothorax", "confidence": 40})

    clock.pass_s(601)

    assert ben.next()["draft"] is None
    assert anna.next() is None
    assert anna.look(ben.case["read"]).status_code == 404


# -- who leaves in the middle --------------------------------------------------------------------


def leave(database, account):
    unblind_person(database, "default", "chest", 1, account, reason="is ill", actor="lead")


@BOTH
def test_a_pooled_case_that_was_left_half_read_is_read_by_somebody_else(
    chests, begin, read, database, rows
):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"], reads=1)
    anna = read("anna")
    anna.next()
    anna.lock("Pneumothorax")

    leave(database, "anna")

    assert rows(ReadingProtocol)[0].state is ProtocolState.STARTED
    ben = read("ben")
    case = ben.next()
    assert case is not None
    assert (case["phase"], case["locked"], case["draft"]) == ("blind", [], None)
    ben.lock()
    assert ben.lock().json()["is_over"]


@pytest.fixture
def dropped(rows, events):
    """Whether every planned read came to an end, and the log has those that were dropped."""

    def dropped():
        left = {row.id for row in rows(Assignment) if row.state is AssignmentState.DROPPED}
        told = {row.object_id for row in events("read.dropped")}
        return bool(told) and told <= left

    return dropped


@BOTH
@pytest.mark.parametrize("accounts", [("ben", "anna"), ("anna", "ben")])
def test_a_case_that_was_left_half_read_and_nobody_could_read_is_dropped(
    chests, begin, read, database, rows, dropped, accounts
):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben"], reads=1)
    anna = read("anna")
    anna.next()
    anna.lock("Pneumothorax")

    for account in accounts:
        leave(database, account)

    assert dropped()
    assert {row.state for row in rows(Assignment)} == {AssignmentState.DROPPED}
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


@BOTH
def test_a_case_that_was_left_half_read_and_the_others_have_read_is_dropped(
    chests, begin, read, database, rows, dropped
):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben", "dora"], reads=2)
    read("ben").read_all()
    anna = read("anna")
    anna.next()
    anna.lock("Pneumothorax")
    leave(database, "dora")
    assert rows(ReadingProtocol)[0].state is ProtocolState.STARTED

    leave(database, "anna")

    assert dropped()
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


@BOTH
def test_half_a_read_is_never_adjudicated(chests, begin, read, database, rows):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben", "dora"], adjudicators=["carla"])
    anna = read("anna")
    anna.next()
    anna.lock("Pneumothorax")
    for account in ("ben", "dora"):
        read(account).read_one("Pleural effusion", "Pleural effusion")

    leave(database, "anna")

    assert read("carla").next() is None
    assert {row.kind for row in rows(Assignment)} == {ReadKind.FIRST}
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


@BOTH
def test_half_a_read_is_shown_to_no_adjudicator(chests, begin, read, database):
    chests(1)
    begin(arm="sequential", readers=["anna", "ben", "dora"], adjudicators=["carla"])
    anna = read("anna")
    anna.next()
    anna.lock("Airspace opacity")
    read("ben").read_one("Pneumothorax", "Pneumothorax")
    read("dora").read_one("Pleural effusion", "Pleural effusion")

    leave(database, "anna")

    assert said(read("carla").next()) == {"Pneumothorax", "Pleural effusion"}


# -- what is left open ---------------------------------------------------------------------------


@ONE
def test_an_expired_claim_that_somebody_cannot_take_stays_with_its_draft(
    chests, begin, read, clock
):
    chests(1)
    begin(readers=["anna", "ben"], adjudicators=["carla"], claim_minutes=10)
    for account, choice in (("anna", "Pneumothorax"), ("ben", "Pleural effusion")):
        read(account).read_one(choice)
    carla = read("carla")
    opened = carla.next()
    carla.keep({"phase": "adjudication", "comment": "a long thought"})
    clock.pass_s(601)

    assert read("anna").next() is None

    case = read("carla").next()
    assert (case["read"], case["draft"]["comment"]) == (opened["read"], "a long thought")


@ONE
def test_who_takes_an_expired_assisted_read_gets_a_read_of_their_own(
    chests, begin, read, clock, rows
):
    chests(1)
    begin(arm="assisted", readers=["anna", "ben"], reads=1, claim_minutes=10)
    left = read("anna").next()["read"]
    clock.pass_s(601)

    taken = read("ben").next()["read"]

    assert taken != left
    states = {row.id: row.state for row in rows(Assignment)}
    assert states == {left: AssignmentState.DROPPED, taken: AssignmentState.OPEN}
    read("ben").read_all()
    assert [row.state for row in rows(ReadingProtocol)] == [ProtocolState.FINISHED]


@ONE
def test_a_draft_of_a_phase_that_is_locked_is_refused(chests, begin, read, rows):
    chests(1)
    begin(arm="sequential")
    anna = read("anna")
    anna.next()
    anna.lock()
    anna.keep({"phase": "assisted", "comment": "new"})

    answer = anna.keep({"phase": "blind", "comment": "of another tab"})

    assert answer.status_code == 409
    assert [row.draft["comment"] for row in rows(Assignment)] == ["new"]


@ONE
def test_the_last_lock_of_a_protocol_may_be_sent_twice(chests, begin, read, rows):
    chests(1)
    begin()
    anna = read("anna")
    anna.next()
    url, judged = f"{anna.url()}/lock", anna.judge("Pneumothorax")

    answers = [anna.client.post(url, json=judged).status_code for _ in range(2)]

    assert answers == [200, 200]
    assert len(rows(Review)) == 1


@ONE
def test_of_the_next_case_only_what_is_at_its_start_is_loaded_ahead(
    answered, begin, read, monkeypatch
):
    monkeypatch.setattr(reviewing, "FRAMES_AHEAD", 1)
    for seed in (1, 2):
        answered(*make_study(Modality.CT, seed), checkpoint="ct")
    begin(questions=["ct-lung-pattern"])
    anna = read("anna")
    anna.next()
    upcoming = anna.upcoming()
    start = upcoming["start"]["frame"]

    found = {
        frame: anna.look(upcoming["read"], f"/series/0/frames/{frame}").status_code
        for frame in (start - 2, start - 1, start, start + 1, start + 2)
    }

    assert list(found.values()) == [404, 200, 200, 200, 404]
