"""A reader opens cases, judges and locks them; what is shown in which phase, and to whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from factories import make_uid, put_instance
from fakes import FakeClock
from readers import ReaderClient, make_chest, make_protocol, start
from sqlalchemy import update

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.tables import Assignment, AuditEvent, ReadingCase, Review
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study

pytestmark = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def read(make_pages, sign_in, clock):
    """Sign a reader in; keywords as `ReaderClient`."""
    app = make_pages(now=clock.now, monotonic=clock.monotonic)

    def read(account, name="chest", version=1):
        client = sign_in(app, account, {"default": ["reader"]})
        return ReaderClient(client, f"/api/v1/projects/default/reading/{name}/{version}")

    return read


@pytest.fixture
def chests(answered):
    """Let the model answer about so many chest radiographs, always with its first option."""

    def chests(count):
        for seed in range(1, count + 1):
            answered(*make_chest(seed), checkpoint="xray")

    return chests


def test_a_blind_reader_reads_every_case_once_in_an_order_of_their_own(chests, read, database):
    chests(4)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"]))

    orders = []
    for reader in (anna, ben):
        order = []
        while (case := reader.next()) is not None:
            order.append(case["series"][0]["label"] + str(case["read"]))
            assert case["model"] is None
            assert reader.lock().status_code == 200
        orders.append(order)

    assert [len(order) for order in orders] == [4, 4]
    assert anna.next() is None


def test_a_sequential_read_shows_the_model_after_the_lock_alone(chests, read, database):
    chests(1)
    anna = read("anna")
    start(database, make_protocol(arm="sequential"))

    before = anna.next()
    picture = f"{anna.base}/reads/{before['read']}/pictures/0.png"
    refused = anna.client.get(picture)
    after = anna.lock("Pneumothorax").json()["case"]

    assert (before["phase"], before["model"], refused.status_code) == ("blind", None, 404)
    assert after["phase"] == "assisted"
    assert after["model"]["pictures"][0]["reasoning"] == "It is seen."
    assert anna.client.get(picture).headers["content-type"] == "image/png"
    assert anna.lock("Pneumothorax").json()["is_over"]


def test_a_double_click_locks_once(chests, read, database, rows):
    chests(2)
    anna = read("anna")
    start(database, make_protocol())
    anna.next()
    url, filled = f"{anna.base}/reads/{anna.case['read']}/lock", anna.judge()

    answers = [anna.client.post(url, json=filled).status_code for _ in range(2)]

    assert answers == [200, 200]
    assert len(rows(Review)) == 1


def test_a_lock_opens_the_next_case_where_nothing_is_left_to_show(chests, read, database):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(arm="sequential"))
    first = anna.next()

    revealed = anna.lock(goes_on=True).json()
    second = anna.lock(goes_on=True).json()

    assert "next" not in revealed
    assert second["case"]["read"] == first["read"]
    assert second["next"]["read"] == anna.next()["read"] != first["read"]
    assert second["progress"]["done"] == 1


def test_something_else_is_not_locked_over_what_is_locked(chests, read, database):
    chests(2)
    anna = read("anna")
    start(database, make_protocol())
    anna.next()
    url = f"{anna.base}/reads/{anna.case['read']}/lock"
    anna.client.post(url, json=anna.judge("Pneumothorax"))

    answer = anna.client.post(url, json=anna.judge("Pleural effusion") | {"phase": "blind"})

    assert answer.status_code == 409
    assert "amendment" in answer.json()["detail"]


def test_two_readers_of_a_pool_never_have_the_same_case(chests, read, database):
    chests(3)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reads=1))

    first, second = anna.next(), ben.next()

    assert first["read"] != second["read"]
    assert anna.read_all() + ben.read_all() == 3


def test_a_case_goes_back_to_the_pool_when_its_claim_expires(chests, read, database, clock):
    chests(1)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reads=1, claim_minutes=10))
    opened = anna.next()

    assert ben.next() is None
    clock.pass_s(601)
    assert ben.next()["read"] == opened["read"]
    assert anna.lock().status_code == 404


def test_a_draft_keeps_a_claim_and_comes_back(chests, read, database, clock):
    chests(1)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reads=1, claim_minutes=10))
    case = anna.next()
    clock.pass_s(500)
    draft = {"choice_text": "Pneumothorax", "confidence": 40}
    kept = anna.client.put(
        f"{anna.base}/reads/{case['read']}/draft", json={"draft": draft, "active_ms": 4_000}
    )
    clock.pass_s(500)

    assert kept.status_code == 204
    assert ben.next() is None
    assert anna.next()["draft"] == draft
    assert anna.case["active_ms"] == 4_000


def test_a_disagreement_goes_to_the_adjudicator_who_sees_readers_without_names(
    chests, read, database
):
    chests(2)
    anna, ben, carla = read("anna"), read("ben"), read("carla")
    start(
        database,
        make_protocol(readers=["anna", "ben"], adjudicators=["carla"]),
    )
    assert carla.next() is None
    anna.read_all(lambda case: "Pneumothorax")
    ben.read_all(lambda case: "Pneumothorax" if case["place"] % 2 else "Pleural effusion")

    case = carla.next()

    assert case["phase"] == "adjudication"
    assert [each["label"] for each in case["others"]] == ["Reader A", "Reader B"]
    assert {each["choice_text"] for each in case["others"]} == {"Pneumothorax", "Pleural effusion"}
    assert "anna" not in str(case)
    assert case["model"] is None


def test_a_repeat_waits_for_its_washout(chests, read, database, clock):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(repeats=1, washout_days=7))

    assert anna.read_all() == 2
    progress = anna.progress()
    assert progress["left"] == 1
    assert progress["due_at"].startswith((clock.now() + timedelta(days=7)).isoformat()[:10])
    clock.pass_s(7 * 86_400)
    assert read("anna").read_all() == 1


def test_the_repeat_of_the_open_case_does_not_come_next(chests, read, database):
    chests(1)
    anna = read("anna")
    start(database, make_protocol(repeats=1, washout_days=7))
    anna.next()

    upcoming = anna.client.get(f"{anna.base}/upcoming").json()

    assert upcoming["read"] is None
    assert anna.progress()["left"] == 2


def test_an_amendment_keeps_both_and_says_whether_it_came_after_the_reveal(
    chests, read, database, rows
):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(arm="sequential"))
    anna.next()
    anna.lock("Pneumothorax")
    url = f"{anna.base}/reads/{anna.case['read']}/amend"
    changed = {"phase": "blind", "choice_text": "Pleural effusion", "confidence": 50}

    refused = anna.client.post(url, json=changed | {"reason": " "})
    answer = anna.client.post(url, json=changed | {"reason": "a slip"})

    assert (refused.status_code, answer.status_code) == (409, 200)
    found = [(row.version, row.choice_text, row.is_after_reveal) for row in rows(Review)]
    assert found == [(1, "Pneumothorax", False), (2, "Pleural effusion", True)]


def test_active_time_is_never_longer_than_what_passed(chests, read, database, clock, rows):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    anna.next()
    clock.pass_s(30)
    anna.lock(active_ms=86_000_000)

    [review] = rows(Review)
    assert (review.active_ms, review.wall_ms) == (30_000, 30_000)


def test_the_model_side_of_every_case_is_in_the_log_before_it_is_opened(
    chests, read, database, rows
):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(arm="sequential"))
    anna.next()

    events = [
        (each.action, each.record_sha256)
        for each in rows(AuditEvent)
        if each.object_type in ("reading_case", "assignment")
    ]
    assert [action for action, _ in events] == ["case.frozen", "case.frozen", "read.opened"]
    assert all(sha256 for action, sha256 in events[:2])


def test_practice_comes_first_and_tells_what_is_true(answered, read, database, rows):
    for seed in (1, 2):
        answered(*make_chest(seed), checkpoint="xray")
    anna = read("anna")
    protocol = make_protocol(questions=["xr-technique"], practice=1)
    start(database, protocol)

    case = anna.next()
    answer = anna.lock(goes_on=True).json()
    after = answer["case"]

    assert "next" not in answer
    assert case["is_practice"]
    assert case["feedback"] is None
    [truth] = [row.truth for row in rows(ReadingCase) if row.kind == "practice"]
    choice = after["locked"][0]["choice_text"]
    assert after["feedback"] == {"truth": truth, "is_right": choice == truth}


def test_a_crossover_reads_each_case_in_both_arms_with_the_washout_between(
    chests, read, database, clock, rows
):
    chests(4)
    anna = read("anna")
    start(database, make_protocol(arm=None, crossover=["blind", "assisted"], washout_days=5))

    first = anna.read_all()
    early = anna.next()
    clock.pass_s(5 * 86_400)
    second = read("anna").read_all()

    assert (first, early, second) == (4, None, 4)
    arms = {}
    for each in rows(Assignment):
        arms.setdefault(each.case_id, {})[each.kind] = each.arm
    assert all(set(each.values()) == {"blind", "assisted"} for each in arms.values())
    assert sorted(each["first"] for each in arms.values()) == ["assisted"] * 2 + ["blind"] * 2


def test_a_case_of_another_protocol_waits_for_the_washout_of_this_one(
    chests, read, database, clock
):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    anna.read_all()
    start(database, make_protocol(name="again", washout_days=30))

    assert read("anna", "again").next() is None
    clock.pass_s(30 * 86_400)
    assert read("anna", "again").next() is not None


def test_nothing_tells_a_control_or_a_repeat_from_another_case(answered, read, database, rows):
    for seed in range(1, 5):
        answered(*make_chest(seed), checkpoint="xray")
    anna = read("anna")
    start(database, make_protocol(questions=["xr-technique"], controls=2))

    shapes = set()
    while (case := anna.next()) is not None:
        shapes.add((*sorted(case), case["is_practice"], case["arm"], case["phase"]))
        anna.lock()

    assert len(shapes) == 1
    assert sorted(row.kind for row in rows(ReadingCase)) == ["case", "case", "control", "control"]


def test_a_blind_reading_needs_no_model_and_no_drawn_picture(
    read, database, store, indexer, packaged_bank
):
    for ds in make_chest(1):
        put_instance(store, ds)
    indexer.index()
    complete_studies(database, quiet_s=0)
    plan_study(
        database,
        Questionnaire(packaged_bank, load_synonyms(), lambda name: name, is_demo=False, think=True),
    )
    anna = read("anna")
    start(database, make_protocol())

    case = anna.next()
    frame = anna.client.get(case["series"][0]["url"].replace("{n}", "1"))

    assert frame.status_code == 200
    assert anna.lock().json()["is_over"]


def test_what_arrives_after_the_start_changes_no_case(chests, answered, read, database, store):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    before = anna.next()
    late = make_chest(1)[0]
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = make_uid()
    answered(late, checkpoint="xray")

    after = anna.next()

    assert after["series"] == before["series"]


def test_a_frame_of_somebody_elses_case_is_as_if_it_was_not(chests, read, database):
    chests(1)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna"]))
    start(database, make_protocol(name="other", readers=["ben"]))
    url = anna.next()["series"][0]["url"].replace("{n}", "1")

    answers = [reader.client.get(url).status_code for reader in (anna, ben)]
    elsewhere = ben.client.get(url.replace("/chest/", "/other/")).status_code

    assert (answers, elsewhere) == ([200, 404], 404)


def test_the_frames_of_the_upcoming_case_can_be_loaded_ahead(chests, read, database):
    chests(2)
    anna = read("anna")
    start(database, make_protocol())
    anna.next()

    upcoming = anna.client.get(f"{anna.base}/upcoming").json()
    frame = anna.client.get(upcoming["series"][0]["url"].replace("{n}", "1"))
    anna.lock()

    assert frame.status_code == 200
    assert anna.next()["read"] == upcoming["read"]


@pytest.mark.parametrize(
    ("question", "label"), [("xr-chest-finding", "X-Ray, chest"), ("xr-technique", "Series")]
)
def test_a_series_is_called_by_what_the_header_says_unless_that_is_asked(
    chests, read, database, question, label
):
    chests(1)
    anna = read("anna")
    start(database, make_protocol(questions=[question]))

    assert anna.next()["series"][0]["label"] == label


@pytest.mark.parametrize("version", ["0", "99999999999999999999", "x"])
def test_a_version_that_no_protocol_can_have_is_not_understood(chests, read, database, version):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())

    for path in ("next", "reads/1/lock", "reads/1/amend"):
        answer = anna.client.post(f"/api/v1/projects/default/reading/chest/{version}/{path}")
        assert answer.status_code == 422


def test_a_draft_has_what_the_page_fills_in(chests, read, database):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    draft = {
        "phase": "blind", "choice_text": None, "cannot_assess": "", "confidence": None,
        "flags": ["bad_image"], "reasoning_grade": None, "reasoning_error": None,
        "comment": " half a sen",
    }  # fmt: skip

    url = f"{anna.base}/reads/{anna.next()['read']}/draft"
    assert anna.client.put(url, json={"draft": draft, "active_ms": 0}).status_code == 204
    assert anna.next()["draft"] == draft


DEEP = "[" * 500 + "]" * 500
NO_ENTRIES = [
    '{"note": "x"}', f'{{"comment": "{"x" * 4_001}"}}', f'{{"comment": {DEEP}}}',
    f'{{"flags": {DEEP}}}', '{"flags": ["odd"]}', '{"comment": "\\ud83d"}',
    '{"cannot_assess": "\\udc00"}', '{"choice_text": "\\ud83d"}', '{"confidence": NaN}',
    '{"confidence": 101}', f'{{"confidence": {10**30}}}', '{"reasoning_grade": 6}',
    '{"reasoning_error": "all"}', '{"phase": "later"}', '{"\\ud83d": 1}',
]  # fmt: skip
"""What no field of the panel holds, as JSON."""


def test_a_draft_is_no_place_for_anything_else(chests, read, database):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    url = f"{anna.base}/reads/{anna.next()['read']}/draft"

    taken = [
        entries
        for entries in NO_ENTRIES
        if send(anna, "PUT", url, f'{{"draft": {entries}, "active_ms": 0}}').status_code != 422
    ]

    assert taken == []
    assert anna.next()["draft"] is None


def test_neither_a_lock_nor_an_amendment_takes_it(chests, read, database, rows):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    url = f"{anna.base}/reads/{anna.next()['read']}"
    said = '{"phase": "blind", "choice_text": "Pneumothorax", "confidence": 5, '

    taken = [
        (verb, entries)
        for verb, more in (("lock", '"active_ms": 0'), ("amend", '"reason": "a slip"'))
        for entries in NO_ENTRIES
        if send(anna, "POST", f"{url}/{verb}", f"{said}{entries[1:-1]}, {more}}}").status_code
        != 422
    ]

    assert taken == []
    assert rows(Review) == []


def test_a_reason_with_half_a_letter_is_not_understood(chests, read, database):
    chests(2)
    anna = read("anna")
    start(database, make_protocol())
    url = f"{anna.base}/reads/{anna.next()['read']}/amend"
    anna.lock()

    answer = send(
        anna, "POST", url,
        '{"phase": "blind", "choice_text": "Pneumothorax", "confidence": 5, "reason": "\\ud83d"}',
    )  # fmt: skip

    assert answer.status_code == 422


def send(reader, method, url, body):
    """Send a text that need not be JSON."""
    return reader.client.request(
        method, url, content=body, headers={"Content-Type": "application/json"}
    )


@pytest.mark.parametrize("stored", [{"note": [[[]]]}, {"confidence": 10**12}, {"flags": "all"}])
def test_a_draft_of_an_earlier_release_that_does_not_fit_is_gone(
    chests, read, database, rows, stored
):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    anna.next()
    with database.write() as session:
        session.execute(update(Assignment).values(draft=stored))

    assert anna.next()["draft"] is None
    assert anna.lock().status_code == 200


def test_what_cannot_be_stored_of_a_comment_is_left_out_before_it_is_said(
    chests, read, database, rows
):
    chests(2)
    anna = read("anna")
    start(database, make_protocol())
    url = f"{anna.base}/reads/{anna.next()['read']}"
    filled = anna.judge(comment=" it is\x00 faint\n", flags=["bad_image", "bad_image"])
    draft = {"draft": {"comment": "it\x00"}, "active_ms": 0}

    assert anna.client.put(f"{url}/draft", json=draft).status_code == 204
    assert anna.next()["draft"] == {"comment": "it"}
    answers = [anna.client.post(f"{url}/lock", json=filled).status_code for _ in range(2)]
    amended = filled | {"reason": "a\x00 slip", "comment": "\x00"}
    del amended["active_ms"]

    assert answers == [200, 200]
    assert anna.client.post(f"{url}/amend", json=amended).status_code == 200
    assert [(row.comment, row.reason) for row in rows(Review)] == [
        ("it is faint", None), (None, "a slip"),
    ]  # fmt: skip
