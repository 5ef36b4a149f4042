"""What a crash cut off is billed with the tokens that were delivered, at the price of its model, its tier and its class."""

import os
from typing import Any

import pytest

from penstock.app.gateway.assembly import open_gateway
from penstock.app.settings import Settings
from penstock.domain.models import ModelRecord, Price
from penstock.domain.usage import Outcome
from penstock.storage.journal.journal import Journal
from penstock.storage.stores import open_store
from tests.contract.storage.stores.store_records import record

PRICE = Price(1_000_000, 500_000, 2_000_000, priority_percent=200, flex_percent=50, batch_percent=10)
"""Micro-units for a million tokens: 1 for a token of the prompt, a half for a cached one, 2 for one of the answer."""


async def crashed(settings: Settings, **fields: Any) -> None:
    """A gateway of a priced model that died in the middle of a stream: 1,000 tokens of prompt, 400 of them cached, 100 delivered."""
    settings.data_dir.mkdir(parents=True)
    store = await open_store(settings.store_url, migrate=True)
    await store.catalog.save_model(ModelRecord("priced", PRICE))
    journal = Journal(settings.data_dir / "journal", store.ledger, settings.usage.journal_slots, settings.usage.flush_seconds)
    journal.open(lambda found: found)
    streamed = record(
        "req_cut", **{"model": "priced", "prompt_tokens": 1000, "completion_tokens": 0, "cached_tokens": 0, "cost_micros": 0} | fields
    )
    slot = journal.begin(streamed)
    assert slot is not None
    slot.update(1000, 100, 400)
    await store.close()
    assert journal._lock is not None
    os.close(journal._lock)  # as the end of a process does


async def cost_after_restart(settings: Settings) -> int:
    gateway = await open_gateway(settings, migrate=False)
    try:
        await gateway.journal.flush()
        found = await gateway.store.ledger.record("req_cut")
    finally:
        await gateway.close()
    assert found is not None
    assert (found.outcome, found.completion_tokens) == (Outcome.RECOVERED, 100)
    return found.cost_micros


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({}, 600 + 200 + 200),
        ({"service_tier": "priority"}, 2000),
        ({"service_tier": "flex"}, 500),
        ({"service_class": "batch"}, 100),
        ({"service_class": "batch", "service_tier": "priority"}, 100),
        ({"model": "free of charge"}, 0),
    ],
    ids=["default", "priority", "flex", "batch", "batch at priority", "without a price"],
)
async def test_a_stream_that_a_crash_cut_off_costs_its_delivered_tokens(settings: Settings, fields: dict[str, Any], cost: int) -> None:
    await crashed(settings, **fields)
    assert await cost_after_restart(settings) == cost
