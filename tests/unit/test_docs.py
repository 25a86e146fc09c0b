"""The pages in docs/ say what the code does."""

import re
import textwrap
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from typer.main import get_command

from medr1_pacs.cli import app
from medr1_pacs.exports.markdown import dictionary_page
from medr1_pacs.filters import CHOICES, AnswerFilters
from medr1_pacs.questions import lint
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.questions.conditions import ROUTED_FACTS
from medr1_pacs.questions.schema import Aggregate, Question
from medr1_pacs.questions.truths import FUNCTIONS
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.accuracy import FIGURES, AccuracyRow, Grouping
from medr1_pacs.records.answers import StoredAnswer
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.people import Scope
from medr1_pacs.records.reading import Reading
from medr1_pacs.records.references import Fault
from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.review_words import Arm
from medr1_pacs.records.words import (
    Certainty,
    Coverage,
    DatePolicy,
    Modality,
    ParseStatus,
    PromptKind,
    QuarantineReason,
    Role,
    StudyState,
    Task,
    TruthSource,
    TruthUnit,
)
from medr1_pacs.references import COLUMNS
from medr1_pacs.reviews.protocol_rules import parse_protocol
from medr1_pacs.reviews.protocols import ReadingProtocol
from medr1_pacs.selection import MAX_FRAMES, POLICIES
from medr1_pacs.settings import Settings
from medr1_pacs.statistics import IntervalMethod
from medr1_pacs.web.api import accuracy as api_accuracy
from medr1_pacs.web.api import answers as api_answers
from medr1_pacs.web.api import projects as api_projects
from medr1_pacs.web.api import reference as api_reference
from medr1_pacs.web.api import snapshots as api_snapshots

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))

# Where a search must find something: one that finds nothing would pass every check.
PAGES_WITH_LINKS = {
    "README.md",
    "researchers.md",
    "readers.md",
    "auditors.md",
    "engineers.md",
    "accounts.md",
    "operating.md",
    "site.md",
    "questions.md",
    "answers.md",
    "references.md",
    "reading.md",
}
PAGES_WITH_COMMANDS = {
    "accounts.md",
    "researchers.md",
    "auditors.md",
    "engineers.md",
    "operating.md",
    "site.md",
    "questions.md",
    "answers.md",
    "references.md",
    "reading.md",
}
SCREENSHOTS = {
    "start",
    "answers",
    "answer",
    "accuracy",
    "snapshot",
    "exports",
    "operations",
    "study",
    "accounts",
    "account",
    "api",
}
"""Made by the tests in a browser: a page may show one that is not there yet."""

WRITE_DICTIONARY = """.venv/bin/python - > docs/dictionary.md <<END
from medr1_pacs.exports.markdown import dictionary_page
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.research import ResearchAnswer

print(dictionary_page(describe_fields(ResearchAnswer)), end="")
END"""


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def table_under(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of a section's tables: first cell without backticks -> other cells."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page, flags=re.M)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.M)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    named = [row for row in rows if row[0].startswith("`")]
    table = {row[0].strip("`"): row[1:] for row in named}
    assert len(table) == len(named), "a row stands twice"
    return table


def sections(page: str) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.M)
    return {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


def command_names(command, prefix="") -> set[str]:
    names = set()
    for name, inner in getattr(command, "commands", {}).items():
        nested = command_names(inner, f"{prefix}{name} ")
        names |= nested or {f"{prefix}{name}"}
        if getattr(inner, "invoke_without_command", False):
            names.add(f"{prefix}{name}")
    return names


# -- every page --------------------------------------------------------------------------------


def leads_somewhere(page: Path, target: str) -> bool:
    if screenshot := re.fullmatch(r"screenshots/(\w+)\.png", target):
        return screenshot[1] in SCREENSHOTS
    file, _, anchor = target.partition("#")
    linked = (page.parent / file) if file else page
    return linked.exists() and (not anchor or anchor in sections(linked.read_text("utf-8")))


def test_every_relative_link_leads_somewhere():
    links = [
        (path, target)
        for path in [*PAGES, ROOT / "README.md"]
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
        if not re.match(r"[a-z]+:", target)
    ]

    assert {path.name for path, _ in links} >= PAGES_WITH_LINKS
    assert [(p.name, target) for p, target in links if not leads_somewhere(p, target)] == []


def test_every_command_that_a_page_shows_exists():
    known = command_names(get_command(app))
    groups = {name.split()[0] for name in known if " " in name}
    # In code only, on the host or in a container; prose may begin a sentence with our name.
    shown = [
        (path.name, f"{name} {second}".strip() if name in groups else name)
        for path in PAGES
        for name, second in re.findall(
            r"(?:`|^ +(?:.* )?)medr1-pacs +([a-z]+)(?: +([a-z][a-z-]*))?", read(path.name), re.M
        )
    ]

    assert {page for page, _ in shown} >= PAGES_WITH_COMMANDS
    assert [(page, command) for page, command in shown if command not in known] == []


@pytest.mark.parametrize(
    "name",
    [
        "accounts.md",
        "operating.md",
        "site.md",
        "researchers.md",
        "engineers.md",
        "references.md",
        "reading.md",
    ],
)
def test_a_page_begins_with_the_list_of_its_sections(name):
    head, *rest = re.split(r"^## ", read(name), flags=re.M)
    listed = re.findall(r"^- \[(.+)\]\(#", head, flags=re.M)

    assert rest
    assert listed == [section.split("\n")[0] for section in rest]


@pytest.mark.parametrize(
    "name",
    [
        "accounts.md",
        "operating.md",
        "site.md",
        "questions.md",
        "answers.md",
        "researchers.md",
        "dictionary.md",
        "readers.md",
        "auditors.md",
        "engineers.md",
        "references.md",
        "reading.md",
    ],
)
def test_a_page_for_users_says_what_this_is_not_for(name):
    head = " ".join(read(name).split("\n## ")[0].split())

    assert "Research use only, never for clinical decisions." in head


# -- operating ---------------------------------------------------------------------------------


def test_the_table_of_settings_holds_every_setting_and_no_other():
    names = {f"MEDR1_{field.name.upper()}" for field in fields(Settings)}

    assert set(table_under(read("operating.md"), "Settings")) == names


def test_the_table_of_settings_gives_the_real_defaults():
    table = table_under(read("operating.md"), "Settings")
    for field in fields(Settings):
        default, meaning = table[f"MEDR1_{field.name.upper()}"]
        assert field.default is not MISSING
        assert meaning
        if field.default in ("", None, ()):
            assert not re.fullmatch(r"`[^`]*`", default), field.name
        elif isinstance(field.default, bool):
            assert default == f"`{str(field.default).lower()}`"
        elif isinstance(field.default, float):
            assert default == f"`{field.default:g}`"
        else:
            assert default == f"`{field.default}`"


def test_every_setting_that_the_pages_name_exists():
    named = {name for path in PAGES for name in re.findall(r"MEDR1_[A-Z_]+", path.read_text())}

    settings = {f"MEDR1_{field.name.upper()}" for field in fields(Settings)}
    assert named == settings | {"MEDR1_SETTINGS_FILE"}


def test_every_state_of_a_study_has_its_row():
    table = table_under(read("operating.md"), "Where a study is, and what to do")

    assert set(table) == set(StudyState)


def test_every_reason_for_quarantine_has_its_row():
    assert set(table_under(read("operating.md"), "Quarantine")) == set(QuarantineReason)


# -- accounts ----------------------------------------------------------------------------------


def test_every_role_and_every_scope_has_its_row():
    page = read("accounts.md")

    assert set(table_under(page, "Roles")) == set(Role)
    assert set(table_under(page, "Tokens for programs")) == set(Scope)


# -- research ----------------------------------------------------------------------------------


def test_every_kind_of_reading_has_its_row():
    assert set(table_under(read("auditors.md"), "Who read what")) == set(Reading)


def test_every_filter_has_its_row_as_the_source_says_it():
    table = table_under(read("researchers.md"), "Filters")

    assert {name: cells[0] for name, cells in table.items()} == {
        entry.name: entry.meaning for entry in describe_fields(AnswerFilters)
    }
    assert list(table) == [field.name for field in fields(AnswerFilters)]
    for name, choices in CHOICES.items():
        assert table[name][1] == ", ".join(f"`{choice}`" for choice in choices)


def test_every_figure_of_accuracy_has_its_row_as_the_source_says_it():
    table = table_under(read("researchers.md"), "Accuracy")

    assert {name: cells[0] for name, cells in table.items() if name in FIGURES} == {
        entry.name: entry.meaning for entry in describe_fields(AccuracyRow) if entry.name != "by"
    }
    assert set(table) - set(FIGURES) == set(IntervalMethod)


def test_everything_that_accuracy_is_grouped_by_is_named():
    for grouping in Grouping:
        assert f"`{grouping}`" in read("researchers.md").split("## Accuracy")[1].split("## ")[0]


def test_every_policy_of_dates_has_its_row():
    table = table_under(read("researchers.md"), "What is shown of a patient")

    assert set(table) == set(DatePolicy)


def test_every_address_of_the_research_api_has_its_row():
    apis = (api_projects, api_answers, api_accuracy, api_snapshots, api_reference)
    addresses = {route.path for api in apis for route in api.router.routes}

    assert set(table_under(read("researchers.md"), "The API")) == {
        address for address in addresses if address.startswith("/api/v1/")
    }


def test_the_dictionary_is_that_of_the_source():
    page = dictionary_page(describe_fields(ResearchAnswer))

    assert read("dictionary.md") == page, f"write it anew:\n{WRITE_DICTIONARY}"


# -- reference standards -----------------------------------------------------------------------


def test_every_column_and_every_fault_of_a_file_of_truths_has_its_row():
    page = read("references.md")

    assert set(table_under(page, "Columns")) == set(COLUMNS)
    assert set(table_under(page, "Faults")) == set(Fault)


@pytest.mark.parametrize("words", [TruthUnit, Certainty, TruthSource])
def test_the_closed_words_of_a_truth_are_explained(words):
    for word in words:
        assert f"`{word}`" in read("references.md")


# -- reading -----------------------------------------------------------------------------------


def test_every_field_of_a_protocol_has_its_row_in_the_order_of_the_source():
    assert list(table_under(read("reading.md"), "A file")) == list(ReadingProtocol.model_fields)


def test_the_table_of_a_protocol_gives_the_real_defaults():
    table = table_under(read("reading.md"), "A file")
    for name, field in ReadingProtocol.model_fields.items():
        default, meaning = table[name]
        assert meaning
        if isinstance(field.default, bool):
            assert default == str(field.default).lower(), name
        elif isinstance(field.default, int | float):
            assert default == f"{field.default:g}", name
        else:
            assert not default.isdecimal(), name


def test_every_arm_of_a_file_has_its_row():
    assert set(table_under(read("reading.md"), "Arms")) == set(Arm) - {Arm.ADJUDICATION}


def test_the_protocol_of_the_page_is_one():
    [example] = re.findall(r"^((?:    \w+ = .*\n)+)", read("reading.md"), flags=re.M)

    assert parse_protocol(textwrap.dedent(example)).name == "chest-nodules"


def test_every_event_of_a_reading_has_its_row():
    told = set()
    for name in ("protocols", "claiming", "locking", "unblinding", "taking_reads"):
        source = (ROOT / "medr1_pacs" / "db" / f"{name}.py").read_text("utf-8")
        told |= set(re.findall(r'"((?:protocol|case|read|review|adjudication)\.\w+)"', source))
    section = read("reading.md").split("## What the log has")[1]

    assert len(told) > 5
    assert set(re.findall(r"`(\w+\.\w+)`", section)) == told


# -- answers -----------------------------------------------------------------------------------


def test_every_field_of_an_answer_has_its_row_in_the_order_of_the_output():
    page = read("answers.md")
    described = re.findall(r"^\| `(\w+)` \|", page, flags=re.M)

    assert described == [field.name for field in fields(StoredAnswer)]


@pytest.mark.parametrize("words", [ParseStatus, PromptKind, Coverage])
def test_the_closed_words_of_an_answer_are_explained(words):
    assert len(words) > 1
    for word in words:
        assert f"`{word}`" in read("answers.md")


# -- questions ---------------------------------------------------------------------------------


def test_every_field_of_a_question_has_its_row():
    assert set(table_under(read("questions.md"), "A file")) == set(Question.model_fields)


def test_the_example_loads_and_lint_has_nothing_to_say(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", read("questions.md"), flags=re.S)
    (tmp_path / "site.yaml").write_text(example, "utf-8")
    bank = load_bank(PACKAGED_BANK, tmp_path)

    assert bank.find("site-ct-effusion")
    assert not [f for f in lint.lint(bank) if f.question_id == "site-ct-effusion"]


def test_every_policy_preset_function_and_lint_rule_has_its_row():
    page = read("questions.md")

    assert set(table_under(page, "Selection policies")) == set(POLICIES)
    assert f"K is 1 to {MAX_FRAMES}" in page
    assert table_under(page, "Windows") == {
        name: [f"{window.center:g}", f"{window.width:g}"] for name, window in PRESETS.items()
    }
    assert set(FUNCTIONS) <= set(table_under(page, "Truths"))
    assert set(table_under(page, "Lint")) == {*lint._RULES, "not reviewed"}


@pytest.mark.parametrize("words", [Modality, Task, Aggregate, Coverage, ROUTED_FACTS])
def test_the_closed_words_of_a_question_are_named(words):
    assert len(words) > 1
    for word in words:
        assert f"`{word}`" in read("questions.md")
