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
from sqlalchemy import update

from medr1_pacs.db.tables import (
    Assignment,
    AuditEvent,
    Generation,
    OptionScore,
    ProjectInstance,
    ProjectStudy,
    Question,
    ReadingCase,
    Review,
    StudyAnswer,
)
from medr1_pacs.steps.importing_references import BroughtFile, import_references
from medr1_pacs.steps.reading_protocols import end_protocol, unblind_person

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
    scores = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-v1-all.imrmc").text
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


@pytest.fixture
def half_read(chests, read, begin):
    """Have one case of two read to the end, and the other in its blind phase alone."""
    chests(2)
    begin(arm="sequential", reads=1, readers=["anna", "ben"])
    ben = read("ben")
    anna = read("anna")
    ben.next()
    anna.next()
    anna.lock("Pneumothorax")
    while ben.case["phase"]:
        ben.lock("Airspace opacity")
    return ben


ENDS = {
    "it is open": lambda database: None,
    "its reader was unblinded": lambda database: unblind_person(
        database, "default", "chest", 1, "anna", reason="ill", actor="lead"
    ),
    "the protocol was stopped": lambda database: end_protocol(
        database, "default", "chest", 1, reason="enough", actor="lead"
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_half_a_read_is_in_the_long_table_alone(half_read, researcher, database, end):
    end(database)

    page = researcher.get(RESULTS).text
    long = [row for row in records_of(researcher, "long.csv") if row["source"] == "reader"]
    figures, wide = (records_of(researcher, f"{each}.csv") for each in ("figures", "wide"))
    book = {row["name"]: row["meaning"] for row in records_of(researcher, "codebook.csv")}

    assert [(row["phase"], row["is_evaluated"]) for row in long if row["reader"] == "Reader A"] == [
        ("blind", "false")
    ]
    assert {row["is_evaluated"] for row in long if row["reader"] == "Reader B"} == {"true"}
    assert not any("Reader A" in row["who"] + row["against"] for row in figures)
    assert {row["n"] for row in figures if row["measure"] == "active time"} == {"1"}
    assert not any(column.startswith("reader_a") for column in wide[0])
    assert "(lines: half a read)" in book
    assert "1 read that was begun is not done and counts nowhere" in page


def test_a_case_that_was_left_half_read_counts_for_who_reads_it_instead(
    half_read, researcher, database
):
    ENDS["its reader was unblinded"](database)
    half_read.read_all(lambda case: "Pleural effusion")

    figures = records_of(researcher, "figures.csv")

    readers = {row["who"] for row in figures} | {row["against"] for row in figures}
    assert "Reader A" not in readers
    assert {row["n"] for row in figures if row["measure"] == "active time"} == {"2"}


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
    researcher.get(f"{RESULTS}/imrmc-{QUESTION}-v1-blind.imrmc")
    researcher.get(f"{RESULTS}/secret.csv")

    events = [row for row in rows(AuditEvent) if row.action == "reading.results_viewed"]
    assert [(e.actor, e.object_type, e.object_id, e.new_value) for e in events] == [
        ("researcher", "reading_protocol", protocol_id, value)
        for value in (
            {"how": "page"},
            {"how": "csv", "file": "wide.csv"},
            {"how": "imrmc", "file": f"imrmc-{QUESTION}-v1-blind.imrmc"},
        )
    ]


@pytest.fixture
def scored_chest(chests, database, rows):
    """Have a chest radiograph answered whose engine told the scores of options."""
    chests(1)
    with database.write() as session:
        for generation in rows(Generation):
            for letter, score in zip("ABCD", (0.1, 0.2, 0.3, 0.4), strict=True):
                session.add(OptionScore(generation_id=generation.id, letter=letter, score=score))


def model_scores(client):
    return [line["score"] for line in records_of(client, "long.csv") if line["source"] == "model"]


def test_the_models_score_is_the_one_that_was_frozen(
    scored_chest, read, researcher, begin, database, rows
):
    begin(arm="sequential")
    read("anna").read_all()
    [case] = rows(ReadingCase)
    with database.write() as session:
        session.execute(update(StudyAnswer).values(score=0.99))

    [score] = model_scores(researcher)
    assert score == case.model_side["score"] != "0.99"
    assert (case.model_side["answers"], case.model_side["parsed"]) == (1, 1)


def test_a_case_that_was_frozen_without_its_score_has_the_one_beside_it(
    scored_chest, read, researcher, begin, database, rows
):
    begin(arm="sequential")
    read("anna").read_all()
    [case] = rows(ReadingCase)
    added = ("score", "answers", "parsed")
    earlier = {name: value for name, value in case.model_side.items() if name not in added}
    with database.write() as session:
        session.execute(update(ReadingCase).values(model_side=earlier))
        session.execute(update(StudyAnswer).values(score=0.5))

    assert model_scores(researcher) == ["0.5"]


def test_a_reader_is_shown_no_score_of_the_model(scored_chest, read, begin):
    begin(arm="assisted")

    model = read("anna").next()["model"]

    assert set(model) == {"choice_text", "checkpoint", "is_demo", "pictures"}


def test_a_question_without_positive_options_has_no_scores(chests, read, researcher, begin):
    chests(2)
    begin(questions=["xr-technique"])
    read("anna").read_all()

    answer = researcher.get(f"{RESULTS}/imrmc-xr-technique-v1-blind.imrmc")
    unknown = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-v1-assisted.imrmc")

    assert answer.status_code == 422
    assert "says of no option that it is positive" in answer.text
    assert unknown.status_code == 422
    page = researcher.get(RESULTS).text
    assert ".imrmc" not in page
    assert "No scores for iMRMC of blind: the question xr-technique says of no option" in page


@pytest.mark.parametrize(
    ("truths", "choice", "why"),
    [
        (["Pneumothorax"] * 2, "Pneumothorax", "none is negative"),
        ([None] * 2, "Pneumothorax", "none is positive"),
        (["Pneumothorax", "No abnormality"], None, "no reader scored a case"),
    ],
)
def test_the_page_links_no_scores_that_are_refused_and_says_why(
    chests, read, researcher, begin, database, truths, choice, why
):
    chests(2)
    begin(arm="sequential")
    with database.write() as session:
        for number, truth in enumerate(truths, 1):
            case = update(ReadingCase).where(ReadingCase.number == number)
            session.execute(case.values(truth=truth))
    anna = read("anna")
    said = {"confidence": None, "cannot_assess": "motion"} if choice is None else {}
    while anna.next() is not None:
        while anna.case["phase"]:
            assert anna.lock(**({"choice_text": choice} | said)).status_code == 200

    page = researcher.get(RESULTS).text

    assert ".imrmc" not in page
    assert page.count("No scores for iMRMC of blind, assisted, all: ") == 1
    assert why in page


def test_the_page_and_its_figures_say_which_checkpoints_answered(
    chests, read, researcher, begin, answered, rows
):
    answered(*make_chest(9), checkpoint="demo")
    chests(2)
    begin(arm="sequential")
    read("anna").read_all()

    page = unescape(researcher.get(RESULTS).text)
    figures = records_of(researcher, "figures.csv")

    sides = [row.model_side for row in rows(ReadingCase)]
    [revision] = {side["checkpoint_revision"] for side in sides if side["checkpoint"] == "xray"}
    assert f"Answered by xray at revision {revision[:8]} (2 cases), demo at revision" in page
    assert "Several checkpoints." in page
    assert "(1 case, made up for demonstration)" in page
    of_model = [row for row in figures if row["who"] == "model" and row["method"]]
    assert of_model
    assert all("the model is 2 checkpoints" in row["method"] for row in of_model)


def links_of(page):
    return re.findall(r'href="[^"]*/results/(imrmc-[^"]+)"', page)


def test_each_version_of_a_question_has_files_of_its_own(
    chests, read, researcher, begin, database, rows
):
    chests(4)
    begin(arm="blind")
    with database.write() as session:
        [asked] = {row.question_id for row in rows(ReadingCase)}
        [question] = [row for row in rows(Question) if row.id == asked]
        columns = {each.name: getattr(question, each.name) for each in Question.__table__.columns}
        again = {"id": None, "version": 2, "question_sha256": "b" * 64}
        other = Question(**columns | again | {"definition": question.definition | {"version": 2}})
        session.add(other)
        session.flush()
        for row in rows(ReadingCase):
            case = update(ReadingCase).where(ReadingCase.id == row.id)
            truth = ("Pneumothorax", "No abnormality")[row.number % 2]
            of = asked if row.number < 3 else other.id
            session.execute(case.values(question_id=of, truth=truth))
    read("anna").read_all()

    links = links_of(researcher.get(RESULTS).text)
    texts = [researcher.get(f"{RESULTS}/{link}").text for link in links]

    assert links == [f"imrmc-{QUESTION}-v{version}-blind.imrmc" for version in (1, 2)]
    assert [re.findall(r"^-1,(\d+),", text, re.M) for text in texts] == [["1", "2"], ["3", "4"]]
    unnamed = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-blind.imrmc")
    assert unnamed.status_code == 404


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


def test_a_protocol_whose_studies_were_all_withdrawn_says_so(
    chests, read, pages, sign_in, begin, rows, ask_to_withdraw, withdrawer
):
    chests(2)
    begin(arm="sequential")
    read("anna").read_all()
    ask_to_withdraw(rows=[row.study_id for row in rows(ReadingCase)])
    withdrawer.carry_out()

    researcher = sign_in(pages, "researcher", {"default": ["researcher"]})
    page = researcher.get(RESULTS).text
    assert "What was read was withdrawn" in page
    assert "imrmc" not in page
    assert {row["value"] for row in records_of(researcher, "figures.csv")} <= {"", "0.0"}
    refused = researcher.get(f"{RESULTS}/imrmc-{QUESTION}-v1-all.imrmc")
    assert refused.status_code == 422


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
