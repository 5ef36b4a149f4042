"""Penstock as processes of its own: started on a free port, spoken to over HTTP, stopped with SIGTERM."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support import ending

READY_SECONDS = 100.0
"""A machine that has much else to do may take a minute to start Python ten times."""
WATCHED = {"PENSTOCK_ADMISSION__API_PER_MINUTE": "1000000"}
"""For a platform that is asked far more often than people ask."""
_PAUSE_SECONDS = 0.02
T = TypeVar("T")


@dataclass(frozen=True)
class Control:
    """A gateway's control API."""

    root: str
    """Without `/v1`."""
    api_key: str

    def get(self, path: str) -> Any:
        return self.ask("GET", path)[1]

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self.ask("POST", path, body)[1]

    def delete(self, path: str) -> None:
        self.ask("DELETE", path)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and JSON. Raises urllib's HTTPError above 399."""
        headers = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
            return response.status, json.loads(text) if text else None


class Platform:
    """`penstock up`, or `penstock gateway`, with a data directory of its own."""

    def __init__(
        self, directory: Path, *flags: str, command: str = "up", environment: Mapping[str, str] | None = None, doomed: bool = False
    ) -> None:
        """`doomed`: the test is going to kill it."""
        self._directory = directory
        self._command = [command, "--json", "--port", "0", "--data-dir", str(directory / "data"), *flags]
        self._environment = {"PENSTOCK_DISCOVER": "false", **(environment or {})}
        self._doomed = doomed
        self._process: subprocess.Popen[bytes] | None = None
        self._reported = False
        self.facts: dict[str, str] = {}
        """What it printed when it was ready; the secrets of the first start stay over a restart."""

    @property
    def base_url(self) -> str:
        """With `/v1`."""
        return self.facts["base_url"]

    @property
    def root(self) -> str:
        return self.base_url.removesuffix("/v1")

    @property
    def api_key(self) -> str:
        return self.facts["api_key"]

    @property
    def control(self) -> Control:
        return Control(self.root, self.api_key)

    def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._process = start(self._directory / "log", self._command, self.environment, doomed=self._doomed)
        self._reported = False
        self.facts = {**self.facts, **json.loads(self._ready_line(self._process))}

    def close(self) -> None:
        """SIGTERM; it has to end by itself and with success."""
        process, self._process = self._process, None
        if process is not None:
            self._tell(process)
            wait_for_the_end(process, self._directory / "log")

    def kill(self) -> None:
        """SIGKILL; its children go with it. `open` starts it again."""
        process, self._process = self._process, None
        assert process is not None
        ending.kill(process)

    def begin_to_stop(self) -> None:
        """SIGTERM, without waiting for the end."""
        assert self._process is not None
        self._tell(self._process)

    def _tell(self, process: "subprocess.Popen[bytes]") -> None:
        """Once only: a second signal would end it at once."""
        if not self._reported:
            self._reported = True
            process.send_signal(signal.SIGTERM)

    @property
    def environment(self) -> dict[str, str]:
        """For commands that shall talk to this platform and know nothing of the user's profile."""
        return {"PENSTOCK_PROFILE": str(self._directory / "profiles.toml"), **self._environment}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A `penstock` command in another terminal."""
        command = [sys.executable, "-m", "penstock", *arguments]
        return subprocess.run(
            command, input=stdin, env=_surroundings(self.environment), capture_output=True, text=True, timeout=60, check=False
        )

    def _ready_line(self, process: "subprocess.Popen[bytes]") -> bytes:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
        line = process.stdout.readline() if ready else b""
        if not line:
            ending.kill(process)
            raise AssertionError(f"penstock {self._command[0]} did not become ready:\n{_tail(self._directory / 'log')}")
        return line


@contextmanager
def running(platform: Platform) -> Iterator[Platform]:
    platform.open()
    try:
        yield platform
    finally:
        platform.close()


@contextmanager
def worker(platform: Platform, directory: Path, name: str, *flags: str, doomed: bool = False) -> Iterator[None]:
    """`penstock worker`, joined to a platform as a remote one would be, and ready."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["worker", "--join", platform.root, "--name", name, "--state-dir", str(directory), *flags]
    environment = {**platform.environment, "PENSTOCK_WORKER__TOKEN": platform.facts["join_token"]}
    log = directory / "log"
    process = start(log, command, environment, doomed=doomed)
    try:
        eventually(lambda: name in ready_workers(platform.control), READY_SECONDS, lambda: f"no worker {name!r}:\n{_tail(log)}")
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        wait_for_the_end(process, log)


def ready_workers(control: Control) -> set[str]:
    return {each["name"] for each in control.get("/api/workers")["data"] if each["state"] == "ready"}


def start(log: Path, command: list[str], environment: Mapping[str, str], *, doomed: bool = False) -> "subprocess.Popen[bytes]":
    """A `penstock` process; what it says on stderr is appended to `log`."""
    surroundings = ending.watched(_surroundings(environment))
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=ending.doomed(surroundings) if doomed else surroundings,
        )


def wait_for_the_end(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """After SIGTERM it has to end by itself, with success and without another word on stdout."""
    assert ending.ended(process, log) == (0, b""), _tail(log)


def eventually(probe: Callable[[], T], seconds: float, problem: Callable[[], str] = lambda: "it did not happen") -> T:
    """The first true answer. Other processes send no signal that a test could wait for, so it asks again and again."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, problem()
        time.sleep(_PAUSE_SECONDS)
    return answer


def _surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would steer Penstock or an SDK from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_"))}
    return {**kept, **environment}


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
