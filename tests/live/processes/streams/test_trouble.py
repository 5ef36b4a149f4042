"""Brokers and gateways that are away, busy or do not want us: waited for, or told with an exit code."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.platform import Platform, eventually, running
from tests.live.processes.streams.stream_processes import (
    MODULE,
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
)
from tests.support import brokers

pytestmark = [pytest.mark.xdist_group("streams"), pytest.mark.timeout(600)]
SECONDS = 120.0
STREAM = "streams_test"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[brokers.NatsServer]:
    """Not yet running."""
    server = brokers.NatsServer(tmp_path / "nats")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """With a port that it keeps over a restart."""
    flags = ("--workers", "0", "--import", MODULE, "--port", str(brokers.free_port()))
    with running(
        Platform(tmp_path_factory.mktemp("platform"), *flags, environment={"PENSTOCK_ADMISSION__API_PER_MINUTE": "1000000"})
    ) as started:
        yield started


async def make_stream(url: str) -> None:
    async with brokers.jetstream(url) as js:
        await js.add_stream(name=STREAM, subjects=[f"{STREAM}.>"])


def records(number: int, start: int = 0) -> list[bytes]:
    return [b'{"n": %d}' % n for n in range(start, start + number)]


def both_ways(client: NatsClient) -> list[str]:
    return [*client.flags(), "--source", client.topic("in"), "--results", client.topic("out"), "--function", "number_of"]


@pytest.mark.fault("Broker of a stream absent at the start, then killed and restarted", "waited for; each record becomes one task")
def test_the_broker_comes_goes_and_comes_back(platform: Platform, server: brokers.NatsServer, tmp_path: Path) -> None:
    client = NatsClient(server.url, STREAM)
    stream = StreamProcess(platform, tmp_path, *both_ways(client), name="broker")
    with ended(stream):
        stream.open(ready=False)
        eventually(lambda: "stream_waits" in stream.log.read_text(), SECONDS)
        server.open()
        in_own_loop(make_stream(server.url))
        client.put(client.topic("in"), records(300))
        stream.wait_until_ready()
        eventually(lambda: made(platform.control, "broker") >= 100, SECONDS)
        server.close(signal.SIGKILL)
        server.open()
        client.put(client.topic("in"), records(300, start=300))
        eventually(lambda: succeeded(platform.control, "broker") >= 600, SECONDS, lambda: stream.log.read_text()[-3000:])
        assert_each_once(platform.control, 600, "broker")
        eventually(lambda: len(outcomes(client.all(client.topic("out")))) >= 600, SECONDS, lambda: stream.log.read_text()[-3000:])
        assert stream.close() == 0


@pytest.mark.fault("Gateway of a stream killed and restarted", "waited for; each record becomes one task, each result is published")
def test_the_gateway_is_killed(platform: Platform, server: brokers.NatsServer, tmp_path: Path) -> None:
    server.open()
    in_own_loop(make_stream(server.url))
    client = NatsClient(server.url, STREAM)
    client.put(client.topic("in"), records(1_000))
    with streaming(StreamProcess(platform, tmp_path, *both_ways(client), "--batch", "10", name="gateway")):
        eventually(lambda: made(platform.control, "gateway") >= 200, SECONDS)
        platform.kill()
        client.put(client.topic("in"), records(200, start=1_000))
        platform.open()
        eventually(lambda: succeeded(platform.control, "gateway") >= 1_200, SECONDS)
        assert_each_once(platform.control, 1_200, "gateway")
        eventually(lambda: len(outcomes(client.all(client.topic("out")))) >= 1_200, SECONDS)


def test_a_gateway_that_limits_is_asked_slowly(server: brokers.NatsServer, tmp_path: Path) -> None:
    server.open()
    in_own_loop(make_stream(server.url))
    client, port = NatsClient(server.url, STREAM), brokers.free_port()
    limited = {"PENSTOCK_ADMISSION__API_PER_MINUTE": "60"}
    with running(Platform(tmp_path / "platform", "--workers", "0", "--import", MODULE, environment=limited)) as platform:
        client.put(client.topic("in"), records(330))
        flags = [*client.flags(), "--source", client.topic("in"), "--function", "number_of", "--batch", "5", "--metrics-port", str(port)]
        with streaming(StreamProcess(platform, tmp_path, *flags)):
            eventually(lambda: metrics(port)["created"] == 330, SECONDS)
            counts = metrics(port)
        assert counts["refusals"] > 0
        # 66 submissions, and for each of those beyond the limit about one try that came too early, of each worker.
        assert counts["refusals"] < 40
        assert counts["dead"] == 0


def test_stop_ends_the_bridge_while_the_gateway_is_away(platform: Platform, server: brokers.NatsServer, tmp_path: Path) -> None:
    stream = StreamProcess(platform, tmp_path, *both_ways(NatsClient(server.url, STREAM)), name="stopping")
    with ended(stream):
        stream.open(ready=False)
        eventually(lambda: "stream_waits" in stream.log.read_text(), SECONDS)
        assert stream.close() == 0


def test_records_not_finished_are_given_back(platform: Platform, server: brokers.NatsServer, tmp_path: Path) -> None:
    server.open()
    in_own_loop(make_stream(server.url))
    client = NatsClient(server.url, STREAM)
    flags = [*client.flags(), "--source", client.topic("in"), "--function", "number_of"]
    stream = StreamProcess(platform, tmp_path, *flags, name="given-back")
    config = tmp_path / "stream.toml"
    config.write_text("[stream]\ndrain_seconds = 1\n")
    with ended(stream):
        stream.open("--config", str(config))
        platform.kill()
        client.put(client.topic("in"), records(50))
        eventually(lambda: "stream_waits" in stream.log.read_text(), SECONDS)
        assert stream.close() == 0
        assert "drain_took_too_long" in stream.log.read_text()
    platform.open()
    with streaming(stream):
        eventually(lambda: succeeded(platform.control, "given-back") >= 50, SECONDS)
    assert_each_once(platform.control, 50, "given-back")


def test_a_record_that_can_never_be_a_task_stops_a_stream_without_dead_letters(
    platform: Platform, server: brokers.NatsServer, tmp_path: Path
) -> None:
    server.open()
    in_own_loop(make_stream(server.url))
    client = NatsClient(server.url, STREAM)
    client.put(client.topic("in"), [b"{"])
    stream = StreamProcess(platform, tmp_path, *both_ways(client), name="without")
    with ended(stream):
        stream.open()
        assert stream.wait() == 1
    assert "can never become a task (invalid_json" in stream.log.read_text()


def test_a_wrong_key_and_a_taken_state_directory(platform: Platform, server: brokers.NatsServer, tmp_path: Path) -> None:
    server.open()
    in_own_loop(make_stream(server.url))
    flags = both_ways(NatsClient(server.url, STREAM))
    stranger = StreamProcess(platform, tmp_path, *flags, name="wrong")
    with ended(stranger):
        stranger.open("--api-key", "psk_wrong", ready=False)
        assert stranger.wait() == 4
    with streaming(StreamProcess(platform, tmp_path, *flags, name="wrong")):
        second = StreamProcess(platform, tmp_path, *flags, name="wrong")
        with ended(second):
            second.open(ready=False)
            assert second.wait() == 1
        assert "another process uses" in second.log.read_text()
