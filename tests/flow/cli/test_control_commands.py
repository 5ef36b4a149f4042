"""The commands that edit and show: what they send, what they print, how they end."""

import pytest

from tests.flow.cli.conftest import Cli
from tests.flow.cli.fake_gateway import FakeGatewayState


def test_keys_are_created_listed_shown_and_revoked(cli: Cli) -> None:
    limits = [
        "--scope",
        "inference",
        "--scope",
        "usage:read",
        "--expires",
        "90d",
        "--allow",
        "10.0.0.0/8",
        "--rpm",
        "60",
        "--tpm",
        "1000",
        "--concurrency",
        "3",
    ]
    made = cli.run("keys", "create", "laptop", *limits, "--json")
    assert made.code == 0
    assert made.json == {
        "id": "keys_1",
        "name": "laptop",
        "scopes": ["inference", "usage:read"],
        "allowed_networks": ["10.0.0.0/8"],
        "requests_per_minute": 60,
        "tokens_per_minute": 1000,
        "concurrency": 3,
        "created_at": 1767225600.0,
        "expires_at": 1767225600.0 + 90 * 86400,
        "secret": "shown-once",
    }
    assert "not shown again" in made.stderr
    assert "2026-04-01" in cli.run("keys", "show", "keys_1").stdout
    assert cli.run("keys", "revoke", "keys_1").code == 0
    assert "revoked 2026-01-01 00:01Z" in cli.run("keys", "list").stdout


def test_a_table_for_people_holds_the_secret_on_stdout_and_the_warning_beside_it(cli: Cli) -> None:
    made = cli.run("keys", "create", "laptop")
    assert "secret   shown-once\n" in made.stdout
    assert "Keep the secret now" not in made.stdout


def test_lists_follow_all_pages(cli: Cli) -> None:
    for name in "abc":
        cli.run("orgs", "create", name)
    assert [org["name"] for org in cli.run("orgs", "list", "--json").json["data"]] == ["a", "b", "c"]


def test_orgs_update_changes_what_it_names(cli: Cli) -> None:
    cli.run("orgs", "create", "acme", "--plan", "premium")
    changed = cli.run("orgs", "update", "orgs_1", "--disable", "--json")
    assert (changed.json["plan"], changed.json["disabled"]) == ("premium", True)
    assert "disabled" in cli.run("orgs", "show", "orgs_1").stdout
    assert cli.run("orgs", "update", "orgs_1").code == 2
    assert "60" in cli.run("orgs", "plans").stdout


def test_join_tokens_are_created_and_revoked(cli: Cli) -> None:
    made = cli.run("tokens", "create", "--expires", "1d12h", "--json")
    assert (made.json["role"], made.json["expires_at"] - made.json["created_at"]) == ("worker", 36 * 3600)
    assert cli.run("tokens", "revoke", "join-tokens_1").code == 0
    assert "revoked" in cli.run("tokens", "list").stdout


def test_an_upstream_is_added_drained_resumed_and_removed(cli: Cli) -> None:
    added = cli.run("workers", "add", "hosted", "https://192.0.2.1/v1", "--model", "m/large", "--slots", "8", "--json")
    assert added.json["models"] == [{"id": "m/large"}]
    assert cli.run("workers", "drain", "workers_1").code == 0
    listed = cli.run("workers", "list").stdout
    assert "m/large" in listed
    assert "draining" in listed
    assert cli.run("workers", "resume", "workers_1").code == 0
    assert cli.run("workers", "show", "workers_1", "--json").json["state"] == "ready"
    assert cli.run("workers", "remove", "workers_1").code == 0
    assert cli.run("workers", "show", "workers_1").code == 3


def test_price_options_that_are_left_out_do_not_change(cli: Cli, state: FakeGatewayState) -> None:
    assert cli.run("models", "price", "sim-small", "--input", "0.15").code == 0
    priced = cli.run("models", "price", "sim-small", "--output", "0.6", "--currency", "eur", "--json")
    assert (priced.json["price"]["input_per_million"], priced.json["price"]["output_per_million"]) == (150_000, 600_000)
    assert priced.json["price"]["currency"] == "EUR"
    assert "0.15" in cli.run("models", "list").stdout


def test_a_model_with_a_slash_gets_an_alias(cli: Cli) -> None:
    assert cli.run("models", "alias", "meta/llama-3", "llama", "gpt-4o").code == 0
    assert cli.run("models", "show", "llama", "--json").json["id"] == "meta/llama-3"
    assert cli.run("models", "alias", "meta/llama-3", "gpt-4o", "--remove", "--json").json["aliases"] == ["llama"]
    assert cli.run("models", "remove", "meta/llama-3").code == 0
    assert cli.run("models", "show", "llama").code == 3


@pytest.mark.parametrize("amount", ["much", "-1", "0.1234567", "nan", "inf"])
def test_an_invalid_amount_is_a_usage_error(cli: Cli, amount: str) -> None:
    assert cli.run("models", "price", "sim-small", f"--input={amount}").code == 2


def test_usage_is_grouped_filtered_and_totalled(cli: Cli, state: FakeGatewayState) -> None:
    report = cli.run("usage", "--by", "model,day", "--since", "2026-01-01", "--until", "2026-01-02T00:00:00+00:00", "--key", "key_1")
    assert state.queries == [{"group_by": "model,day", "since": "1767225600.0", "until": "1767312000.0", "key": "key_1", "limit": "1000"}]
    lines = report.stdout.splitlines()
    assert lines[0].split() == ["model", "day", "requests", "prompt", "cached", "completion", "reasoning", "cost", "currency"]
    assert lines[1].split() == ["sim-small", "2026-01-01", "12", "3,456", "10", "789", "0", "1.23456", "USD"]
    assert lines[2].split() == ["total", "12", "3,456", "10", "789", "0", "1.23456", "USD"]
    assert "2 of the requests are estimated" in report.stderr


def test_single_requests_are_listed_and_shown(cli: Cli) -> None:
    listed = cli.run("usage", "--records", "--limit", "1")
    assert "0.000042" in listed.stdout
    assert "there are more" in listed.stderr
    assert "2026-01-01 00:00:00Z" in cli.run("usage", "--request", "req_1").stdout
    assert cli.run("usage", "--request", "req_none").code == 3


def test_json_output_is_the_response_of_the_api(cli: Cli) -> None:
    assert cli.run("usage", "--json").json["totals"]["cost_micros"] == 1_234_560
    assert cli.run("keys", "list", "--json").json == {"data": [], "has_more": False}


def test_control_characters_in_names_do_not_reach_the_terminal(cli: Cli) -> None:
    cli.run("orgs", "create", "evil\x1b]0;title\x07")
    assert "\x1b" not in cli.run("orgs", "list").stdout
