"""A bridge between real brokers and a real gateway that is killed in the middle: no record is lost, none becomes two tasks."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.live.platform import WATCHED, Platform, eventually, running
from tests.live.processes.streams.scene import (
    MODULE,
    KafkaSide,
    NatsSide,
    Side,
    Stream,
    assert_each_once,
    ended,
    in_own_loop,
    made,
    metrics,
    outcomes,
    streaming,
    succeeded,
    tasks,
)
from tests.support import brokers

pytestmark = [pytest.mark.xdist_group("streams"), pytest.mark.timeout(600)]
NUMBER = 1_000
KILLS = {"kafka": 2, "nats": 3}
"""After each of them Kafka forms the group anew, which takes 10 s."""
SECONDS = 120.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    flags = ("--workers", "0", "--import", MODULE)
    with running(Platform(tmp_path_factory.mktemp("platform"), *flags, environment=WATCHED)) as started:
        yield started


@pytest.fixture(params=["kafka", "nats"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "kafka":
        with brokers.kafka() as address:
            yield KafkaSide(address)
        return
    url = brokers.nats_url()
    stream = in_own_loop(brokers.add_nats_stream(url))
    try:
        yield NatsSide(url, stream)
    finally:
        in_own_loop(brokers.delete_nats_stream(url, stream))


def records(number: int, start: int = 0) -> list[bytes]:
    return [b'{"n": %d}' % n for n in range(start, start + number)]


def both_ways(side: Side) -> list[str]:
    ways = ["--source", side.topic("in"), "--results", side.topic("out"), "--dead-letter", side.topic("dead")]
    return [*side.flags(), *ways, "--function", "number_of"]


@pytest.mark.fault("Stream from Kafka or NATS killed again and again", "each record becomes one task, and each result is published")
def test_killed_in_the_middle(platform: Platform, side: Side, tmp_path: Path) -> None:
    name = f"killed-{side.name}"
    stream = Stream(platform, tmp_path, *both_ways(side), "--batch", "20", name=name)
    side.put(side.topic("in"), records(NUMBER // 2))
    with ended(stream):
        stream.open()
        for turn in range(KILLS[side.name]):
            if turn == 1:
                side.put(side.topic("in"), records(NUMBER - NUMBER // 2, start=NUMBER // 2))
            share = (turn + 1) * NUMBER // (KILLS[side.name] + 2)
            eventually(partial(beyond, platform, name, share), SECONDS, lambda: stream.log.read_text()[-2000:])
            stream.kill()
            stream.open()
        eventually(lambda: succeeded(platform.control, name) >= NUMBER, SECONDS, lambda: state(platform, stream, name))
        assert_each_once(platform.control, NUMBER, name)
        eventually(lambda: len(outcomes(side.all(side.topic("out")))) >= NUMBER, SECONDS)
        assert stream.close() == 0
    told = outcomes(side.all(side.topic("out")))
    assert sorted(outcome["result"] for outcome in told.values()) == list(range(NUMBER))
    assert {outcome["source"].partition(":")[0] for outcome in told.values()} == {side.name}
    assert set(told) == {f"{task['id']}.1.succeeded" for task in tasks(platform.control, name)}


def state(platform: Platform, stream: Stream, name: str) -> str:
    made_now, done = made(platform.control, name), succeeded(platform.control, name)
    return f"{made_now} tasks, {done} succeeded\n{stream.log.read_text()[-2000:]}"


def beyond(platform: Platform, name: str, share: int) -> bool:
    return made(platform.control, name) > share


def test_record_that_can_never_be_a_task_goes_to_the_dead_letters(platform: Platform, side: Side, tmp_path: Path) -> None:
    name, port = f"dead-{side.name}", brokers.free_port()
    bad = [b"{", b"NaN", b'{"n": "' + b"x" * 900_000 + b'\\ud800"}', b"[" * 200 + b"]" * 200, b'{"$result": "nobody"}']
    side.put(side.topic("in"), [*records(50), *bad, *records(50, start=50)])
    with streaming(Stream(platform, tmp_path, *both_ways(side), "--metrics-port", str(port), name=name)):
        eventually(lambda: succeeded(platform.control, name) >= 100, SECONDS)
        eventually(lambda: metrics(port)["dead"] + made(platform.control, name) >= 105, SECONDS)
        eventually(lambda: metrics(port)["in_hand"] == 0, SECONDS)
        counts = metrics(port)
    found = side.all(side.topic("dead"))
    codes = sorted(headers["penstock-code"] for headers, _ in found)
    assert codes == [*["invalid_json"] * 4, "unknown_result"], counts
    assert {value for _, value in found} == set(bad)
    assert all(headers["penstock-source"].startswith(side.name) and headers["penstock-reason"] for headers, _ in found)
    assert (counts["created"], counts["dead"], counts["in_hand"]) == (100, 5, 0)


def test_two_processes_share_a_stream(platform: Platform, side: Side, tmp_path: Path) -> None:
    name = f"shared-{side.name}"
    flags = [*side.flags(), "--source", side.topic("in"), "--function", "number_of", "--batch", "10"]
    side.put(side.topic("in"), records(300))
    pair = [Stream(platform, tmp_path, *flags, name=name, process=process) for process in ("one", "other")]
    with streaming(*pair):
        side.put(side.topic("in"), records(300, start=300))
        eventually(lambda: succeeded(platform.control, name) >= 600, SECONDS)
    assert_each_once(platform.control, 600, name)


def test_records_that_are_whole_tasks_become_those_tasks(platform: Platform, side: Side, tmp_path: Path) -> None:
    name = f"whole-{side.name}"
    given = [{"name": "number_of", "payload": {"n": n}, "queue": "high", "tags": ["mine"], "priority": 7} for n in range(20)]
    side.put(side.topic("in"), [json.dumps(task).encode() for task in [*given, {"name": "number_of", "priority": 70}]])
    ways = ["--source", side.topic("in"), "--dead-letter", side.topic("dead"), "--records", "task"]
    with streaming(Stream(platform, tmp_path, *side.flags(), *ways, name=name)):
        eventually(lambda: succeeded(platform.control, name) >= 20, SECONDS)
        eventually(lambda: side.all(side.topic("dead")), SECONDS)
    assert_each_once(platform.control, 20, name)
    assert {(task["queue"], task["priority"], tuple(task["tags"])) for task in tasks(platform.control, name)} == {
        ("high", 7, (f"stream:{name}", "mine"))
    }
    ((headers, _),) = side.all(side.topic("dead"))
    assert headers["penstock-code"] == "validation_error"
    assert "priority" in headers["penstock-reason"]
