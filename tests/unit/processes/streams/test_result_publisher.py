"""BrokerEndpoints of tasks are published once each while nothing breaks, and at least once when something does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.durable.streams import StreamMessage
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.ports import StreamUnreachable
from penstock.processes.streams.brokers.memory import LARGEST_BYTES, MemoryBroker
from penstock.processes.streams.gateway_client import GatewayUnavailable
from penstock.processes.streams.publication_log import PublicationLog
from penstock.processes.streams.result_publisher import PollTiming, ResultPublisher
from tests.support.stream_harness import NOW, MemoryTaskApi, retrier

OVERLAP_SECONDS = 60.0


class PublisherHarness:
    def __init__(self, directory: Path) -> None:
        self.task_api = MemoryTaskApi()
        self.broker = MemoryBroker()
        self._directory = directory
        self.publication_log = self._publication_log()
        self.start()

    def _publication_log(self) -> PublicationLog:
        publication_log = PublicationLog(self._directory, 2 * OVERLAP_SECONDS)
        publication_log.open()
        return publication_log

    def start(self) -> None:
        """Also after a crash: what was in memory is gone."""
        self.publication_log.close()
        self.publication_log = self._publication_log()
        timing = PollTiming(poll_seconds=0.01, overlap_seconds=OVERLAP_SECONDS)
        self.results = ResultPublisher(self.broker.sink("out"), self.task_api, "s", self.publication_log, retrier(), timing)

    @property
    def published(self) -> list[StreamMessage]:
        return self.broker.topic("out").messages

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.published]


@pytest.fixture
def harness(tmp_path: Path) -> Any:
    harness = PublisherHarness(tmp_path)
    yield harness
    harness.publication_log.close()


async def test_published_message_has_the_outcome_of_the_task(harness: PublisherHarness) -> None:
    harness.task_api.end(1, NOW - 2, result=b'{"words": 3}')
    assert await harness.results.poll() == 1
    (message,) = harness.published
    assert (message.id, message.key) == ("task_1.1.succeeded", "task_1")
    assert {"penstock-task-id": "task_1", "penstock-status": "succeeded"}.items() <= dict(message.headers).items()
    assert json.loads(message.value) == {
        "task_id": "task_1",
        "stream": "s",
        "source": "memory:in:1",
        "kind": "function",
        "name": "count",
        "status": "succeeded",
        "attempt": 1,
        "finished_at": NOW - 2,
        "error": None,
        "result": {"words": 3},
        "result_left_out": False,
    }


async def test_each_completion_is_published_once_over_pages_polls_and_restarts(harness: PublisherHarness) -> None:
    for number in range(250):
        harness.task_api.end(number, NOW - 30 + number * 0.1)
    assert await harness.results.poll() == 250
    assert await harness.results.poll() == 0
    harness.start()
    assert await harness.results.poll() == 0
    harness.task_api.end(300, NOW)
    assert await harness.results.poll() == 1
    assert len(set(harness.ids)) == len(harness.ids) == 251


async def test_crash_after_publishing_publishes_again_under_the_same_id(harness: PublisherHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.task_api.end(1, NOW)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(harness.publication_log, "append", crash)
    with pytest.raises(KeyboardInterrupt):
        await harness.results.poll()
    harness.start()
    await harness.results.poll()
    assert harness.ids == ["task_1.1.succeeded"] * 2, "at least once, under the same id"


async def test_completion_that_becomes_visible_late_is_published(harness: PublisherHarness) -> None:
    harness.task_api.end(1, NOW)
    await harness.results.poll()
    harness.task_api.end(2, NOW - 50)
    await harness.results.poll()
    assert harness.ids == ["task_1.1.succeeded"], "not looked at again at once"
    harness.start()
    await harness.results.poll()
    assert harness.ids == ["task_1.1.succeeded", "task_2.1.succeeded"]


async def test_another_run_of_a_task_is_published_again(harness: PublisherHarness) -> None:
    harness.task_api.end(1, NOW - 1, TaskStatus.FAILED, attempt=3)
    await harness.results.poll()
    harness.task_api.end(1, NOW, TaskStatus.SUCCEEDED, attempt=4)
    await harness.results.poll()
    assert harness.ids == ["task_1.3.failed", "task_1.4.succeeded"]


async def test_a_result_that_the_broker_does_not_take_is_left_out(harness: PublisherHarness) -> None:
    harness.task_api.end(1, NOW, result=b'"' + b"x" * LARGEST_BYTES + b'"')
    harness.task_api.end(2, NOW)
    await harness.results.poll()
    assert sorted(harness.ids) == ["task_1.1.succeeded", "task_2.1.succeeded"]
    outcomes = {outcome["task_id"]: outcome for outcome in (json.loads(message.value) for message in harness.published)}
    assert (outcomes["task_1"]["result_left_out"], outcomes["task_1"]["result"]) == (True, None)
    assert outcomes["task_2"]["result"] == 1


async def test_position_advances_without_results_and_follows_the_clock_back(harness: PublisherHarness) -> None:
    await harness.results.poll()
    assert harness.publication_log.position == NOW - OVERLAP_SECONDS
    harness.task_api.now = NOW - 5_000
    harness.task_api.end(1, NOW - 5_010)
    harness.start()
    await harness.results.poll()
    harness.start()
    await harness.results.poll()
    assert harness.ids == ["task_1.1.succeeded"]


async def test_stop_does_not_wait_for_the_retry_after(harness: PublisherHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def busy(*_: Any) -> Any:
        asked.set()
        raise GatewayUnavailable("HTTP 503", 300.0)

    monkeypatch.setattr(harness.task_api, "finished_tasks", busy)
    running = asyncio.create_task(harness.results.run())
    await asyncio.wait_for(asked.wait(), 10)
    harness.results.stop()
    await asyncio.wait_for(running, 10)
    assert harness.published == []


async def test_broker_that_is_unreachable_is_retried(harness: PublisherHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = harness.results._sink
    publish, calls = sink.publish, list[int]()

    async def away(messages: Any) -> Any:
        calls.append(1)
        if len(calls) < 4:
            raise StreamUnreachable("away")
        harness.results.stop()
        return await publish(messages)

    monkeypatch.setattr(sink, "publish", away)
    harness.task_api.end(1, NOW)
    await harness.results.run()
    assert (harness.ids, len(calls)) == (["task_1.1.succeeded"], 4)
