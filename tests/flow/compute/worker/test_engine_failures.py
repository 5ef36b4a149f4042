"""What a client of the worker hears when the engine fails: a status while there is one to give, then an event that ends the stream."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import httpx
import pytest

from penstock.compute.worker.presence import Presence
from penstock.compute.worker.serve import WorkerApp
from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.errors import UpstreamFailed
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer
from penstock.domain.workers import ModelOffer, WorkerLoad
from tests.contract.compute.engines.subjects import within
from tests.flow.compute.worker.fake_gateway import running


class Failing:
    """An engine that answers with what a test gives it."""

    slots = 1

    def __init__(self, respond: Callable[[], Answer]) -> None:
        self._respond = respond

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def models(self) -> tuple[ModelOffer, ...]:
        return (ModelOffer("m"),)

    def load(self) -> WorkerLoad:
        return WorkerLoad()

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        return self._respond()


@contextlib.asynccontextmanager
async def asked(respond: Callable[[], Answer]) -> AsyncIterator[tuple[httpx.Response, WorkerSlots]]:
    slots = WorkerSlots(1, 0)
    app = WorkerApp(Failing(respond), "s", slots, Presence(WorkerLoad))
    async with running(app) as port, httpx.AsyncClient(trust_env=False, headers={"authorization": "Bearer s"}) as http:
        yield await http.post(f"http://127.0.0.1:{port}/v1/chat/completions", content=b"{}"), slots
        await within(1, slots.until_idle())


def breaks() -> Answer:
    raise ZeroDivisionError("a detail that nobody outside should read")


async def stream(*chunks: bytes, error: Exception | None = None) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def test_a_bug_in_the_engine_is_a_500_without_its_details() -> None:
    async with asked(breaks) as (response, _):
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert "detail" not in response.text


async def test_a_failure_before_the_first_byte_has_a_status() -> None:
    async with asked(lambda: Answer(200, [], stream(error=UpstreamFailed("The engine is gone.")))) as (response, _):
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UpstreamFailed("The engine is gone."), "upstream_error", "The engine is gone."),
        (ZeroDivisionError("a detail"), "internal_error", "The engine failed."),
    ],
)
async def test_a_failure_in_mid_stream_is_the_last_event(error: Exception, code: str, message: str) -> None:
    async with asked(lambda: Answer(200, [], stream(b"data: 1\n\n", error=error))) as (response, _):
        first, last, rest = response.text.split("\n\n")
        assert (response.status_code, first, rest) == (200, "data: 1", "")
        assert f'"code":"{code}"' in last
        assert message in last
        assert "detail" not in last


async def test_a_stream_of_nothing_is_an_empty_answer() -> None:
    async with asked(lambda: Answer(200, [(b"content-type", b"text/event-stream")], stream())) as (response, _):
        assert (response.status_code, response.text) == (200, "")
