"""A bridge between real brokers and a real gateway that is killed in the middle: no record is lost, none becomes two tasks."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.live.platform import WATCHED, Platform, eventually, running
from tests.live.processes.streams.stream_processes import (
    MODULE,
    BrokerClient,
    KafkaClient,
    NatsClient,
    StreamProcess,
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
def client(request: pytest.FixtureRequest) -> Iterator[BrokerClient]:
    if request.param == "kafka":
        with brokers.kafka() as address:
            yield KafkaClient(address)
        return
    url = brokers.nats_url()
    stream = in_own_loop(brokers.add_nats_stream(url))
    try:
        yield NatsClient(url, stream)
    finally:
        in_own_loop(brokers.delete_nats_stream(url, stream))


def records(number: int, start: int = 0) -> list[bytes]:
    return [b'{"n": %d}' % n for n in range(start, start + number)]


def both_ways(client: BrokerClient) -> list[str]:
    ways = ["--source", client.topic("in"), "--results", client.topic("out"), "--dead-letter", client.topic("dead")]
    return [*client.flags(), *ways, "--function", "number_of"]


@pytest.mark.fault("Stream from Kafka or NATS killed again and again", "each record becomes one task, and each result is published")
def test_killed_in_the_middle(platform: Platform, client: BrokerClient, tmp_path: Path) -> None:
    name = f"killed-{client.name}"
    stream = StreamProcess(platform, tmp_path, *both_ways(client), "--batch", "20", name=name)
    client.put(client.topic("in"), records(NUMBER // 2))
    with ended(stream):
        stream.open()
        for turn in range(KILLS[client.name]):
            if turn == 1:
                client.put(client.topic("in"), records(NUMBER - NUMBER // 2, start=NUMBER // 2))
            share = (turn + 1) * NUMBER // (KILLS[client.name] + 2)
            eventually(partial(beyond, platform, name, share), SECONDS, lambda: stream.log.read_text()[-2000:])
            stream.kill()
            stream.open()
        eventually(lambda: succeeded(platform.control, name) >= NUMBER, SECONDS, lambda: state(platform, stream, name))
        assert_each_once(platform.control, NUMBER, name)
        eventually(lambda: len(outcomes(client.all(client.topic("out")))) >= NUMBER, SECONDS)
        assert stream.close() == 0
    told = outcomes(client.all(client.topic("out")))
    assert sorted(outcome["result"] for outcome in told.values()) == list(range(NUMBER))
    assert {outcome["source"].partition(":")[0] for outcome in told.values()} == {client.name}
    assert set(told) == {f"{task['id']}.1.succeeded" for task in tasks(platform.control, name)}


def state(platform: Platform, stream: StreamProcess, name: str) -> str:
    made_now, done = made(platform.control, name), succeeded(platform.control, name)
    return f"{made_now} tasks, {done} succeeded\n{stream.log.read_text()[-2000:]}"


def beyond(platform: Platform, name: str, share: int) -> bool:
    return made(platform.control, name) > share


def test_record_that_can_never_be_a_task_goes_to_the_dead_letters(platform: Platform, client: BrokerClient, tmp_path: Path) -> None:
    name, port = f"dead-{client.name}", brokers.free_port()
    bad = [b"{", b"NaN", b'{"n": "' + b"x" * 900_000 + b'\\ud800"}', b"[" * 200 + b"]" * 200, b'{"$result": "nobody"}']
    client.put(client.topic("in"), [*records(50), *bad, *records(50, start=50)])
    with streaming(StreamProcess(platform, tmp_path, *both_ways(client), "--metrics-port", str(port), name=name)):
        eventually(lambda: succeeded(platform.control, name) >= 100, SECONDS)
        eventually(lambda: metrics(port)["dead"] + made(platform.control, name) >= 105, SECONDS)
        eventually(lambda: metrics(port)["in_hand"] == 0, SECONDS)
        counts = metrics(port)
    found = client.all(client.topic("dead"))
    codes = sorted(headers["penstock-code"] for headers, _ in found)
    assert codes == [*["invalid_json"] * 4, "unknown_result"], counts
    assert {value for _, value in found} == set(bad)
    assert all(headers["penstock-source"].startswith(client.name) and headers["penstock-reason"] for headers, _ in found)
    assert (counts["created"], counts["dead"], counts["in_hand"]) == (100, 5, 0)


def test_two_processes_share_a_stream(platform: Platform, client: BrokerClient, tmp_path: Path) -> None:
    name = f"shared-{client.name}"
    flags = [*client.flags(), "--source", client.topic("in"), "--function", "number_of", "--batch", "10"]
    client.put(client.topic("in"), records(300))
    pair = [StreamProcess(platform, tmp_path, *flags, name=name, process=process) for process in ("one", "other")]
    with streaming(*pair):
        client.put(client.topic("in"), records(300, start=300))
        eventually(lambda: succeeded(platform.control, name) >= 600, SECONDS)
    assert_each_once(platform.control, 600, name)


def test_records_that_are_whole_tasks_become_those_tasks(platform: Platform, client: BrokerClient, tmp_path: Path) -> None:
    name = f"whole-{client.name}"
    given = [{"name": "number_of", "payload": {"n": n}, "queue": "high", "tags": ["mine"], "priority": 7} for n in range(20)]
    client.put(client.topic("in"), [json.dumps(task).encode() for task in [*given, {"name": "number_of", "priority": 70}]])
    ways = ["--source", client.topic("in"), "--dead-letter", client.topic("dead"), "--records", "task"]
    with streaming(StreamProcess(platform, tmp_path, *client.flags(), *ways, name=name)):
        eventually(lambda: succeeded(platform.control, name) >= 20, SECONDS)
        eventually(lambda: client.all(client.topic("dead")), SECONDS)
    assert_each_once(platform.control, 20, name)
    assert {(task["queue"], task["priority"], tuple(task["tags"])) for task in tasks(platform.control, name)} == {
        ("high", 7, (f"stream:{name}", "mine"))
    }
    ((headers, _),) = client.all(client.topic("dead"))
    assert headers["penstock-code"] == "validation_error"
    assert "priority" in headers["penstock-reason"]
