"""An answer whose time is up is gone for every call, also while its row still waits for the sweep: on every store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.durable.responses import KEPT_SECONDS, ResponseStatus
from penstock.domain.errors import BadRequest, NotFound
from penstock.domain.ports import Store
from penstock.domain.principal import KeyActor, Principal
from penstock.durable.responses.service import ResponseService
from tests.contract.storage.stores.store_records import plan, two_organisations

ORG = "org_a"
CALLER = Principal(ORG, KeyActor("key_a"), plan(), frozenset())


@dataclass
class Kept:
    """A service over a store of each kind, at a time that the test sets."""

    store: Store
    clock: ManualClock
    service: ResponseService

    async def keep(self, response_id: str, previous_id: str | None = None) -> None:
        document = {"id": response_id, "status": "completed", "previous_response_id": previous_id, "output": [{"text": response_id}]}
        await self.service.keep(CALLER, document, [{"id": f"item_{response_id}", "role": "user", "content": []}])


@pytest.fixture
async def kept(store: Store) -> Kept:
    await two_organisations(store)
    clock = ManualClock()
    return Kept(store, clock, ResponseService(store.responses, store.tasks, clock))


CALLS: dict[str, Callable[[ResponseService], Awaitable[Any]]] = {
    "show": lambda service: service.response(ORG, "resp_1"),
    "list its input items": lambda service: service.items(ORG, "resp_1"),
    "delete": lambda service: service.delete(ORG, "resp_1"),
    "cancel": lambda service: service.cancel(ORG, "resp_1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_expired_response_is_not_found_by_any_call(kept: Kept, call: Callable[[ResponseService], Awaitable[Any]]) -> None:
    await kept.keep("resp_1")
    kept.clock.advance(KEPT_SECONDS)
    with pytest.raises(NotFound) as raised:
        await call(kept.service)
    assert (raised.value.param, str(raised.value)) == ("response_id", "Response with id 'resp_1' not found.")
    stored = await kept.store.responses.get(ORG, "resp_1")
    assert stored is not None, "its row is the sweep's to remove"
    assert stored.status is ResponseStatus.COMPLETED


async def test_response_is_shown_until_its_last_second(kept: Kept) -> None:
    await kept.keep("resp_1")
    kept.clock.advance(KEPT_SECONDS - 1.0)
    assert (await kept.service.response(ORG, "resp_1"))["output"] == [{"text": "resp_1"}]
    assert [item["id"] for item in await kept.service.items(ORG, "resp_1")] == ["item_resp_1"]
    assert [each.get("id", each.get("text")) for each in await kept.service.previous_items(ORG, "resp_1")] == ["item_resp_1", "resp_1"]


async def test_expired_response_cannot_be_continued(kept: Kept) -> None:
    await kept.keep("resp_1")
    kept.clock.advance(KEPT_SECONDS)
    with pytest.raises(BadRequest) as raised:
        await kept.service.previous_items(ORG, "resp_1")
    assert (raised.value.param, str(raised.value)) == ("previous_response_id", "Previous response with id 'resp_1' not found.")


async def test_response_that_continues_an_expired_one_cannot_be_continued_before_or_after_the_sweep(kept: Kept) -> None:
    """The same refusal, which names the answer that is missing, whether or not the sweep has come by."""
    await kept.keep("resp_1")
    await kept.keep("resp_2", "resp_1")
    kept.clock.advance(10.0)
    await kept.keep("resp_3", "resp_2")
    kept.clock.advance(KEPT_SECONDS - 10.0)
    said = []
    for _ in range(2):
        with pytest.raises(BadRequest) as raised:
            await kept.service.previous_items(ORG, "resp_3")
        said.append((raised.value.param, str(raised.value)))
        await kept.service.forget_expired()
    assert said == [("previous_response_id", "Previous response with id 'resp_2' not found.")] * 2
    assert (await kept.service.response(ORG, "resp_3"))["id"] == "resp_3", "it is itself still kept"
