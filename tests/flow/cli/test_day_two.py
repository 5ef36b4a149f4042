"""Commands of the second day against a real platform: schedules, runners, plans, decisions, keys in use, tasks."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.flow.cli.conftest import Cli


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, dict[str, Any]]]:
    home = tmp_path_factory.mktemp("platform")
    cli = Cli({"PENSTOCK_DATA_DIR": str(home / "data"), "PENSTOCK_PROFILE": str(home / "profiles.toml")})
    process = cli.start("up", "--port", "0", "--workers", "1", "--no-discover", "--json")
    assert process.stdout is not None
    try:
        yield cli, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


@pytest.fixture
def cli(platform: tuple[Cli, dict[str, Any]]) -> Cli:
    return platform[0]


def test_schedule_is_created_listed_paused_resumed_and_removed_by_its_name(cli: Cli) -> None:
    made = cli.run(
        "schedules", "create", "nightly", "30 3 * * *", "report", "--payload", '{"a": 1}', "--time-zone", "Europe/Berlin", "--json"
    )
    assert (made.code, made.json["task"]["payload"], made.json["time_zone"]) == (0, {"a": 1}, "Europe/Berlin"), made.stderr
    assert "30 3 * * *" in cli.run("schedules", "list").stdout
    assert cli.run("schedules", "pause", "nightly").code == 0
    assert cli.run("schedules", "show", "nightly", "--json").json["paused"] is True
    assert "next run" in cli.run("schedules", "resume", made.json["id"][:12]).stderr
    assert cli.run("schedules", "remove", "nightly").code == 0
    assert cli.run("schedules", "list", "--json").json["data"] == []
    assert cli.run("schedules", "show", "nightly").code == 3


def test_rotated_key_has_a_new_secret_and_the_old_one_ends_after_the_overlap(cli: Cli, platform: tuple[Cli, dict[str, Any]]) -> None:
    base = platform[1]["base_url"]
    old = cli.run("keys", "create", "rotating", "--rpm", "60", "--json").json
    new = cli.run("keys", "rotate", "rotating", "--overlap", "1h", "--json").json
    assert (new["name"], new["requests_per_minute"], new["scopes"]) == ("rotating", 60, old["scopes"])
    assert new["secret"] != old["secret"]
    shown = cli.run("keys", "show", old["id"], "--json").json
    assert 3000 < shown["expires_at"] - new["created_at"] <= 3600
    assert [cli.run("models", "list", "--base-url", base, "--api-key", key["secret"]).code for key in (old, new)] == [0, 0]
    at_once = cli.run("keys", "rotate", new["id"], "--overlap", "0", "--json").json
    assert cli.run("keys", "rotate", new["id"]).code == 2  # it has ended
    assert cli.run("keys", "show", at_once["secret"], "--json").json["id"] == at_once["id"]


def test_key_in_use_is_changed_and_its_limits_are_removed(cli: Cli) -> None:
    made = cli.run("keys", "create", "changing", "--rpm", "60", "--allow", "10.0.0.0/8", "--json").json
    changed = cli.run("keys", "update", "changing", "--rpm", "5", "--expires", "1h", "--name", "changed", "--json").json
    assert (changed["id"], changed["requests_per_minute"], changed["name"]) == (made["id"], 5, "changed")
    assert changed["allowed_networks"] == ["10.0.0.0/8"]
    open_again = cli.run("keys", "update", "changed", "--rpm", "0", "--expires", "none", "--allow", "any", "--json").json
    assert (open_again["requests_per_minute"], open_again["expires_at"], open_again["allowed_networks"]) == (None, None, [])
    assert cli.run("keys", "update", "changed").code == 2


def test_request_is_explained_by_the_id_that_its_client_sent(cli: Cli, platform: tuple[Cli, dict[str, Any]]) -> None:
    facts = platform[1]
    headers = {"authorization": f"Bearer {facts['api_key']}", "x-request-id": "cust-7"}
    body = {"model": "sim-small", "max_tokens": 2, "messages": [{"role": "user", "content": "hello"}]}
    assert httpx.post(f"{facts['base_url']}/chat/completions", json=body, headers=headers, trust_env=False, timeout=30).status_code == 200
    shown = cli.run("usage", "--request", "cust-7", "--json")
    for _ in range(100):
        if shown.code == 0:
            break
        shown = cli.run("usage", "--request", "cust-7", "--json")
    assert shown.json["client_request_id"] == "cust-7"
    explained = cli.run("explain", "cust-7")
    assert (explained.code, shown.json["request_id"] in explained.stdout) == (0, True), explained.stderr
    assert cli.run("explain", "cust-8").code == 3
    assert shown.json["request_id"] in cli.run("decisions", "list").stdout
    csv = cli.run("usage", "--records", "--csv").stdout.splitlines()
    assert csv[0].startswith("request,started,org,key,model")
    assert any(shown.json["request_id"] in line for line in csv)


def test_plans_and_runners_are_listed(cli: Cli) -> None:
    plans = cli.run("plans", "list", "--csv").stdout.splitlines()
    assert plans[0] == "plan,class,tiers,requests/min,tokens/min,at_a_time,spill"
    assert 'free,free,"default, flex",60,40000,4,no' in plans
    runners = cli.run("runners", "list", "--json").json["data"]
    assert [runner["name"] for runner in runners] == ["up"]
    assert cli.run("runners", "drain", "up").code == 0
    assert cli.run("runners", "resume", runners[0]["id"]).code == 0


def test_waiting_task_gets_another_priority_and_ended_ones_are_deleted(cli: Cli) -> None:
    cli.run("queues", "pause", "parked")
    task = cli.run("tasks", "submit", "nothing_has_this", "--queue", "parked", "--json").json
    task_id = task["data"][0]["id"] if "data" in task else task["id"]
    assert cli.run("tasks", "priority", "10", task_id).code == 0
    assert cli.run("tasks", "show", task_id, "--json").json["priority"] == 10
    assert cli.run("tasks", "delete", task_id).code != 0
    cli.run("tasks", "cancel", task_id)
    assert cli.run("tasks", "delete", task_id).code == 0
    assert cli.run("tasks", "show", task_id).code == 3


def test_organisation_is_named_by_its_name(cli: Cli) -> None:
    made = cli.run("orgs", "create", "Research", "--json").json
    assert cli.run("orgs", "show", "Research", "--json").json["id"] == made["id"]
    assert cli.run("keys", "create", "theirs", "--org", "Research", "--json").json["org_id"] == made["id"]
    assert cli.run("usage", "--org", "Research", "--json").code == 0
    assert cli.run("orgs", "show", "Nothing").code == 3
