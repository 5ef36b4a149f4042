"""Chat with one prompt: what goes out, what is printed, what happens when it goes wrong."""

import signal

import pytest

from tests.flow.cli.conftest import Cli
from tests.flow.cli.fake_gateway import FakeGatewayState
from tests.support.interrupts import interrupts_reach_children


def test_piped_text_is_the_prompt_and_stdout_is_only_the_answer(cli: Cli, state: FakeGatewayState) -> None:
    result = cli.run("chat", text="hello there")
    assert (result.code, result.stdout, result.stderr) == (0, "1 messages, last: hello there \n", "")
    assert state.chats[0] == {
        "model": "sim-small",
        "messages": [{"role": "user", "content": "hello there"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_options_become_fields_of_the_request(cli: Cli, state: FakeGatewayState) -> None:
    cli.run("chat", "hi", "-m", "sim-large", "--system", "Be brief.", "--max-tokens", "5", "--temperature", "0", "--tier", "flex")
    [sent] = state.chats
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["service_tier"]) == ("sim-large", 5, 0.0, "flex")
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


def test_json_is_one_document(cli: Cli) -> None:
    document = cli.run("chat", "hi", "--json").json
    assert document.pop("ms") >= document.pop("first_token_ms") > 0
    assert document == {
        "text": "1 messages, last: hi ",
        "model": "sim-small",
        "tier": "default",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "finish_reason": "stop",
        "request_id": "req_fake",
        "limits": {
            "requests": {"limit": 60, "remaining": 59, "reset": "1s"},
            "tokens": {"limit": 10000, "remaining": 9900, "reset": "6s"},
        },
    }


def test_an_empty_prompt_is_a_usage_error(cli: Cli) -> None:
    assert cli.run("chat", text=" \n").code == 2


def test_chat_reports_a_rate_limit_and_waits_for_it(cli: Cli, state: FakeGatewayState) -> None:
    result = cli.run("chat", "hi", "--model", "limited")
    assert (result.code, result.stdout) == (0, "1 messages, last: hi \n")
    assert "limited: Too many requests." in result.stderr
    assert "waiting 1 s" in result.stderr
    assert len(state.chats) == 2


def test_chat_fails_at_once_when_the_wait_exceeds_max_wait(cli: Cli, state: FakeGatewayState) -> None:
    assert cli.run("chat", "hi", "--model", "limited", "--max-wait", "0.5").code == 5
    assert len(state.chats) == 1


def test_chat_does_not_wait_for_an_exhausted_quota(cli: Cli, state: FakeGatewayState) -> None:
    result = cli.run("chat", "hi", "--model", "exhausted")
    assert result.code == 5
    assert "The quota is used up." in result.stderr
    assert len(state.chats) == 1


@pytest.mark.parametrize(("model", "code", "said"), [("missing", 3, "model_not_found"), ("overloaded", 1, "server_overloaded")])
def test_chat_prints_the_code_of_a_refusal(cli: Cli, model: str, code: int, said: str) -> None:
    result = cli.run("chat", "hi", "--model", model)
    assert result.code == code
    assert said in result.stderr


@pytest.mark.parametrize(("model", "said"), [("broken", "The worker failed."), ("cut", "the answer broke off")])
def test_chat_prints_the_partial_answer_of_a_broken_stream_and_fails(cli: Cli, model: str, said: str) -> None:
    result = cli.run("chat", "hi", "--model", model)
    assert (result.code, result.stdout) == (1, "1 messages, last: hi ")
    assert said in result.stderr


def test_ctrl_c_stops_the_answer_at_the_gateway_too(cli: Cli, state: FakeGatewayState) -> None:
    with interrupts_reach_children():
        process = cli.start("chat", "hi", "--model", "endless")
    assert process.stdout is not None
    assert process.stdout.read(3) == "on "
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    assert state.client_left.wait(10)
