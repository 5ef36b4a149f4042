"""Where a setting comes from, who wins, and what is said about a bad one."""

from pathlib import Path
from typing import Any

import pytest

from penstock.app.settings import Settings, SettingsError, UpstreamSettings, load
from penstock.domain.principal import Pool


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write(tmp_path / "own.toml", "port = 1\nhost = '127.0.0.2'\nworkers = 7\n[routing]\neject_after = 2\nsuspect_seconds = 3\n")
    monkeypatch.setenv("PENSTOCK_PORT", "2")
    monkeypatch.setenv("PENSTOCK_HOST", "127.0.0.3")
    monkeypatch.setenv("PENSTOCK_ROUTING__EJECT_AFTER", "9")
    settings = load({"port": 3, "host": None, "worker": {"slots": 4}}, config)
    assert (settings.port, settings.host, settings.workers) == (3, "127.0.0.3", 7)
    assert (settings.routing.eject_after, settings.routing.suspect_seconds, settings.routing.dead_seconds) == (9, 3, 30)
    assert settings.worker.slots == 4


def test_the_defaults_look_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PORT", "2")
    assert Settings().port == 8080


def test_a_file_in_the_data_directory_is_found(tmp_path: Path) -> None:
    write(tmp_path / "penstock.toml", "port = 5\n")
    assert load({}).port == 5


def test_a_file_named_by_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_CONFIG", str(write(tmp_path / "other.toml", "port = 6\n")))
    assert load({}).port == 6


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_WORKERS", "")
    assert load({}).workers is None


def test_lists_are_read_from_commas_and_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_MODELS", "a/b, c")
    monkeypatch.setenv("PENSTOCK_DISCOVER_PORTS", "[1, 2]")
    settings = load({})
    assert (settings.models, settings.discover_ports) == (("a/b", "c"), (1, 2))


def test_upstreams_are_pairs_or_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"upstreams": ["m/x:1=https://a/v1/?q=1", "http://127.0.0.1:9/v1"]})
    assert settings.upstreams == (
        UpstreamSettings(model="m/x:1", url="https://a/v1/?q=1"),
        UpstreamSettings(model="", url="http://127.0.0.1:9"),
    )
    monkeypatch.setenv("PENSTOCK_UPSTREAMS", '[{"url": "https://a/v1", "secret": "s", "pool": "overflow", "slots": 3}]')
    [upstream] = load({}).upstreams
    assert (upstream.url, upstream.secret.get_secret_value(), upstream.pool, upstream.slots) == ("https://a", "s", Pool.OVERFLOW, 3)


def test_default_store_and_simulated_workers_follow_from_other_settings(tmp_path: Path) -> None:
    settings = load({})
    assert (settings.simulated_workers, settings.store_url) == (2, f"sqlite:///{tmp_path}/penstock.db")
    assert load({"models": ["m"]}).simulated_workers == 0
    assert load({"models": ["m"], "workers": 1}).simulated_workers == 1
    assert load({"store": "postgresql://h/d"}).store_url == "postgresql://h/d"


def test_origins_are_read_as_browsers_write_them() -> None:
    origins = load({"cors_origins": "https://App.test/, http://localhost:*,https://*.app.test,null,*"}).cors_origins
    assert origins == ("https://app.test", "http://localhost:*", "https://*.app.test", "null", "*")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_secrets_are_not_shown() -> None:
    settings = load({"secret_key": "hush", "worker": {"token": "hush"}})
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"port": 70000}, {}, "port (flag): "),
        ({}, {"PENSTOCK_PORT": "tcp://192.0.2.1:80"}, "port (environment PENSTOCK_PORT): "),
        (
            {},
            {"PENSTOCK_ROUTING__EJECT_AFTR": "1"},
            "routing.eject_aftr (environment PENSTOCK_ROUTING__EJECT_AFTR): there is no such setting",
        ),
        ({"upstreams": ["llama"]}, {}, "upstreams.0 (flag): must be MODEL=URL"),
        ({"upstreams": ["=http://a"]}, {}, "must be MODEL=URL"),
        ({"upstreams": ["m=ftp://a"]}, {}, "must be MODEL=URL"),
        ({}, {"PENSTOCK_UPSTREAMS": "[oops"}, "upstreams (environment PENSTOCK_UPSTREAMS): is not a JSON list"),
        ({"cors_origins": ["https://app.test/chat"]}, {}, "cors_origins.0 (flag): 'https://app.test/chat' is not an origin"),
        ({"cors_origins": "app.test"}, {}, "cors_origins.0 (flag): 'app.test' is not an origin"),
        ({"cors_origins": "https://*app.test"}, {}, "cors_origins.0 (flag): 'https://*app.test' is not an origin"),
        ({"http": {"trusted_proxies": "10.0.0.0/33"}}, {}, "http.trusted_proxies.0 (flag): '10.0.0.0/33' is not a network"),
        ({"http": {"client_address_from": "x-real-ip"}}, {}, "http.client_address_from (flag): "),
        ({"http": {"root_path": "/a b"}}, {}, "http.root_path (flag): must be a path such as /penstock"),
        ({"tls_cert": "cert.pem"}, {}, "tls_key is missing"),
        ({"tls_cert": "absent.pem", "tls_key": "key.pem"}, {}, "tls_cert: there is no file absent.pem"),
        ({"tls_key": "key.pem"}, {}, "tls_cert is missing"),
        ({"worker": {"pool": "fast"}}, {}, "worker.pool (flag): "),
        ({"worker": {"join": "gateway:8080"}}, {}, "worker.join (flag): must begin with http:// or https://"),
        ({}, {"PENSTOCK_ROUTING": "{oops"}, "environment PENSTOCK_*: "),
    ],
)
def test_a_bad_value_is_named_with_its_source(
    flags: dict[str, Any], environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load(flags)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1\n", "prot (file {path}): there is no such setting"),
        ("[http]\nx = 1\n", "http.x (file {path}): "),
        ("port = \n", "settings file {path}: "),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "own.toml", text)
    with pytest.raises(SettingsError) as raised:
        load({}, path)
    assert said.format(path=path) in str(raised.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: No such file"):
        load({}, tmp_path / "absent.toml")


def test_every_setting_and_section_has_a_description() -> None:
    def bare(section: Any, prefix: str) -> list[str]:
        names = []
        for name, field in section.model_fields.items():
            inner = type(field.default)
            if hasattr(inner, "model_fields"):
                names += bare(inner, f"{name}.") + ([] if inner.__doc__ else [name])
            elif not field.description:
                names.append(prefix + name)
        return names

    assert bare(Settings, "") == []


def test_unknown_variable_at_the_top_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PORTT", "3")
    with pytest.raises(SettingsError, match=r"environment PENSTOCK_PORTT: there is no such setting"):
        load({})


@pytest.mark.parametrize("name", ["PENSTOCK_API_KEY", "PENSTOCK_CA_FILE", "PENSTOCK_INTERPRETED", "PENSTOCK_TEST_STORE"])
def test_variables_of_the_commands_and_of_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert load({}).port == 8080
