"""Every recipe of docs/researchers.md runs, and all of them count the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import uvicorn
from factories import make_instance
from sqlalchemy import text

from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.research_views import grant_research
from medr1_pacs.demo.studies import make_study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.processes import module_environment
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import DatePolicy, Modality, Role

postgresql_only = pytest.mark.parametrize("site", ["postgresql"], indirect=True)

PAGE = Path(__file__).parents[2] / "docs" / "researchers.md"
LUNG = ProjectRules(
    (Project("default"), Project("lung", dates=DatePolicy.SHIFTED)),
    (ProjectRule("lung", {"called_ae_title": "LUNG"}),),
)
COUNTING = (
    ("curl", "duckdb"),
    ("pandas-api", "pandas-share"),
    ("pandas-view", "pandas-share"),
    ("pandas-sqlite", "pandas-share"),
    ("r-csv", "r-share"),
    ("r-jsonlite", "r-share"),
    ("r-view", "r-share"),
    ("r-sqlite", "r-share"),
    ("psql",),
)
OTHERS = ("pages", "snapshot")
R_PACKAGES = {
    "r-jsonlite": ("jsonlite",),
    "r-view": ("DBI", "RPostgres"),
    "r-sqlite": ("DBI", "RSQLite"),
}


class Recipe(NamedTuple):
    """A block of code and what it is written in."""

    language: str
    code: str


RECIPES = {
    name: Recipe(language, code)
    for name, language, code in re.findall(
        r"^<!-- recipe: ([a-z-]+) -->\n```([a-z]+)\n(.*?)^```$",
        PAGE.read_text("utf-8"),
        re.M | re.S,
    )
}


@pytest.fixture
def lung(answered, indexer, database):
    """Answers in the project `lung`: of two patients, in two modalities, some of them right."""
    indexer.rules = LUNG
    answered(*make_study(Modality.XRAY, 1), called_ae_title="LUNG")
    answered(*make_study(Modality.XRAY, 2), called_ae_title="LUNG")
    answered(make_instance(PatientID="1e5", PatientSex="F"), called_ae_title="LUNG")
    return list(iterate_found(database, "lung", AnswerFilters()))


@pytest.fixture
def ada(lung, database):
    """A PostgreSQL role that may read the view of `lung`."""
    with database.connection() as connection:
        connection.execute(text("CREATE ROLE ada LOGIN"))
    with database.write() as session:
        grant_research(session, "ada", "lung", actor="operator")
    yield "ada"
    with database.connection() as connection:
        connection.execute(text("DROP OWNED BY ada; DROP ROLE ada"))


@pytest.fixture
def served(app):
    """Serve the application in a thread; the URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def run(ada, served, app, give_token, site, tmp_path):
    """Run a program where a researcher of `lung` works; what it prints."""
    program = give_token(app, roles={"lung": [Role.RESEARCHER]})
    connection = psycopg.conninfo.conninfo_to_dict(site.database_url.replace("+psycopg", ""))
    environment = module_environment() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PACS_URL": served,
        "PACS_TOKEN": program.headers["Authorization"].removeprefix("Bearer "),
        "PGHOST": str(connection["host"]),
        "PGPORT": str(connection["port"]),
        "PGUSER": ada,
        "PGDATABASE": str(connection["dbname"]),
        "MEDR1_DATA_DIR": str(site.data_dir),
        "MEDR1_DATABASE_URL": site.database_url,
    }

    def run(command):
        result = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def follow(run):
    """Follow recipes one after the other; what they print."""

    def follow(*names):
        if any(name.endswith("-sqlite") for name in names):
            write = "medr1-pacs query --project lung --format sqlite --out lung.sqlite"
            assert write in PAGE.read_text("utf-8")
            run(write.split())
        recipes = [RECIPES[name] for name in names]
        if len({recipe.language for recipe in recipes}) == 1:  # one goes on where another ended
            recipes = [Recipe(recipes[0].language, "\n".join(recipe.code for recipe in recipes))]
        return "".join(run(command_of(recipe)) for recipe in recipes)

    return follow


def command_of(recipe):
    match recipe.language:
        case "sh":
            return ["bash", "-euo", "pipefail", "-c", recipe.code]
        case "python":
            return [sys.executable, "-c", recipe.code]
        case "r":
            return ["Rscript", "--vanilla", "-e", recipe.code]
    raise AssertionError(recipe.language)


def need_r(*packages):
    """Skip where R or a package of it is missing, also on CI: `make test` does not install it."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    asked = " && ".join(f'requireNamespace("{package}", quietly=TRUE)' for package in packages)
    has_all = f"quit(status = if ({asked or 'TRUE'}) 0 else 1)"
    if subprocess.run(["Rscript", "--vanilla", "-e", has_all], check=False).returncode:
        pytest.skip(f"R has not all of {', '.join(packages)}")


def shares_in(printed):
    """Return modality -> numbers behind it, of a table however it is drawn."""
    return {
        modality: [float(number) for number in re.findall(r"\d+(?:\.\d+)?", rest)]
        for line in printed.splitlines()
        for modality, rest in re.findall(r"\b(X-Ray|CT)\b((?:(?!X-Ray|CT\b).)*)$", line)
    }


def shares_of(answers):
    known = [answer for answer in answers if answer.is_correct is not None]
    groups = {
        modality: [answer for answer in known if answer.modality == modality]
        for modality in {answer.modality for answer in known}
    }
    return {
        modality: [
            len({answer.patient_pseudonym for answer in group}),
            len(group),
            sum(answer.is_correct for answer in group) / len(group),
        ]
        for modality, group in groups.items()
    }


@postgresql_only
@pytest.mark.parametrize("names", COUNTING, ids=" ".join)
def test_a_recipe_counts_what_there_is(follow, lung, names):
    if names[0].startswith("r-"):
        need_r(*R_PACKAGES.get(names[0], ()))

    printed = shares_in(follow(*names))

    expected = shares_of(lung)
    assert set(expected) == {"X-Ray", "CT"}
    assert printed == {name: pytest.approx(share, abs=1e-3) for name, share in expected.items()}


@postgresql_only
def test_pages_are_followed_to_the_last(follow, lung, monkeypatch):
    small = RECIPES["pages"].code.replace("limit=1000", "limit=2")
    monkeypatch.setitem(RECIPES, "pages", Recipe("python", small))

    lines = follow("pages").splitlines()

    known = [answer for answer in lung if answer.is_correct is not None]
    assert "limit=2" in small
    assert len(known) > 4
    assert lines == [f"{a.answer_id} {a.modality} {a.is_correct}" for a in known]


@postgresql_only
def test_the_hash_of_a_snapshot_is_that_of_its_download(follow):
    made, end = json.JSONDecoder().raw_decode(printed := follow("snapshot"))

    assert (made["name"], made["filters"]) == ("Table 2", {"modality": ["X-Ray"]})
    assert printed[end:].split() == [made["sha256"], "table-2.jsonl"]


@postgresql_only
def test_every_command_of_the_page_runs(run):
    commands = re.findall(r"^    (medr1-pacs .*)$", PAGE.read_text("utf-8"), re.M)

    assert len(commands) > 10
    for command in commands:
        run(["bash", "-euo", "pipefail", "-c", command])


def test_every_block_of_the_recipes_is_run():
    section = PAGE.read_text("utf-8").split("\n## Recipes\n")[1]

    assert len(re.findall(r"^```\w+$", section, re.M)) == len(RECIPES)
    assert {*OTHERS, *(name for names in COUNTING for name in names)} == set(RECIPES)
