"""Named connections: saved, chosen, removed; and who wins over whom."""

from pathlib import Path

from tests.flow.cli.conftest import Cli, Gateway


def save(cli: Cli, name: str, gateway: Gateway, *more: str) -> None:
    assert cli.run("profiles", "save", name, "--base-url", gateway.base_url, "--api-key", gateway.api_key, *more).code == 0


def test_profile_file_is_readable_by_its_owner_only(cli: Cli, gateway: Gateway) -> None:
    save(cli, "local", gateway)
    assert Path(cli.environment["PENSTOCK_PROFILE"]).stat().st_mode & 0o777 == 0o600


def test_keys_are_never_listed(cli: Cli, gateway: Gateway) -> None:
    save(cli, "local", gateway)
    listed = cli.run("profiles", "list", "--json")
    assert listed.json["data"] == [{"name": "local", "base_url": gateway.base_url, "has_key": True, "default": True}]
    assert gateway.api_key not in cli.run("profiles", "list").stdout


def test_the_first_profile_is_the_default_until_another_is_chosen(cli: Cli, gateway: Gateway) -> None:
    bare = Cli({"PENSTOCK_PROFILE": cli.environment["PENSTOCK_PROFILE"]})
    save(bare, "local", gateway)
    assert bare.run("keys", "list").code == 0
    assert bare.run("profiles", "save", "other", "--base-url", gateway.root, "--api-key", "psk_wrong").code == 0
    assert bare.run("keys", "list").code == 0
    assert bare.run("profiles", "use", "other").code == 0
    assert bare.run("keys", "list").code == 4
    assert bare.run("keys", "list", "--profile", "local").code == 0
    assert bare.run("profiles", "remove", "other").code == 0
    assert bare.run("keys", "list", "--profile", "other").code == 3
    assert bare.run("profiles", "use", "other").code == 3
    assert bare.run("profiles", "remove", "other").code == 3


def test_openai_s_variables_are_the_last_resort(cli: Cli, gateway: Gateway) -> None:
    bare = Cli({"PENSTOCK_PROFILE": cli.environment["PENSTOCK_PROFILE"]})
    assert bare.run("keys", "list", OPENAI_BASE_URL=gateway.base_url, OPENAI_API_KEY=gateway.api_key).code == 0
    assert cli.run("keys", "list", OPENAI_BASE_URL="http://127.0.0.1:1/v1", OPENAI_API_KEY="psk_wrong").code == 0
