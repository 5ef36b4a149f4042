"""The conversation at a terminal: keys go in as a person would press them."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from penstock.cli.chat import prompt
from penstock.cli.chat.answer import ask
from penstock.cli.chat.conversation import ChatHistory
from penstock.cli.chat.repl import Repl, ReplCallbacks
from penstock.cli.client.api import Api
from penstock.cli.client.served_models import model_ids
from penstock.domain.clock import SystemClock
from penstock.net.api_client.connection import GatewayConnection
from tests.flow.cli.conftest import Cli, Gateway
from tests.flow.cli.fake_gateway import FakeGatewayState
from tests.support.interrupts import interrupts_reach_children

ENTER = "\r"
ESC_ENTER = "\x1b\r"
CTRL_C = "\x03"
CTRL_D = "\x04"


class Talk:
    """A conversation whose keys come from a pipe."""

    def __init__(self, gateway: Gateway) -> None:
        self.api = Api(GatewayConnection(gateway.root, gateway.api_key, "test", "test"))
        self.conversation = ChatHistory("sim-small")
        self.answers = ""
        self.said: list[str] = []

    def type(self, keys: str) -> int:
        """Returns the exit code once the keys have led out of the loop."""
        with create_pipe_input() as pipe, self.api:
            pipe.send_text(keys)
            entries = prompt.session(source=pipe, screen=DummyOutput())
            return Repl(self.conversation, self._world(entries.prompt)).run()

    def _world(self, read: object) -> ReplCallbacks:
        def write(text: str) -> None:
            self.answers += text

        assert callable(read)
        return ReplCallbacks(
            read=read,
            ask=lambda talk, text, hear: ask(self.api, talk.request(text), hear, SystemClock()),
            models=lambda: model_ids(self.api),
            write=write,
            say=self.said.append,
        )


@pytest.fixture
def talk(gateway: Gateway) -> Talk:
    return Talk(gateway)


def last_prompt(state: FakeGatewayState) -> str:
    return str(state.chats[-1]["messages"][-1]["content"])


def test_chat_keeps_turns_until_ctrl_d(talk: Talk, state: FakeGatewayState) -> None:
    assert talk.type(f"one{ENTER}two{ENTER}{CTRL_D}") == 0
    assert talk.answers == "1 messages, last: one \n3 messages, last: two \n"
    assert talk.said[-1].startswith("3 + 4 tokens | default tier | ")
    assert "59 of 60 requests left (full in 1s)" in talk.said[-1]


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        (f"one\\{ENTER}two{ENTER}", "one\ntwo"),
        (f"one{ESC_ENTER}two{ENTER}", "one\ntwo"),
        (f'"""{ENTER}one{ENTER}{ENTER}two{ENTER}"""{ENTER}', "one\n\ntwo"),
    ],
)
def test_multi_line_input_is_one_prompt(talk: Talk, state: FakeGatewayState, keys: str, meant: str) -> None:
    talk.type(keys + CTRL_D)
    assert last_prompt(state) == meant


def test_ctrl_c_at_the_prompt_discards_the_entry(talk: Talk, state: FakeGatewayState) -> None:
    talk.type(f"not this{CTRL_C}this{ENTER}/exit{ENTER}")
    assert last_prompt(state) == "this"


def test_model_and_system_change_the_next_request(talk: Talk, state: FakeGatewayState) -> None:
    talk.type(f"/model{ENTER}/model sim-large{ENTER}/system Be brief.{ENTER}hi{ENTER}/system -{ENTER}/system{ENTER}/exit{ENTER}")
    assert talk.said[1:5] == ["* sim-small", "  sim-large", "now talking to sim-large", "system prompt set"]
    assert state.chats[0]["model"] == "sim-large"
    assert state.chats[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert talk.said[-2:] == ["system prompt removed", "no system prompt"]


def test_clear_forgets_the_turns_and_keeps_the_count(talk: Talk, state: FakeGatewayState) -> None:
    talk.type(f"one{ENTER}/clear{ENTER}two{ENTER}/usage{ENTER}/exit{ENTER}")
    assert len(state.chats[1]["messages"]) == 1
    assert "2 answers: 6 prompt + 8 completion tokens" in talk.said
    assert talk.said[-1] == "9,900 of 10,000 tokens left (full in 6s)"


def test_save_writes_markdown_or_json(talk: Talk, tmp_path: Path) -> None:
    text, document = tmp_path / "talk.md", tmp_path / "talk.json"
    talk.type(f"hi{ENTER}/save {text}{ENTER}/save {document}{ENTER}/save{ENTER}/save {tmp_path}/no/where{ENTER}/exit{ENTER}")
    assert text.read_text() == "## user\n\nhi\n\n## assistant\n\n1 messages, last: hi \n"
    assert '"model": "sim-small"' in document.read_text()
    assert talk.said[-2] == "/save wants a file name"
    assert talk.said[-1].startswith("cannot write")


def test_errors_do_not_end_the_conversation(talk: Talk, state: FakeGatewayState) -> None:
    entries = ("/dance", "/model missing", "hi", "/model broken", "hi", "/model sim-small", "again", "/help", "/exit")
    talk.type("".join(entry + ENTER for entry in entries))
    assert "there is no /dance; /help lists what there is" in talk.said
    assert any("The model is missing." in line for line in talk.said)
    assert any("The worker failed." in line for line in talk.said)
    # What was read of the broken answer stays part of the conversation.
    assert [message["role"] for message in state.chats[-1]["messages"]] == ["user", "assistant", "user"]
    assert "/save FILE" in talk.said[-1]


class Terminal:
    """A real terminal around a real process."""

    def __init__(self, controller: int, process: subprocess.Popen[bytes]) -> None:
        self.controller = controller
        self.process = process
        self.screen = ""

    def press(self, keys: str) -> None:
        os.write(self.controller, keys.encode())

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Read until the text has come since the last wait."""
        deadline = time.monotonic() + seconds
        while text not in self.screen:
            readable, _, _ = select.select([self.controller], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{text!r} did not come; the screen: {self.screen!r}"
            self.screen += os.read(self.controller, 65536).decode(errors="replace")
        self.screen = self.screen.partition(text)[2]


@contextmanager
def terminal(cli: Cli, *args: str) -> Iterator[Terminal]:
    controller, side = pty.openpty()
    environment = cli.process_environment(TERM="xterm", NO_COLOR="1", PROMPT_TOOLKIT_NO_CPR="1")
    with interrupts_reach_children():
        process = subprocess.Popen(
            cli.command(*args), stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True, preexec_fn=_own_terminal
        )
    os.close(side)
    try:
        yield Terminal(controller, process)
    finally:
        process.kill()
        process.wait(10)
        os.close(controller)


def _own_terminal() -> None:
    """Make stdin the controlling terminal, so that Ctrl-C becomes SIGINT."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_on_a_real_terminal_ctrl_c_stops_the_answer_and_not_the_program(cli: Cli, state: FakeGatewayState) -> None:
    with terminal(cli, "chat", "--model", "endless") as screen:
        screen.wait_for("/help for help")
        screen.wait_for(">")
        screen.press(f"go{ENTER}")
        screen.wait_for("on on on")
        screen.press(CTRL_C)
        screen.wait_for("stopped")
        assert state.client_left.wait(10)
        screen.wait_for(">")
        screen.press(f"/model sim-small{ENTER}")
        screen.wait_for("now talking to sim-small")
        screen.wait_for(">")
        screen.press(f"hello{ENTER}")
        screen.wait_for("last: hello")
        screen.wait_for("59 of 60 requests left")
        screen.wait_for(">")
        screen.press(CTRL_D)
        assert screen.process.wait(20) == 0


def test_on_a_real_terminal_a_limit_is_counted_down_and_no_wait_returns_to_the_prompt(cli: Cli, state: FakeGatewayState) -> None:
    with terminal(cli, "chat", "--model", "limited") as screen:
        screen.wait_for(">")
        screen.press(f"hello{ENTER}")
        screen.wait_for("limited: Too many requests.")
        screen.wait_for("waiting 1 s (Ctrl-C stops)")
        screen.wait_for("last: hello")
    state.refusals_left = 1
    with terminal(cli, "chat", "--model", "limited", "--no-wait") as screen:
        screen.wait_for(">")
        screen.press(f"hello{ENTER}")
        screen.wait_for("Too many requests.")
        screen.wait_for(">")
        screen.press(f"/exit{ENTER}")
        assert screen.process.wait(20) == 0


def test_json_on_a_terminal_without_prompt_is_a_usage_error(cli: Cli) -> None:
    with terminal(cli, "chat", "--json") as screen:
        screen.wait_for("--json wants a prompt")
        assert screen.process.wait(20) == 2
