"""Runners that are killed or stopped in the middle, and a platform that is: nothing is lost, nothing ends twice."""

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.live.durable.tasks.runner_processes import (
    MODULE,
    OVER_SECONDS,
    RunnerProcess,
    assert_each_once,
    counts,
    joined,
    pages,
    submit,
    until_over,
)
from tests.live.platform import WATCHED, Control, Platform, eventually, running
from tests.support.postgres import database


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Without workers, and without functions of its own."""
    with running(Platform(tmp_path_factory.mktemp("platform"), "--workers", "0", environment=WATCHED)) as started:
        yield started


def kill_again_and_again(
    platform: Platform, directory: Path, number: int, kills: int, seconds: float, flags: tuple[str, ...] = ()
) -> dict[str, float]:
    """One of two runners is killed, and started again, each time that another share of the tasks has been done.

    `flags` say how the runners are joined. Returns when each runner was killed, by its id and the wall clock.
    """
    ledger, tag, killed = directory / "ledger", f"killed-{number}", {}
    pair = [RunnerProcess(platform, directory, f"runner-{side}", tag, *flags, doomed=True) for side in ("left", "right")]
    with joined(*pair):
        submit(platform.control, tag, "entry", [{"ledger": str(ledger), "number": n, "seconds": seconds} for n in range(number)])
        for turn in range(kills):
            share = (turn + 1) * number // (kills + 2)
            eventually(partial(beyond, ledger, share), OVER_SECONDS)
            killed[pair[turn % 2].id] = time.time()
            pair[turn % 2].kill()
            pair[turn % 2].open()
        until_over(platform.control, tag, number)
        assert_each_once(platform.control, tag, ledger, number)
    return killed


def beyond(ledger: Path, share: int) -> bool:
    return done(ledger) > share


def done(ledger: Path) -> int:
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


@pytest.fixture(scope="module")
def scenarios(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Side by side: in each of them most of the time goes by waiting for a lease to end."""
    with ThreadPoolExecutor(3) as pool:
        yield {
            "killed": pool.submit(kill_again_and_again, platform, tmp_path_factory.mktemp("killed"), 600, 4, 0.02),
            "stopped": pool.submit(stop_past_the_lease, platform, tmp_path_factory.mktemp("stopped"), 4),
            "restarted": pool.submit(kill_the_platform, tmp_path_factory.mktemp("restarted")),
        }


@pytest.mark.fault("Runners killed again and again", "each task finishes once")
def test_runners_are_killed_in_the_middle(scenarios: dict[str, Future[Any]]) -> None:
    scenarios["killed"].result()


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Platform, tuple[str, ...]]]:
    """A platform on each store, and how its runners are joined: over HTTP, and on PostgreSQL directly."""
    with ExitStack() as closing:
        direct = ("--store", closing.enter_context(database())) if request.param == "postgres" else ()
        platform = Platform(tmp_path / "platform", "--workers", "0", *direct, environment=WATCHED)
        yield closing.enter_context(running(platform)), direct


@pytest.mark.soak
def test_ten_thousand_tasks_and_twenty_kills(shop: tuple[Platform, tuple[str, ...]], tmp_path: Path, figure: Callable[[str], None]) -> None:
    platform, flags = shop
    killed = kill_again_and_again(platform, tmp_path, 10_000, 20, 0.05, flags)
    waits = given_up(platform.control, "killed-10000", killed)
    ninety_nine = sorted(waits)[int(len(waits) * 0.99)]
    figure(f"10,000 tasks, 20 kills: {len(waits)} leases lost, their tasks ready again p99 {ninety_nine:.1f} s after the kill")
    assert ninety_nine <= 20


def given_up(control: Control, tag: str, killed: dict[str, float]) -> list[float]:
    """Seconds from the kill of a runner until the store takes back each lease that it held.

    When its task starts again is another question: thousands are queued before it.
    """
    found = []
    for task in pages(control, tag):
        if task["attempt"] > 1:
            attempts = control.get(f"/api/tasks/{task['id']}")["attempts"]
            found += [each["finished_at"] - killed[each["runner"]] for each in attempts[:-1] if each["runner"] in killed]
    return found


def stop_past_the_lease(platform: Platform, directory: Path, number: int, flags: tuple[str, ...] = ()) -> None:
    """A runner is stopped while it holds tasks, another one does them, and the first one comes back with its results."""
    ledger, gate, started, tag = directory / "ledger", directory / "gate", directory / "started", directory.name
    stopped, other = (RunnerProcess(platform, directory, name, tag, *flags) for name in ("stopped", "other"))
    payloads = [{"ledger": str(ledger), "number": n, "gate": str(gate), "started": str(started)} for n in range(number)]
    try:
        stopped.open("--processes", str(number))
        submit(platform.control, tag, "gated", payloads)
        eventually(lambda: len(list(directory.glob("started.*"))) == number, 60)
        stopped.signal(signal.SIGSTOP)
        gate.touch()  # its children finish their functions; nobody hears them
        other.open()
        until_over(platform.control, tag, number)
        told = {task["id"]: task for task in platform.control.get(f"/api/tasks?tag={tag}&limit=1000")["data"]}
        stopped.signal(signal.SIGCONT)
        eventually(lambda: refused(stopped.log) == told.keys(), 100, lambda: f"refused: {len(refused(stopped.log))} of {number}")
        after = {task["id"]: task for task in platform.control.get(f"/api/tasks?tag={tag}&limit=1000")["data"]}
        assert after == told, "the runner that came back changed nothing"
        assert {task["attempt"] for task in after.values()} == {2}, [
            platform.control.get(f"/api/tasks/{task}")["attempts"] for task in after
        ]
        lines = [line.split()[:2] for line in ledger.read_text().splitlines()]
        assert sorted(lines) == sorted([str(n), attempt] for n in range(number) for attempt in ("1", "2"))
    finally:
        stopped.close()
        other.close()


def attempts(control: Control, tasks: Iterable[str]) -> list[Any]:
    return [control.get(f"/api/tasks/{task}")["attempts"] for task in tasks]


def refused(log: Path) -> set[str]:
    """The tasks of which a runner was told that they are not its own any more: because it said how they ended, or in a beat."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["task"] for line in lines if line["event"] in ("completion_too_late", "lease_lost")}


@pytest.mark.fault("Runner frozen past its lease", "its finish is refused")
def test_a_runner_that_was_away_too_long_is_not_believed(scenarios: dict[str, Future[Any]]) -> None:
    scenarios["stopped"].result()


@pytest.mark.soak
def test_a_hundred_tasks_of_a_runner_that_was_away_too_long(
    shop: tuple[Platform, tuple[str, ...]], tmp_path: Path, figure: Callable[[str], None]
) -> None:
    platform, flags = shop
    for turn in range(10):
        (tmp_path / f"turn-{turn}").mkdir()
        stop_past_the_lease(platform, tmp_path / f"turn-{turn}", 10, flags)
    figure("100 of 100 ends refused")


def kill_the_platform(directory: Path) -> None:
    """`penstock up` with its own runner: kill -9, start again, and every task ends once."""
    ledger = directory / "ledger"
    platform = Platform(directory / "platform", "--workers", "0", "--import", MODULE, environment=WATCHED, doomed=True)
    with running(platform):
        submit(platform.control, "up", "entry", [{"ledger": str(ledger), "number": n, "seconds": 0.02} for n in range(200)])
        eventually(lambda: done(ledger) > 20, 30)
        platform.kill()
        platform.open()
        assert counts(platform.control, "up")["succeeded"] < 200
        until_over(platform.control, "up", 200)
        assert_each_once(platform.control, "up", ledger, 200)


@pytest.mark.fault("`penstock up` killed among its tasks", "after the restart each finishes once")
def test_the_platform_is_killed_in_the_middle(scenarios: dict[str, Future[Any]]) -> None:
    scenarios["restarted"].result()


def test_drained_runner_gives_back_leases_not_begun(platform: Platform, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    runner = RunnerProcess(platform, tmp_path, "draining", "drained")
    runner.open("--processes", "1")
    submit(platform.control, "drained", "entry", [{"ledger": str(ledger), "number": n, "seconds": 0.3} for n in range(10)])
    eventually(lambda: counts(platform.control, "drained")["running"], 30)
    assert runner.close() == 0
    left = counts(platform.control, "drained")
    assert left["ready"] == 10 - left["succeeded"], left
    assert done(ledger) == left["succeeded"], "what had begun was finished"
    runner.open()
    until_over(platform.control, "drained", 10)
    assert_each_once(platform.control, "drained", ledger, 10)
    runner.close()
