"""What an operator reads of a worker that stopped, was killed, or cannot be dialled; and what that worker says itself."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.cli.conftest import Cli
from tests.support.waiting import until


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    return Cli({"PENSTOCK_DATA_DIR": str(tmp_path / "data"), "PENSTOCK_PROFILE": str(tmp_path / "profiles.toml")})


@pytest.fixture
def up(bare: Cli) -> Iterator[dict[str, Any]]:
    timing = {"PENSTOCK_ROUTING__SUSPECT_SECONDS": "0.5", "PENSTOCK_ROUTING__DEAD_SECONDS": "1"}
    process = bare.start("up", "--port", "0", "--workers", "0", "--no-discover", "--json", **timing)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def wait_for(cli: Cli, state: str) -> dict[str, Any]:
    """The only worker, once it is in that state."""
    seen: list[dict[str, Any]] = []

    def is_there() -> bool:
        seen[:] = cli.run("workers", "list", "--json").json["data"]
        return [worker["state"] for worker in seen] == [state]

    asyncio.run(until(is_there, 30.0, lambda: seen))
    return seen[0]


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "stopped"), (signal.SIGKILL, "lost")])
def test_worker_that_ended_is_stopped_or_lost_with_its_time_and_serves_again_when_started(
    bare: Cli, up: dict[str, Any], tmp_path: Path, number: signal.Signals, state: str
) -> None:
    root = up["base_url"].removesuffix("/v1")
    command = ("worker", "--join", root, "--name", "gpu-1", "--state-dir", str(tmp_path / "gpu-1"))
    worker = bare.start(*command, "--token", up["join_token"])
    ready = wait_for(bare, "ready")
    worker.send_signal(number)
    worker.communicate(timeout=60)
    ended = wait_for(bare, state)
    assert (ended["host"], ended["id"]) == (ready["host"], ready["id"])
    assert ended["state_since"] >= ready["joined_at"]
    assert bare.run("workers", "list").stdout.count(state) == 1
    again = bare.start(*command)
    assert wait_for(bare, "ready")["id"] == ready["id"]
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)


def test_worker_that_cannot_be_dialled_is_unreachable_and_says_so_itself(bare: Cli, up: dict[str, Any], tmp_path: Path) -> None:
    root = up["base_url"].removesuffix("/v1")
    wrong = "http://127.0.0.1:1"
    worker = bare.start(
        *("worker", "--join", root, "--token", up["join_token"], "--state-dir", str(tmp_path / "far"), "--advertise", wrong)
    )
    assert worker.stderr is not None
    seen = wait_for(bare, "unreachable")
    assert seen["last_error"] == f"the worker at {wrong}: connection refused"
    line = next(line for line in worker.stderr if "gateway_cannot_reach_this_worker" in line)
    assert f"the worker at {wrong}: connection refused" in line
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=60)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--engine", "openai", "--upstream-url", "http://127.0.0.1:1"), "the inference server at http://127.0.0.1:1: connection refused"),
        (("--join", "http://127.0.0.1:1"), "the gateway at http://127.0.0.1:1: connection refused"),
    ],
    ids=["server", "gateway"],
)
def test_failed_connection_names_the_address_and_which_of_the_two_was_not_there(
    bare: Cli, tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    worker = bare.start("worker", "--token", "pjt-x", "--state-dir", str(tmp_path / "w"), *flags)
    assert worker.stderr is not None
    line = next((line for line in worker.stderr if sentence in line), "")
    worker.terminate()
    worker.communicate(timeout=60)
    assert line
