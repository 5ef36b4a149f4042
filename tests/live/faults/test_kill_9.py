"""`kill -9` of the platform, or of a worker, in mid-stream: the ledger has what was delivered, and everything comes back by itself."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.live.platform import Platform, eventually, ready_workers, running, worker

STREAMS = 16
TOKENS_BEFORE = 25
SECONDS = 30.0
_TOKEN = re.compile(rb'"content":"(?!")')


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    one = Platform(tmp_path, "--workers", "2", doomed=True)
    yield one
    kill(one)


def kill(platform: Platform) -> None:
    if platform._process is not None:
        platform.kill()


class Stream:
    """A streamed answer, read by hand: what the SDK would hide is how much had arrived when it ended."""

    def __init__(self, platform: Platform, name: str, max_tokens: int = 4000) -> None:
        self.name = name
        self.data = b""
        host, port = platform.root.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        messages = [{"role": "user", "content": f"A long story about {name}, please."}]
        asked = {"model": "sim-small", "stream": True, "max_tokens": max_tokens, "ignore_eos": True, "messages": messages}
        body = json.dumps(asked).encode()
        head = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: gateway",
            f"authorization: Bearer {platform.api_key}",
            f"x-request-id: {name}",
            f"content-length: {len(body)}",
        ]
        self._socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def close(self) -> None:
        self._socket.close()

    @property
    def tokens(self) -> int:
        """In events that came whole."""
        return len(_TOKEN.findall(self.data[: self.data.rfind(b"\n\n")]))

    def read_tokens(self, count: int) -> None:
        while self.tokens < count:
            piece = self._socket.recv(65536)
            assert piece, self.data[-500:]
            self.data += piece

    def read_to_the_end(self) -> None:
        """Of the answer, or of the connection."""
        while not self.data.endswith(b"0\r\n\r\n"):
            try:
                piece = self._socket.recv(65536)
            except ConnectionResetError:
                return
            if not piece:
                return
            self.data += piece


@contextmanager
def streams(platform: Platform, count: int) -> Iterator[list[Stream]]:
    with ExitStack() as stack:
        found = [Stream(platform, f"cut-{number}") for number in range(count)]
        for one in found:
            stack.callback(one.close)
        for one in found:
            one.read_tokens(TOKENS_BEFORE)
        yield found


def records(platform: Platform) -> dict[str, dict[str, Any]]:
    """By the id that the client gave; fails when one came twice."""
    rows = platform.control.get("/api/usage/records?limit=1000")["data"]
    found = {row["client_request_id"]: row for row in rows if row["client_request_id"]}
    assert len(found) == sum(bool(row["client_request_id"]) for row in rows)
    return found


def settled(platform: Platform, names: set[str]) -> dict[str, dict[str, Any]]:
    return eventually(lambda: found if (found := records(platform)).keys() >= names else None, SECONDS) or {}


def answers(platform: Platform) -> bool:
    with openai.OpenAI(base_url=platform.base_url, api_key=platform.api_key, max_retries=0) as sdk:
        try:
            sdk.chat.completions.create(model="sim-small", messages=[{"role": "user", "content": "x"}], max_tokens=3)
        except openai.APIError:
            return False
        return True


@pytest.mark.fault(
    "`kill -9` of the gateway in mid-stream",
    "after the restart the ledger has every token that was delivered, one chunk more at most",
)
def test_the_platform_is_killed_in_mid_stream(platform: Platform) -> None:
    platform.open()
    with streams(platform, STREAMS) as cut:
        whole = Stream(platform, "whole", max_tokens=5)
        whole.read_to_the_end()
        whole.close()
        kill(platform)
        for one in cut:
            one.read_to_the_end()
    with running(platform):
        found = settled(platform, {one.name for one in cut} | {"whole"})
        assert (found["whole"]["outcome"], found["whole"]["completion_tokens"]) == ("completed", 5)
        for one in cut:
            row = found[one.name]
            assert row["outcome"] == "recovered"
            assert one.tokens <= row["completion_tokens"] <= one.tokens + 1, (one.tokens, row)
            assert row["prompt_tokens"] > 0
            assert not row["estimated"]
        eventually(lambda: answers(platform), SECONDS)
    with running(platform):
        assert records(platform).keys() == found.keys(), "recovered once, not at every start"


def test_workers_left_behind_do_not_keep_their_identity(platform: Platform) -> None:
    """The children die with their parent: those of the next start are the same workers."""
    platform.open()
    before = {each["id"] for each in platform.control.get("/api/workers")["data"]}
    kill(platform)
    with running(platform):
        eventually(lambda: len(ready_workers(platform.control)) == 2, SECONDS)
        assert {each["id"] for each in platform.control.get("/api/workers")["data"]} == before


@pytest.mark.fault("`kill -9` of a worker process in mid-stream", "one error event, the worker is started again")
def test_a_worker_is_killed_in_mid_stream(tmp_path: Path) -> None:
    """One error event, whatever was delivered is counted, the other worker answers at once, and the dead one is not asked again."""
    bare = Platform(tmp_path / "gateway", "--workers", "0")
    with running(bare), ExitStack() as stack:
        stack.enter_context(worker(bare, tmp_path / "stays", "stays", "--engine", "sim"))
        stack.enter_context(_doomed(bare, tmp_path / "doomed"))
        with streams(bare, STREAMS) as all_of_them:
            os.kill(_pid(tmp_path / "doomed"), signal.SIGKILL)
            eventually(lambda: ready_workers(bare.control) == {"stays"}, 2.0)
            assert all(answers(bare) for _ in range(10))
            cut = [one for one in all_of_them if _ends_soon(one)]
            assert 0 < len(cut) < STREAMS
        for one in cut:
            assert one.data.count(b'"error"') == 1
            assert b'"code":"upstream_error"' in one.data
            assert b"[DONE]" not in one.data
        found = settled(bare, {one.name for one in cut})
        for one in cut:
            assert (found[one.name]["outcome"], found[one.name]["completion_tokens"]) == ("failed", one.tokens)


def _ends_soon(stream: Stream) -> bool:
    """Whether it is one of those that broke; the others go on for a long time."""
    stream._socket.settimeout(0.3)
    end = stream.tokens + 60
    while stream.tokens < end and not stream.data.endswith(b"0\r\n\r\n"):
        stream.data += stream._socket.recv(65536)
    return stream.data.endswith(b"0\r\n\r\n")


@contextmanager
def _doomed(platform: Platform, directory: Path) -> Iterator[None]:
    """A worker that does not end well, which its own context would complain about."""
    with pytest.raises(AssertionError), worker(platform, directory, "doomed", "--engine", "sim", doomed=True):
        yield


def _pid(state_dir: Path) -> int:
    """The process that serves with this state directory."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(state_dir).encode() in command:
                return int(entry.name)
    raise AssertionError(f"no process with {state_dir}")
