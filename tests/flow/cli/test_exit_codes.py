"""Each exit code, with the sentence that comes with it."""

import socket

from tests.flow.cli.conftest import Cli
from tests.flow.cli.fake_gateway import WEAK_KEY


def test_success_is_exit_code_0(cli: Cli) -> None:
    assert cli.run("keys", "list").code == 0


def test_loopback_is_reached_without_the_proxy_of_the_environment(cli: Cli) -> None:
    assert cli.run("keys", "list", HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1", NO_PROXY="").code == 0
    assert cli.run("bench", "-n", "1", HTTP_PROXY="http://127.0.0.1:1", NO_PROXY="").code == 0


def test_unreachable_gateway_is_exit_code_1(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    result = cli.run("keys", "list", PENSTOCK_BASE_URL=f"http://127.0.0.1:{port}/v1")
    assert result.code == 1
    assert "penstock up" in result.stderr


def test_bad_command_line_and_refused_content_are_exit_code_2(cli: Cli) -> None:
    assert cli.run("nonsense").code == 2
    assert cli.run("keys", "create").code == 2
    assert cli.run("keys", "create", "a", "--expires", "soon").code == 2
    assert cli.run("usage", "--by", "colour").code == 2
    refused = cli.run("keys", "create", "bad")
    assert refused.code == 2
    assert refused.stderr == "penstock: name: that one is not allowed. (HTTP 422, validation_error, parameter name, request req_fake)\n"


def test_unknown_object_is_exit_code_3(cli: Cli) -> None:
    result = cli.run("keys", "show", "key_none")
    assert (result.code, result.stdout) == (3, "")
    assert "request req_fake" in result.stderr


def test_wrong_key_and_missing_scope_are_exit_code_4(cli: Cli) -> None:
    wrong = cli.run("keys", "list", "--api-key", "psk_wrong")
    assert wrong.code == 4
    assert "PENSTOCK_API_KEY" in wrong.stderr
    assert cli.run("keys", "list", "--api-key", WEAK_KEY).code == 4
    assert cli.run("chat", "hello", "--model", "sim-small", "--api-key", "psk_wrong").code == 4


def test_rate_limit_is_exit_code_5(cli: Cli) -> None:
    result = cli.run("chat", "hello", "--model", "limited", "--no-wait")
    assert (result.code, result.stdout) == (5, "")
    assert "Too many requests." in result.stderr


def test_a_bad_setting_names_itself_and_its_source(cli: Cli) -> None:
    assert cli.run("up", "--port", "99999").stderr.startswith("penstock: port (flag): ")
    assert "tls_key is missing" in cli.run("up", "--tls-cert", "cert.pem").stderr
    assert "MODEL=URL" in cli.run("up", "--upstream", "llama").stderr
    assert "--engine-option wants KEY=VALUE" in cli.run("worker", "--engine-option", "fast").stderr
    for args in (
        ["up", "--port", "99999"],
        ["up", "--tls-cert", "cert.pem"],
        ["gateway", "--upstream", "llama"],
        ["worker", "--pool", "fast"],
    ):
        assert cli.run(*args).code == 2
