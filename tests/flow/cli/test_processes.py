"""The commands that start the real thing: `up` with a worker, `migrate`, `openapi`, `worker`."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.compute.engines import ENGINES
from tests.flow.cli.conftest import Cli
from tests.support.interrupts import interrupts_ignored_by_children


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """The command with a home of its own, told of no gateway."""
    return Cli({"PENSTOCK_DATA_DIR": str(tmp_path / "data"), "PENSTOCK_PROFILE": str(tmp_path / "profiles.toml")})


@pytest.fixture
def up(bare: Cli) -> Iterator[dict[str, Any]]:
    """What `penstock up --json` says when it is ready; SIGTERM ends it with 0."""
    process = bare.start("up", "--port", "0", "--workers", "1", "--no-discover", "--json")
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, ""), errors


def test_up_prints_and_saves_what_every_command_needs(bare: Cli, up: dict[str, Any]) -> None:
    assert set(up) == {"base_url", "dashboard_url", "api_key", "join_token", "admin_email", "admin_password", "profile"}
    answer = bare.run("chat", "hello", "--model", "sim-small", "--max-tokens", "4", "--json")
    assert (answer.code, answer.json["usage"]["completion_tokens"]) == (0, 4), answer.stderr
    assert bare.run("models", "price", "sim-small", "--input", "0.5").code == 0
    made = bare.run("keys", "create", "guest", "--expires", "1h", "--json").json
    assert bare.run("orgs", "create", "mine", "--api-key", made["secret"]).code == 4
    assert bare.run("keys", "revoke", made["id"]).code == 0
    assert [worker["state"] for worker in bare.run("workers", "list", "--json").json["data"]] == ["ready"]
    health = bare.run("doctor", "--port", "0", "--json")
    assert {finding["name"]: finding["verdict"] for finding in health.json["data"]}["workers"] == "ok"
    assert bare.run("bench", "-n", "4", "-c", "2", "--max-tokens", "2", "--json").json["completion_tokens"] == 8


def test_gateway_started_with_sigint_ignored_keeps_ignoring_it_and_stops_on_sigterm(bare: Cli) -> None:
    """As `nohup penstock gateway &` in a script: Ctrl-C is meant for what runs in the foreground."""
    assert bare.run("migrate").code == 0
    with interrupts_ignored_by_children():
        process = bare.start("gateway", "--port", "0", "--json")
    assert process.stdout is not None
    assert process.stdout.readline()
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "press Ctrl-C again" in errors) == (0, False), errors


def test_migrate_creates_a_store(bare: Cli) -> None:
    assert bare.run("migrate").code == 0
    assert bare.run("migrate").code == 0
    assert Path(bare.environment["PENSTOCK_DATA_DIR"], "penstock.db").is_file()


def test_the_openapi_document_covers_both_apis(bare: Cli, tmp_path: Path) -> None:
    paths = bare.run("openapi").json["paths"]
    assert {"/v1/chat/completions", "/api/keys"} <= set(paths)
    assert bare.run("openapi", "-o", str(tmp_path / "openapi.json")).stdout == ""
    assert json.loads((tmp_path / "openapi.json").read_text())["paths"] == paths


def test_a_gateway_without_a_migrated_store_names_the_command(bare: Cli) -> None:
    process = bare.start("gateway", "--port", "0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "penstock migrate" in errors


def test_worker_with_unknown_engine_lists_the_engines(bare: Cli) -> None:
    process = bare.start("worker", "--engine", "steam", "--join", "http://127.0.0.1:1", "--token", "pjt-x")
    _, errors = process.communicate(timeout=60)
    there_are = ", ".join(ENGINES.names())
    assert (process.returncode, errors) == (2, f"penstock: there is no 'steam' in engines; there are: {there_are}\n")
