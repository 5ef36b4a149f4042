"""On a real gateway: a batch request that has not answered gives its slot to somebody who waits, and is done afterwards, billed once."""

import asyncio
import json
from pathlib import Path

from penstock.domain.call import Call
from penstock.domain.errors import PenstockError
from penstock.domain.inference import Operation
from penstock.domain.principal import Principal, ServiceClass
from tests.support.gateway import Client, Platform, platform, reply, scripted


class Awaited:
    """Implements the port `Reply` for somebody who waits for a whole answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self.answer.set_result((error.status, error.message.encode()))

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self.answer.set_result((status, body))

    def start(self, status: int, headers: bytes) -> None:
        raise AssertionError("no stream was asked for")

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...


async def first_is_held(client: Client, seen: list[Client]) -> None:
    """A script: the first request that comes is never answered, the others when they are told to be."""
    if not seen:
        seen.append(client)
        await client.until_gone()
        return
    await client.go.wait()
    await client.answer(200, reply())


async def owner(one: Platform) -> Principal:
    found = await one.gateway.keys.identify(one.authorization["authorization"].encode(), "127.0.0.1")
    assert isinstance(found, Principal)
    return found


async def test_batch_gives_way_and_is_done_afterwards(tmp_path: Path) -> None:
    upstream = {"model": "scripted", "slots": 1}
    seen: list[Client] = []
    async with (
        scripted(lambda client: first_is_held(client, seen)) as (server,),
        platform(tmp_path, [upstream | {"url": server.url}]) as one,
    ):
        call = Call("req_batch", Operation.CHAT, json.dumps(one.body(seed=1)).encode(), service_class=ServiceClass.BATCH)
        awaited = Awaited()
        one.gateway.pipeline.run(await owner(one), call, awaited)
        await server.arrived.until(lambda: len(server.requests) == 1)
        urgent = asyncio.create_task(one.chat(seed=2))
        await server.arrived.until(lambda: len(server.requests) == 2)
        await asyncio.wait_for(server.requests[0].gone.wait(), 5)
        assert server.requests[1].json["seed"] == 2
        server.requests[1].go.set()
        assert (await urgent).status_code == 200
        await server.arrived.until(lambda: len(server.requests) == 3)
        assert (server.requests[2].json["seed"], awaited.answer.done()) == (1, False)
        server.requests[2].go.set()
        status, _ = await asyncio.wait_for(awaited.answer, 5)
        assert status == 200
        classes = sorted(record.service_class for record in await one.records())
        assert classes == ["batch", "enterprise"], "billed once each, the batch request as batch"
        await one.until_quiet()
        assert 'penstock_preempted_total{service_class="batch"} 1.0' in (await one.http.get("/metrics")).text
