"""What a reading protocol came to: the page, its files, and who may see them."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import pytest
from fakes import FakeClock
from independent_results import areas_of_imrmc, figures_of_long_table
from readers import QUESTION, ReaderClient, make_chest, make_protocol, start

from medr1_pacs.db.tables import (
    Assignment,
    AuditEvent,
    ProjectInstance,
    ProjectStudy,
    ReadingCase,
    Review,
)
from medr1_pacs.steps.importing_references import BroughtFile, import_references

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

TRUTHS = ("Pneumothorax", "None of these", "Airspace opacity", "None of these", "Pleural effusion")
RESULTS = "/projects/default/reading/chest/1/results"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def pages(make_pages, clock):
    return make_pages(now=clock.now, monotonic=clock.monotonic)


@pytest.fixture
def read(pages, sign_in):
    """Sign a reader in."""

    def read(account, roles=("reader",)):
        client = sign_in(pages, account, {"default": list(roles)})
        return ReaderClient(client, "/api/v1/projects/default/reading/chest/1")

    return read


@pytest.fixture
def researcher(pages, sign_in):
    return sign_in(pages, "researcher", {"default": ["researcher"]})


@pytest.fixture
def chests(answered, database, vault):
    """Have so many chest radiographs answered, with known truths of all but those unknown."""

    def chests(count, unknown=()):
        lines = ["accession_number,question_id,truth"]
        for seed in range(1, count + 1):
            study = make_chest(seed)
            for ds in study:
                ds.AccessionNumber = f"A-{seed}"
            answered(*study, checkpoint="xray")
            if seed not in unknown:
                lines.append(f"A-{seed},{QUESTION},{TRUTHS[seed % len(TRUTHS)]}")
        file = BroughtFile(data="\n".join(lines).encode(), project="default")
        import_references(database, vault, file, {}, actor="ada")

    return chests


@pytest.fixture
def begin(database, have_account):
    """Start a protocol whose readers have their accounts; keywords as `make_protocol`."""

    def begin(**fields):
        protocol = make_protocol(**fields)
        for account in (*protocol.readers, *protocol.adjudicators):
            have_account(account, {"default": ["reader"]})
        return start(database, protocol)

    return begin


def choose_by(number):
    """Choose by the case, another way a reader and phase."""

    def choose(case):
        options = case["question"]["options"]
        return options[(case["read"] * 7 * number + len(case["phase"])) % len(options)]

    return choose


def records_of(client, file):
    answer = client.get(f"{RESULTS}/{file}")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def figures_of(page):
    """Return (figure, condition, who, against) -> what the page says."""
    found = {}
    for table in re.findall(r'<table class="every-figure">.*?<tbody>(.*?)</tbody>', page, re.S):
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.S):
            cells = [
                unescape(re.sub(r"<[^>]+>", "", cell))
                for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
            ]
            found[tuple(cells[:4])] = cells[4]
    return found


def say(key, value):
    """Return a number as the page writes it."""
    figure = key[0]
    if figure == "McNemar's p-value":
        text = "< 0.001" if value < 0.001 else f"{value:.3f}"
    elif figure == "difference of accuracies":
        text = f"{100 * value:+.1f} points"
    elif figure in ("accuracy", "cannot assess", "percent agreement"):
        text = f"{100 * value:.1f} %"
    else:
        text = f"{value:.3f}"
    return text.replace("-", "−")


DESIGNS = {
    "sequential": {"arm": "sequential", "adjudicators": ["dora"]},
    "crossover": {"arm": None, "crossover": ["blind", "assisted"], "washout_days": 1},
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_other_programs_get_the_figures_of_the_page_from_its_files(
    chests, read, pages, sign_in, begin, clock, design
):
    chests(10, unknown=(3,))
    begin(readers=["anna", "ben", "carla"], **design)
    for _ in range(2):
        for number, account in enumerate(("anna", "ben", "carla"), 1):
            read(account).read_all(choose_by(number))
        clock.pass_s(2 * 86_400)
    if "adjudicators" in design:
        assert read("dora").read_all() > 0

    researcher = sign_in(pages, "researcher", {"default": ["researcher"]})
    said = figures_of(researcher.get(RESULTS).text)
    long_table = researcher.get(f"{RESULTS}/long.csv").text
    scores = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-all.imrmc").text
    found = figures_of_long_table(long_table) | areas_of_imrmc(scores)

    compared = {key: say(key, value) for key, value in found.items() if key in said}
    assert compared == {key: said[key].partition(" (")[0] for key in compared}
    kinds = {key[0] for key in compared}
    assert kinds >= {
        "accuracy", "Cohen's kappa", "Fleiss' kappa", "percent agreement", "McNemar's p-value",
        "area under the ROC curve", "difference of accuracies",
    }  # fmt: skip
    assert {key for key in found if key not in said} == {
        key for key in found if key[0].startswith(("low", "high"))
    }


def test_the_interval_of_a_reader_is_that_of_statsmodels(chests, read, researcher, begin):
    chests(6)
    begin(arm="blind")
    read("anna").read_all(choose_by(1))

    [row] = [
        row
        for row in records_of(researcher, "figures.csv")
        if (row["measure"], row["who"]) == ("accuracy", "Reader A")
    ]
    found = figures_of_long_table(researcher.get(f"{RESULTS}/long.csv").text)
    for end in ("low", "high"):
        theirs = found[f"{end} accuracy", "blind", "Reader A", "truth"]
        assert float(row[end]) == pytest.approx(theirs, abs=1e-9)


def test_every_plotted_and_tabulated_number_is_in_the_file(chests, read, researcher, begin):
    chests(5)
    begin(arm="sequential", readers=["anna", "ben"])
    for number, account in enumerate(("anna", "ben"), 1):
        read(account).read_all(choose_by(number))

    said = figures_of(researcher.get(RESULTS).text)
    rows = records_of(researcher, "figures.csv")

    assert said.keys() <= {
        (
            row["measure"] + (f": {row['detail'].replace('_', ' ')}" if row["detail"] else ""),
            row["condition"],
            row["who"],
            row["against"],
        )
        for row in rows
    }
    assert sum(row["measure"] == "confusion matrix" for row in rows) == 9 * 16
    assert all(row["value"] or row["reason"] for row in rows)
    assert all(row["unit"] and row["n"] for row in rows)


def test_the_figures_are_those_of_now(chests, read, researcher, begin):
    chests(3)
    begin(arm="blind")
    anna = read("anna")
    seen = []
    while anna.next() is not None:
        anna.lock()
        rows = records_of(researcher, "figures.csv")
        seen += [r["n"] for r in rows if (r["measure"], r["who"]) == ("accuracy", "Reader A")]

    assert seen == ["1", "2", "3"]


# -- who may see them --------------------------------------------------------------------------


def test_a_reader_sees_results_when_the_protocol_is_over_and_not_before(
    chests, read, researcher, begin, sign_in, pages
):
    chests(2)
    anna = read("anna")
    begin(arm="blind")
    anna.next()
    anna.lock()

    before = anna.client.get(RESULTS)
    running = researcher.get(RESULTS).text
    anna.read_all()
    after = anna.client.get(RESULTS)

    assert (before.status_code, after.status_code) == (403, 200)
    assert "Not finished" in running
    assert "Not finished" not in after.text
    other = sign_in(pages, "other", {"default": ["reader"]})
    assert other.get(RESULTS).status_code == 404
    assert anna.client.get(f"{RESULTS}/long.csv").status_code == 200


def test_who_reads_in_another_role_too_is_refused_while_blinded(chests, read, begin):
    chests(2)
    anna = read("anna", ["reader", "researcher"])
    begin(arm="blind")

    answers = [anna.client.get(path) for path in (RESULTS, f"{RESULTS}/long.csv")]

    assert [answer.status_code for answer in answers] == [403, 403]


def test_looking_is_recorded_before_anything_is_shown(chests, read, researcher, begin, rows):
    chests(2)
    protocol_id = begin(arm="blind")
    read("anna").read_all()
    researcher.get(RESULTS)
    researcher.get(f"{RESULTS}/wide.csv")
    researcher.get(f"{RESULTS}/imrmc-{QUESTION}-blind.imrmc")
    researcher.get(f"{RESULTS}/secret.csv")

    events = [row for row in rows(AuditEvent) if row.action == "reading.results_viewed"]
    assert [(e.actor, e.object_type, e.object_id, e.new_value) for e in events] == [
        ("researcher", "reading_protocol", protocol_id, value)
        for value in (
            {"how": "page"},
            {"how": "csv", "file": "wide.csv"},
            {"how": "imrmc", "file": f"imrmc-{QUESTION}-blind.imrmc"},
        )
    ]


def test_a_question_without_positive_options_has_no_scores(chests, read, researcher, begin):
    chests(2)
    begin(questions=["xr-technique"])
    read("anna").read_all()

    answer = researcher.get(f"{RESULTS}/imrmc-xr-technique-blind.imrmc")
    unknown = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-assisted.imrmc")

    assert answer.status_code == 422
    assert "says of no option that it is positive" in answer.text
    assert unknown.status_code == 422
    assert "imrmc" not in researcher.get(RESULTS).text


def test_a_case_about_one_picture_names_it_by_its_pseudonym(chests, read, researcher, begin, rows):
    chests(1)
    begin(questions=["xr-technique"])
    read("anna").read_all()

    lines = records_of(researcher, "long.csv")
    known = {row.pseudonymous_uid for row in rows(ProjectInstance)}
    [study] = rows(ProjectStudy)
    assert {line["picture"].split(" ")[0] for line in lines} <= known
    assert {line["picture"].split(" ")[1] for line in lines} == {"1"}
    assert {(line["study"], line["patient"]) for line in lines} == {
        (study.pseudonymous_uid, study.patient_pseudonym)
    }


def test_a_protocol_that_nobody_read_has_a_page(chests, researcher, begin):
    chests(1)
    begin()

    assert "Nothing was read yet" in researcher.get(RESULTS).text
    assert researcher.get(RESULTS.replace("/1/", "/2/")).status_code == 404


# -- the long table ----------------------------------------------------------------------------


def test_odd_lines_are_in_the_long_table_as_the_codebook_says(
    chests, read, pages, sign_in, begin, clock, rows, ask_to_withdraw, withdrawer
):
    """Amendment, cannot assess, flags, practice, repeat, control; a withdrawal in the middle."""
    chests(8)
    anna = read("anna")
    begin(arm="sequential", controls=1, practice=1, repeats=1, washout_days=7, cases=5)
    anna.next()  # practice comes first
    while anna.case["phase"]:
        anna.lock()
    anna.next()
    anna.lock(flags=["bad_image"])
    url = f"{anna.base}/reads/{anna.case['read']}/amend"
    changed = {"phase": "blind", "choice_text": TRUTHS[0], "confidence": 5, "reason": "a slip"}
    assert anna.client.post(url, json=changed).status_code == 200
    anna.lock()
    anna.next()
    unseen = {"choice_text": None, "confidence": None, "cannot_assess": "=motion"}
    while anna.case["phase"]:
        assert anna.lock(**unseen).status_code == 200
    anna.read_all()
    cases = {row.id: row for row in rows(ReadingCase)}
    odd = {row.case_id for row in rows(Review) if row.flags or row.cannot_assess}
    odd |= {row.case_id for row in rows(Assignment) if row.kind == "repeat"}
    gone = next(c for c in cases.values() if c.kind == "case" and c.id not in odd)
    ask_to_withdraw(rows=[gone.study_id])
    withdrawer.carry_out()
    clock.pass_s(8 * 86_400)
    read("anna").read_all()

    researcher = sign_in(pages, "researcher", {"default": ["researcher"]})
    lines = records_of(researcher, "long.csv")
    book = {row["name"]: row for row in records_of(researcher, "codebook.csv")}
    reviews = [line for line in lines if line["source"] == "reader"]

    assert {f"(lines: {name})" for name in (
        "truth", "model", "amendment", "cannot assess", "flags", "practice", "repeat", "control",
        "withdrawn",
    )} <= book.keys()  # fmt: skip
    assert list(lines[0]) == [
        row["name"]
        for row in records_of(researcher, "codebook.csv")
        if row["table"] == "long" and not row["name"].startswith("(")
    ]
    [amendment] = [line for line in reviews if line["version"] == "2"]
    [amended] = [
        line for line in reviews
        if line["version"] == "1" and line["phase"] == "blind"
        and line["case"] == amendment["case"] and line["read_kind"] == amendment["read_kind"]
    ]  # fmt: skip
    assert (amendment["is_after_reveal"], amendment["is_evaluated"]) == ("true", "false")
    assert amendment["reason"] == "a slip"
    is_case = amended["case_kind"] == "case"
    assert amended["is_evaluated"] == ("true" if is_case else "false")
    assert amended["flags"] == "bad_image"
    unable = [line for line in reviews if line["cannot_assess"]]
    assert {
        (line["cannot_assess"], line["choice"], line["confidence"], line["score"])
        for line in unable
    } == {("'=motion", "", "", "")}
    assert {line["is_right"] for line in unable} == {"false"}
    practice = [line for line in lines if line["case_kind"] == "practice"]
    assert {line["is_evaluated"] for line in practice} == {"false"}
    repeats = [line for line in reviews if line["read_kind"] == "repeat"]
    assert len(repeats) == 2
    assert {line["is_evaluated"] for line in repeats} == {"false"}
    controls = [line for line in reviews if line["case_kind"] == "control"]
    assert {line["is_evaluated"] for line in controls} == {"false"}
    withdrawn = [line for line in lines if line["withdrawn"] == "true"]
    assert {line["case"] for line in withdrawn} == {str(gone.number)}
    assert {line["source"] for line in withdrawn} == {"truth", "model", "reader"}
    empty = ("choice", "confidence", "score", "comment", "flags", "reason", "is_right")
    assert {line[name] for line in withdrawn for name in empty} == {""}
    assert all(line["record_sha256"] for line in withdrawn if line["source"] == "reader")
    hashes = {
        str(event.object_id): event.record_sha256
        for event in rows(AuditEvent)
        if event.action in ("review.locked", "review.amended")
    }
    assert {line["review_id"]: line["record_sha256"] for line in reviews} == hashes
    by_case = {row["case"]: row for row in records_of(researcher, "wide.csv")}
    assert set(by_case) == {str(case.number) for case in cases.values()}
    assert (
        by_case[str(gone.number)]["truth"]
        == by_case[str(gone.number)]["reader_a_blind_choice"]
        == ""
    )
    assert set(next(iter(by_case.values()))) == {
        row["name"] for row in records_of(researcher, "codebook.csv") if row["table"] == "wide"
    }
