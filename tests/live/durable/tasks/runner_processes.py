"""Runners as processes that can be killed and stopped, and what the store and an outside ledger say afterwards."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.live.platform import Control, Platform, eventually, start
from tests.support import ending

MODULE = "tests.live.durable.tasks.work_of_users"
OVER_SECONDS = 100.0


class RunnerProcess:
    """`penstock runner`, joined over HTTP unless `flags` say otherwise. It keeps its state directory over restarts."""

    def __init__(self, platform: Platform, directory: Path, name: str, tag: str, *flags: str, doomed: bool = False) -> None:
        """Takes the tasks of that tag alone: other tests run on the same platform. `doomed`: the test is going to kill it."""
        directory.mkdir(parents=True, exist_ok=True)
        own = flags or ("--join", platform.root)
        shared = ["--import", MODULE, "--queue", tag, "--name", name, "--state-dir", str(directory / name)]
        self._command = ["runner", *own, *shared]
        self._environment = {**platform.environment, "PENSTOCK_RUNNER__TOKEN": platform.facts["join_token"]}
        self._control = platform.control
        self._doomed = doomed
        self._process: subprocess.Popen[bytes] | None = None
        self.name = name
        self.id = ""
        """Of its last process."""
        self.log = directory / f"{name}.log"

    def open(self, *flags: str) -> None:
        before = {runner["id"] for runner in runners(self._control)}
        self._process = start(self.log, [*self._command, *flags], self._environment, doomed=self._doomed)
        new = eventually(lambda: self._ids() - before, 60, lambda: f"{self.name} did not join:\n{self.log.read_text()[-2000:]}")
        self.id = new.pop()

    def kill(self) -> None:
        """SIGKILL; its children go with it."""
        assert self._process is not None
        ending.kill(self._process)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        return ending.ended(self._process, self.log)[0]

    def _ids(self) -> set[str]:
        return {runner["id"] for runner in runners(self._control) if runner["name"] == self.name}


@contextmanager
def joined(*group: RunnerProcess) -> Iterator[None]:
    with ExitStack() as stack:
        for runner in group:
            stack.callback(runner.close)
            runner.open()
        yield


def runners(control: Control) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control.get("/api/runners")["data"]
    return found


def submit(control: Control, tag: str, name: str, payloads: list[dict[str, Any]]) -> None:
    """Each in the queue that is named as the tag."""
    shared = {"name": name, "tags": [tag], "queue": tag, "backoff_seconds": 0.05, "backoff_cap_seconds": 0.2}
    tasks = [{**shared, "payload": payload} for payload in payloads]
    for begin in range(0, len(tasks), 5_000):
        control.post("/api/tasks", {"tasks": tasks[begin : begin + 5_000]})


def counts(control: Control, tag: str) -> Counter[str]:
    """Tasks of that tag by status."""
    found: Counter[str] = Counter()
    for status in ("ready", "scheduled", "running", "succeeded", "failed", "cancelled"):
        page = control.get(f"/api/tasks?tag={tag}&status={status}&total=true&limit=1")
        found[status] = page["total"]
    return +found


def until_over(control: Control, tag: str, number: int, seconds: float = OVER_SECONDS) -> None:
    """All of them have succeeded."""
    eventually(lambda: counts(control, tag) == {"succeeded": number}, seconds, lambda: f"still {counts(control, tag)}")


def assert_each_once(control: Control, tag: str, ledger: Path, number: int) -> None:
    """None lost: each is in the ledger. None finished twice: each has one attempt that succeeded, which is its last."""
    lines = [line.split() for line in ledger.read_text().splitlines()]
    assert {int(line[0]) for line in lines} == set(range(number))
    repeated = [pair for pair, count in Counter((line[0], line[1]) for line in lines).items() if count > 1]
    assert repeated == [], "the same attempt ran twice"
    for task in pages(control, tag):
        if task["attempt"] > 1:
            attempts = control.get(f"/api/tasks/{task['id']}")["attempts"]
            outcomes = [attempt["outcome"] for attempt in attempts]
            assert outcomes.count("succeeded") == 1
            assert outcomes[-1] == "succeeded"


def pages(control: Control, tag: str) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = control.get(f"/api/tasks?tag={tag}&limit=1000{after}")
        yield from page["data"]
        if page["after"] is None:
            return
        after = f"&after={page['after']}"
