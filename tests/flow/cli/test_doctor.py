"""Each finding of the doctor: fine, bad, and the advice."""

import socket
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.commands.inspect import doctor_checks as checks
from penstock.cli.commands.inspect.doctor_checks import CheckVerdict
from tests.flow.cli.conftest import Cli, Gateway
from tests.flow.cli.fake_gateway import FakeGatewayState


@pytest.fixture
def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


def findings(document: Any) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in document["data"]}


def test_every_check_passes_on_a_healthy_gateway(cli: Cli, free_port: str) -> None:
    result = cli.run("doctor", "--port", free_port, "--json")
    assert result.code == 0, result.stdout
    assert {name: finding["verdict"] for name, finding in findings(result.json).items()} == {
        "gateway": "ok",
        "clock": "ok",
        "store": "ok",
        "workers": "ok",
        "port": "ok",
        "disk": "ok",
        "profile": "ok",
        "environment": "ok",
    }


def test_port_in_use_by_the_asked_gateway_is_ok(cli: Cli, gateway: Gateway) -> None:
    assert "in use by the gateway" in cli.run("doctor", "--port", gateway.root.rpartition(":")[2]).stdout


def test_gateway_that_is_not_ready_fails_with_its_reasons(cli: Cli, state: FakeGatewayState, free_port: str) -> None:
    state.ready, state.store, state.workers_ready = False, "unavailable", 0
    result = cli.run("doctor", "--port", free_port, "--json")
    assert result.code == 1
    found = findings(result.json)
    assert [name for name, finding in found.items() if finding["verdict"] == "fail"] == ["gateway", "store", "workers"]
    assert "the store cannot be reached" in found["gateway"]["measured"]
    assert "penstock worker --join" in found["workers"]["mend"]


def test_unreachable_gateway_and_taken_port_fail(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as soon_closed:
        taken, closed = listening.getsockname()[1], soon_closed.getsockname()[1]
        soon_closed.close()
        result = cli.run("doctor", "--port", str(taken), "--base-url", f"http://127.0.0.1:{closed}/v1", "--json")
    found = findings(result.json)
    assert result.code == 1
    assert (found["gateway"]["verdict"], found["port"]["verdict"]) == ("fail", "fail")
    assert "penstock up" in found["gateway"]["fix"]


def test_key_without_permission_fails_the_gateway_check(cli: Cli, free_port: str) -> None:
    found = findings(cli.run("doctor", "--port", free_port, "--api-key", "psk_wrong", "--json").json)
    assert "invalid_api_key" in found["gateway"]["measured"]
    assert found["clock"]["verdict"] == "ok"


def test_profile_file_readable_by_others_fails(cli: Cli, free_port: str) -> None:
    cli.run("profiles", "save", "local", "--base-url", "http://127.0.0.1:1/v1", "--api-key", "psk_x")
    path = Path(cli.environment["PENSTOCK_PROFILE"])
    path.chmod(0o644)
    found = findings(cli.run("doctor", "--port", free_port, "--json").json)
    assert (found["profile"]["verdict"], found["profile"]["fix"]) == ("fail", f"chmod 600 {path}")


def test_unknown_environment_variable_stops_the_command_and_is_named(cli: Cli, free_port: str) -> None:
    result = cli.run("doctor", "--port", free_port, PENSTOCK_PROT="1")
    assert (result.code, "environment PENSTOCK_PROT: there is no such setting" in result.stderr) == (2, True)


@pytest.mark.parametrize(("skew", "verdict"), [(0.4, CheckVerdict.OK), (-30.0, CheckVerdict.WARN), (400.0, CheckVerdict.FAIL)])
def test_clock_check_warns_or_fails_by_skew(skew: float, verdict: CheckVerdict) -> None:
    assert checks.clock(skew).verdict is verdict


def test_dead_or_suspect_workers_are_a_warning() -> None:
    assert checks.workers({"workers": {"ready": 1, "dead": 2}}).measured == "2 dead, 1 ready"
    assert checks.workers({"workers": {"ready": 1, "dead": 2}}).verdict is CheckVerdict.WARN


def test_unwritable_data_directory_fails() -> None:
    assert checks.disk(Path("/proc/penstock")).verdict is CheckVerdict.FAIL


def test_server_that_is_not_penstock_fails_the_gateway_check(cli: Cli, gateway: Gateway, free_port: str) -> None:
    found = findings(cli.run("doctor", "--port", free_port, "--base-url", f"{gateway.root}/else", "--api-key", "psk_admin", "--json").json)
    assert found["gateway"]["verdict"] == "fail"


def test_broken_profile_file_fails_and_missing_default_warns(cli: Cli, free_port: str) -> None:
    path = Path(cli.environment["PENSTOCK_PROFILE"])
    path.touch(0o600)
    path.write_text('default = "gone"\n')
    assert "'gone' is not there" in checks.profile_file(path).measured
    path.write_text("default = [")
    assert checks.profile_file(path).verdict is CheckVerdict.FAIL
