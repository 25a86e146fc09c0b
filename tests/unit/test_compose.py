"""compose.yaml and the Dockerfiles fit each other, the command line and the settings."""

import re
import tomllib
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from medr1_pacs.admission import Rejection, find_rejection, parse_allowed_peers
from medr1_pacs.cli import app
from medr1_pacs.healthcheck import CALLING_AE_TITLE, CHECKS
from medr1_pacs.settings import Settings, is_loopback

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
STAYING = [name for name in SERVICES if name not in ONE_SHOT]
DEPENDENCIES = [
    (name, other) for name, service in SERVICES.items() for other in service.get("depends_on", ())
]
MOUNTED = {
    volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())
}
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
SETTINGS = {f"MEDR1_{field.name.upper()}" for field in fields(Settings)}

every_service = pytest.mark.parametrize("name", SERVICES)
our_service = pytest.mark.parametrize("name", OURS)
every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)


def strings(value):
    """Yield every text of a parsed file, keys and values alike."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif value is not None:
        yield str(value)


def waiting_for(other: str) -> set[str]:
    return {name for name, awaited in DEPENDENCIES if awaited == other}


def given(setting: str) -> set[str]:
    """Return the services that have this setting in their environment."""
    return {
        name for name, service in SERVICES.items() if setting in (service.get("environment") or {})
    }


def run_of(path: Path) -> list[tuple[str, str]]:
    """Return (instruction, rest) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def parse_command(command, words):
    """Walk a command line through typer's tree; raises what typer raises."""
    context = command.make_context("medr1-pacs", list(words))
    if hasattr(command, "resolve_command"):
        _name, inner, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        parse_command(inner, rest)


# -- services ----------------------------------------------------------------------------------


def test_the_services_are_those_of_a_site():
    assert set(STAYING) == {
        "postgres", "redis", "listener", "sweep", "render", "answer-gpu", "answer-cpu", "web",
    }  # fmt: skip
    assert set(ONE_SHOT) == {"migrate", "checkpoints"}


def test_all_services_but_the_servers_are_built_here():
    assert set(SERVICES) - set(OURS) == {"postgres", "redis"}


@pytest.mark.parametrize("name", STAYING)
def test_a_service_that_stays_has_a_health_check_and_starts_again(name):
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("listener", "listen"),
        ("sweep", "sweep"),
        ("render", "render"),
        ("answer-gpu", "answer"),
        ("answer-cpu", "answer"),
        ("web", "web"),
    ],
)
def test_our_health_checks_ask_for_the_kind_that_the_service_is(name, kind):
    assert SERVICES[name]["healthcheck"]["test"] == [
        "CMD", "python", "-P", "-m", "medr1_pacs.healthcheck", kind,
    ]  # fmt: skip
    assert kind in CHECKS
    assert SERVICES[name]["command"][-1].startswith(kind)


@pytest.mark.parametrize(("name", "other"), DEPENDENCIES)
def test_a_dependency_exists_and_its_condition_can_be_met(name, other):
    condition = SERVICES[name]["depends_on"][other]["condition"]
    possible = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"

    assert condition == possible
    assert "profiles" not in SERVICES[other]


def test_whoever_uses_a_server_waits_for_it():
    users = set(OURS) - {"checkpoints"}
    on_the_broker = {"sweep", "render", "answer-gpu", "answer-cpu"}

    assert given("MEDR1_DATABASE_URL") == waiting_for("postgres") == users
    assert given("MEDR1_BROKER_URL") == waiting_for("redis") == on_the_broker
    assert waiting_for("migrate") == users - {"migrate"}


@our_service
def test_our_commands_are_commands_of_the_program(name):
    service = SERVICES[name]
    entrypoint = service.get("entrypoint", ["medr1-pacs"])

    assert entrypoint[0] == "medr1-pacs"
    parse_command(get_command(app), [*entrypoint[1:], *service["command"]])


def test_a_command_that_does_not_exist_would_be_noticed():
    with pytest.raises(Exception, match="No such command"):
        parse_command(get_command(app), ["listne"])
    with pytest.raises(Exception, match="is not one of"):
        parse_command(get_command(app), ["worker", "paint"])


def test_every_setting_that_is_named_exists():
    # `${NAME` too: what .env is asked for
    named = set(re.findall(r"MEDR1_[A-Z_]+", " ".join(strings(COMPOSE))))

    assert named
    assert named <= SETTINGS


# -- what a site must not get by default -------------------------------------------------------


@every_service
def test_images_are_pinned_or_built_here(name):
    image = SERVICES[name]["image"]
    repository, _, tag = image.partition(":")

    assert tag
    assert "latest" not in tag
    if name in OURS:
        assert tag == "local"
        assert SERVICES[name]["pull_policy"] == "build"
    else:
        assert "/" not in repository  # an official image


def test_no_password_is_written_down():
    environments = [service.get("environment") or {} for service in SERVICES.values()]
    values = [(name, str(value)) for each in environments for name, value in each.items()]
    named = {value for name, value in values if "PASSWORD" in name}
    in_urls = {found for _, value in values for found in re.findall(r"://[^:/@{]+:(.+)@", value)}

    assert named
    assert in_urls
    for password in named | in_urls:
        assert re.fullmatch(r"\$\{[A-Z_]+_PASSWORD:\?[^}]+\}", password)


def rejection_of(line: str, address: str) -> Rejection | None:
    """How the listener's own health check is answered from an address."""
    return find_rejection(
        parse_allowed_peers([line]),
        frozenset({Settings().ae_title}),
        calling_ae_title=CALLING_AE_TITLE,
        called_ae_title=Settings().ae_title,
        address=address,
    )


def test_the_allow_list_is_required_and_admits_the_health_check():
    environment = SERVICES["listener"]["environment"]
    own, _, theirs = environment["MEDR1_ALLOWED_PEERS"].partition(",")

    assert re.fullmatch(r"\$\{MEDR1_ALLOWED_PEERS:\?[^}]+\}", theirs)
    assert rejection_of(own, "127.0.0.1") is None
    assert rejection_of(own, "172.18.0.1") is not None
    assert not is_loopback(environment["MEDR1_DICOM_HOST"])


def test_only_the_listener_and_the_pages_are_published_and_the_pages_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(published) == {"listener", "web"}
    [pages], [dicom] = published["web"], published["listener"]
    assert pages.startswith("127.0.0.1:")
    assert pages.endswith(":" + SERVICES["web"]["environment"]["MEDR1_WEB_PORT"])
    assert dicom.endswith(":" + SERVICES["listener"]["environment"]["MEDR1_DICOM_PORT"])


@every_service
def test_a_container_has_no_privileges_and_a_read_only_root(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert str(service["user"]).split(":")[0] not in {"root", "0"}


def test_what_answers_cannot_reach_another_host():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis", "migrate", "sweep", "render", "answer-gpu", "answer-cpu"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_what_reaches_another_host_sees_no_patient():
    mounted = {volume.split(":")[0] for volume in SERVICES["checkpoints"]["volumes"]}

    assert mounted == {"weights", "./site"}
    assert "MEDR1_DATABASE_URL" not in SERVICES["checkpoints"]["environment"]


def test_the_key_of_the_pseudonyms_is_the_sweeps_alone():
    holders = {
        name for name, service in SERVICES.items() if "key:/key" in service.get("volumes", [])
    }

    assert holders == {"sweep"}
    assert SERVICES["sweep"]["environment"]["MEDR1_SITE_KEY_FILE"] == "/key/site.key"


@every_service
def test_the_host_name_stays_the_containers_own(name):
    # Worker rows tell hosts apart by it: a shared one would let workers take over living claims.
    assert "hostname" not in SERVICES[name]


# -- GPU and CPU -------------------------------------------------------------------------------


def test_the_profile_gpu_reserves_a_device_for_its_worker():
    service = SERVICES["answer-gpu"]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]

    assert service["profiles"] == ["gpu"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert len(device["device_ids"]) == 1


def test_the_profile_cpu_has_the_same_worker_without_a_device():
    gpu, cpu = SERVICES["answer-gpu"], SERVICES["answer-cpu"]

    assert cpu["profiles"] == ["cpu"]
    assert {key: value for key, value in gpu.items() if key not in ("deploy", "profiles")} == {
        key: value for key, value in cpu.items() if key != "profiles"
    }


# -- files -------------------------------------------------------------------------------------


def test_every_volume_that_is_mounted_exists():
    volumes = {source for source in MOUNTED if not source.startswith("./")}

    assert volumes
    assert volumes == set(COMPOSE["volumes"])


def test_every_file_that_is_mounted_exists():
    # The site's own folder is the site's to make.
    files = {source for source in MOUNTED if source.startswith("./")} - {"./site"}

    assert files
    for file in files:
        assert (ROOT / file).is_file()


@our_service
def test_an_image_is_built_from_a_dockerfile_of_ours(name):
    build = SERVICES[name]["build"]

    assert build["context"] == "."
    assert ROOT / build["dockerfile"] in DOCKERFILES


def test_the_database_roles_get_their_passwords_from_the_container():
    script = (ROOT / "docker" / "postgres-init.sql").read_text("utf-8")
    environment = SERVICES["postgres"]["environment"]
    passwords = {name for name in environment if name.endswith("_DB_PASSWORD")}

    assert passwords
    assert set(re.findall(r"\\getenv \w+ (\w+)", script)) == passwords


def test_the_database_roles_are_those_that_the_services_connect_as():
    script = (ROOT / "docker" / "postgres-init.sql").read_text("utf-8")
    urls = " ".join(strings([service.get("environment") for service in OURS.values()]))
    connecting = set(re.findall(r"psycopg://(\w+):", urls))

    assert connecting
    assert set(re.findall(r"CREATE ROLE (\w+)", script)) == connecting


@every_dockerfile
def test_what_a_dockerfile_copies_exists_and_is_not_ignored(path):
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    admitted = [line[1:] for line in ignored if line.startswith("!")]
    copies = [rest for instruction, rest in run_of(path) if instruction == "COPY"]
    from_here = [copied for copied in copies if not copied.startswith("--from=build")]
    sources = [source for copied in from_here for source in copied.split()[:-1]]

    assert "*" in ignored
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in admitted), source


@every_dockerfile
def test_an_image_has_two_stages_a_pinned_base_and_a_user_without_rights(path):
    lines = run_of(path)
    bases = [rest.split()[0] for instruction, rest in lines if instruction == "FROM"]
    [user] = [rest for instruction, rest in lines if instruction == "USER"]

    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])
    assert user == OURS["sweep"]["user"]
    assert user.split(":")[0] != "0"


@every_dockerfile
def test_an_image_installs_the_pinned_packages_and_starts_the_program(path):
    lines = run_of(path)
    [install] = [rest for instruction, rest in lines if "pip install" in rest]
    settings = set(re.findall(r"(MEDR1_[A-Z_]+)=", path.read_text("utf-8")))

    assert "-c constraints.txt" in install
    assert install.endswith('".[worker]"' if path.stem == "worker" else " .")
    assert ("ENTRYPOINT", '["medr1-pacs"]') in lines
    assert settings
    assert settings <= SETTINGS


def test_the_extra_that_the_worker_image_installs_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert "worker" in project["optional-dependencies"]
    assert "medr1-pacs" in project["scripts"]


@our_service
def test_mounted_folders_exist_in_the_image_so_that_volumes_take_their_owner(name):
    dockerfile = (ROOT / OURS[name]["build"]["dockerfile"]).read_text("utf-8")
    made = set(re.findall(r" (/\w+)", " ".join(re.findall(r"install -d (.*)", dockerfile))))
    mounted = {volume.split(":")[1] for volume in OURS[name]["volumes"]}

    assert mounted
    assert mounted <= made
