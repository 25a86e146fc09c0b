from pathlib import Path

import pytest

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.settings import Settings, is_loopback, load_settings


@pytest.fixture
def load(tmp_path):
    """Load settings from an environment and the text of a medr1.toml."""

    def load(environ=(), content=None, **overrides):
        if content is not None:
            (tmp_path / "medr1.toml").write_text(content)
        return load_settings(dict(environ), tmp_path, **overrides)

    return load


def test_without_anything_the_defaults_hold(load):
    assert load() == Settings()


def test_the_defaults_are_the_documented_ones():
    settings = Settings()

    assert (settings.ae_title, settings.dicom_host, settings.dicom_port) == (
        "MEDR1",
        "127.0.0.1",
        11112,
    )
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8080)
    assert (settings.study_quiet_s, settings.backlog_max) == (300, 50_000)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(load):
    environ, content = {"MEDR1_AE_TITLE": "ENV"}, 'ae_title = "FILE"\ndicom_port = 104'

    settings = load(environ, content)

    assert (settings.ae_title, settings.dicom_port, settings.web_port) == ("ENV", 104, 8080)


def test_an_override_wins_over_everything(load):
    assert load({"MEDR1_STUDY_QUIET_S": "9"}, study_quiet_s=3.0).study_quiet_s == 3.0


def test_a_file_may_use_the_environments_names(load):
    assert load(content='MEDR1_AE_TITLE = "FILE"').ae_title == "FILE"


def test_everything_lies_in_the_data_folder_unless_it_has_its_own_place(load):
    settings = load({"MEDR1_DATA_DIR": "/data", "MEDR1_STORAGE_DIR": "/big"})

    assert settings.storage_path == Path("/big")
    assert settings.weights_path == Path("/data/weights")
    assert settings.site_key_path == Path("/data/site.key")
    assert settings.database_url == "sqlite:////data/medr1.sqlite"
    assert settings.vault_url == "sqlite:////data/vault.sqlite"
    assert settings.broker_url == "filesystem://"


@pytest.mark.parametrize(
    ("database_url", "vault_url"),
    [
        (
            "postgresql+psycopg://medr1@db/medr1",
            "postgresql+psycopg://medr1@db/medr1?options=-csearch_path%3Dvault",
        ),
        (
            "postgresql+psycopg://medr1@db/medr1?sslmode=require",
            "postgresql+psycopg://medr1@db/medr1?sslmode=require&options=-csearch_path%3Dvault",
        ),
        ("sqlite:////elsewhere/r.sqlite", "sqlite:////data/vault.sqlite"),
    ],
)
def test_the_vault_is_apart_from_the_research_database(load, database_url, vault_url):
    settings = load({"MEDR1_DATA_DIR": "/data", "MEDR1_DATABASE_URL": database_url})

    assert settings.vault_url == vault_url


def test_a_vault_of_its_own_is_left_alone(load):
    url = "postgresql+psycopg://keeper@vault/vault"

    assert load({"MEDR1_VAULT_URL": url}).vault_url == url


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("MEDR1_ALLOWED_PEERS", "A@10.0.0.1, *@10.1.0.0/16,", "allowed_peers",
         ("A@10.0.0.1", "*@10.1.0.0/16")),
        ("MEDR1_ALLOWED_PEERS", "", "allowed_peers", ()),
        ("MEDR1_THINK", "no", "think", False),
        ("MEDR1_THINK", "TRUE", "think", True),
        ("MEDR1_STUDY_QUIET_S", "0.5", "study_quiet_s", 0.5),
        ("MEDR1_CHECKPOINTS", "", "checkpoints", None),
        ("MEDR1_CHECKPOINTS", "c.toml", "checkpoints", Path("c.toml")),
        ("MEDR1_DICOM_PORT", "0", "dicom_port", 0),
    ],
)  # fmt: skip
def test_texts_of_the_environment_become_values(load, name, text, field, value):
    assert getattr(load({name: text}), field) == value


def test_lists_and_booleans_of_a_file_are_taken_as_they_are(load):
    settings = load(content='allowed_peers = ["A@10.0.0.1"]\nthink = false\nbatch_size = 4')

    assert (settings.allowed_peers, settings.think, settings.batch_size) == (
        ("A@10.0.0.1",),
        False,
        4,
    )


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"MEDR1_DICOM_PORT": "eleven"}, "MEDR1_DICOM_PORT: cannot read 'eleven' as int"),
        ({"MEDR1_DICOM_PORT": "65536"}, "MEDR1_DICOM_PORT: a TCP port is 0 to 65535"),
        ({"MEDR1_WEB_PORT": "-1"}, "MEDR1_WEB_PORT"),
        ({"MEDR1_THINK": "maybe"}, "MEDR1_THINK: cannot read 'maybe'"),
        ({"MEDR1_AE_TITLE": "SEVENTEEN_LETTERS"}, "MEDR1_AE_TITLE"),
        ({"MEDR1_AE_TITLE": "   "}, "MEDR1_AE_TITLE"),
        ({"MEDR1_AE_TITLE": "A\\B"}, "MEDR1_AE_TITLE"),
        ({"MEDR1_AE_TITLE": "A\n"}, "MEDR1_AE_TITLE"),
        ({"MEDR1_STUDY_QUIET_S": "0"}, "MEDR1_STUDY_QUIET_S: must be above 0"),
        ({"MEDR1_STUDY_QUIET_S": "nan"}, "MEDR1_STUDY_QUIET_S"),
        ({"MEDR1_STUDY_QUIET_S": "inf"}, "MEDR1_STUDY_QUIET_S"),
        ({"MEDR1_INSTANCE_MAX_MB": "0"}, "MEDR1_INSTANCE_MAX_MB: must be above 0"),
        ({"MEDR1_BACKLOG_MAX": "-5"}, "MEDR1_BACKLOG_MAX: must be above 0"),
        ({"MEDR1_BATCH_SIZE": "-1"}, "MEDR1_BATCH_SIZE"),
        ({"MEDR1_STORAGE_RESERVE_MB": "-1"}, "MEDR1_STORAGE_RESERVE_MB"),
        ({"MEDR1_DATABASE_URL": "postgresql://u@h/n"}, r"MEDR1_DATABASE_URL: expected .*\+psycopg"),
        ({"MEDR1_VAULT_URL": "mysql://h"}, "MEDR1_VAULT_URL"),
        ({"MEDR1_BROKER_URL": "amqp://h"}, "MEDR1_BROKER_URL: expected redis"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_setting(load, environ, complaint):
    with pytest.raises(SettingInvalid, match=complaint):
        load(environ)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('ae_titel = "X"', "no setting 'ae_titel'; did you mean 'ae_title'"),
        ("zebra = 1", r"no setting 'zebra'; did you mean '\w+'\?$"),
        ("dicom_port = ", "not valid TOML"),
        ('dicom_port = "x"', "medr1.toml: dicom_port: cannot read 'x' as int"),
        ("dicom_port = 104.5", "medr1.toml: dicom_port: cannot read 104.5 as int"),
        ("allowed_peers = 5", "medr1.toml: allowed_peers"),
        ("ae_title = 5", "medr1.toml: ae_title"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(load, content, complaint):
    with pytest.raises(SettingInvalid, match=complaint):
        load(content=content)


def test_a_misspelt_name_in_the_environment_is_refused_with_a_suggestion(load):
    with pytest.raises(SettingInvalid, match=r"MEDR1_AE_TITEL.*did you mean 'ae_title'"):
        load({"MEDR1_AE_TITEL": "X"})


def test_a_name_like_no_setting_is_refused_too(load):
    with pytest.raises(
        SettingInvalid, match=r"there is no setting MEDR1_PEERS; did you mean '\w+'"
    ):
        load({"MEDR1_PEERS": "PACS1@10.1.2.3"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MEDR1_SERVICE_HOST", "10.0.0.1"),
        ("MEDR1_SERVICE_PORT_HTTP", "8080"),
        ("MEDR1_PORT", "tcp://10.0.0.1:8080"),
        ("MEDR1_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("MEDR1_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("MEDR1_WEB_SERVICE_PORT", "8080"),
        ("MEDR1_WEB_PORT", "tcp://10.0.0.1:8080"),
    ],
)
def test_a_service_link_of_kubernetes_is_refused_with_its_remedy(load, name, text):
    with pytest.raises(SettingInvalid, match=rf"{name};.*`enableServiceLinks: false`"):
        load({name: text})


@pytest.mark.parametrize("name", ["MEDR1_AE_TITEL", "MEDR1_DICM_PORT"])
def test_a_mistake_that_looks_like_nothing_of_kubernetes_gets_no_such_advice(load, name):
    with pytest.raises(SettingInvalid) as refusal:
        load({name: "104"})

    assert "Kubernetes" not in str(refusal.value)


def test_names_of_others_in_the_environment_are_none_of_ours(load):
    assert load({"HOME": "/x", "PG_MEDR1_AE_TITLE": "X"}) == Settings()


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ({}, False),
        ({"database_url": "postgresql+psycopg://medr1:a@db/medr1"}, True),
        (
            {
                "database_url": "postgresql+psycopg://medr1:a@db/medr1",
                "vault_url": "postgresql+psycopg://medr1:a@db/vault",
            },
            True,
        ),
        (
            {
                "database_url": "postgresql+psycopg://medr1:a@db/medr1",
                "vault_url": "postgresql+psycopg://medr1_vault:b@db/medr1",
            },
            False,
        ),
    ],
    ids=["sqlite", "derived", "same role", "role of its own"],
)
def test_whether_the_vault_has_a_role_of_its_own_is_known(urls, expected):
    assert Settings(**urls).is_vault_of_research_role is expected


def test_a_settings_file_may_lie_elsewhere(load, tmp_path):
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text('ae_title = "ELSE"')

    assert load({"MEDR1_SETTINGS_FILE": str(elsewhere)}).ae_title == "ELSE"


def test_a_settings_file_that_is_named_must_exist(load):
    with pytest.raises(SettingInvalid, match=r"MEDR1_SETTINGS_FILE names /no/medr1.toml"):
        load({"MEDR1_SETTINGS_FILE": "/no/medr1.toml"})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example", False),
    ],
)
def test_loopback_is_what_this_machine_alone_reaches(host, expected):
    assert is_loopback(host) is expected


PROVIDER = {
    "MEDR1_OIDC_ISSUER": "https://idp.example.org",
    "MEDR1_OIDC_CLIENT_ID": "medr1",
    "MEDR1_OIDC_ROLES": "readers=reader@lung",
    "MEDR1_WEB_URL": "https://medr1.example.org",
}


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"MEDR1_WEB_URL": "medr1.example.org"}, "MEDR1_WEB_URL"),
        ({"MEDR1_WEB_URL": "https://medr1.example.org/pacs"}, "MEDR1_WEB_URL"),
        ({"MEDR1_WEB_CERTIFICATE": "a.pem"}, "MEDR1_WEB_KEY"),
        ({"MEDR1_WEB_KEY": "a.pem"}, "MEDR1_WEB_CERTIFICATE"),
        ({"MEDR1_TRUSTED_PROXIES": "proxy.example.org"}, "MEDR1_TRUSTED_PROXIES"),
        ({"MEDR1_TRUSTED_PROXIES": "10.0.0.1/24"}, "MEDR1_TRUSTED_PROXIES"),
        ({"MEDR1_SESSION_IDLE_S": "0"}, "MEDR1_SESSION_IDLE_S"),
        (PROVIDER | {"MEDR1_OIDC_ISSUER": "http://idp.example.org"}, "MEDR1_OIDC_ISSUER"),
        (PROVIDER | {"MEDR1_OIDC_CLIENT_ID": ""}, "MEDR1_OIDC_CLIENT_ID"),
        (PROVIDER | {"MEDR1_OIDC_ROLES": ""}, "MEDR1_OIDC_ROLES"),
        (PROVIDER | {"MEDR1_WEB_URL": ""}, "MEDR1_WEB_URL"),
    ],
)
def test_doors_that_cannot_be_are_refused_and_named(load, environ, name):
    with pytest.raises(SettingInvalid, match=name):
        load(environ)


def test_a_provider_with_all_that_it_needs_is_taken(load):
    assert load(PROVIDER).oidc_roles == ("readers=reader@lung",)
