import asyncio
import dataclasses
import itertools
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.domain.ports import Store, UsageQuery
from penstock.domain.usage import Outcome, UsageRecord, UsageRow
from penstock.storage.stores.ledger import queries as _ledger
from tests.contract.storage.stores.store_records import BIG, HOUR, NOON, record

GROUPS = {"org": "org_id", "key": "key_id", "model": "model", "tier": "service_tier", "class": "service_class"}
MIXED = [
    record(
        f"req_{number:04}",
        org_id=f"org_{number % 2}",
        key_id=f"key_{number % 3}",
        model=f"modèle/{number % 5}",
        service_tier=("default", "flex")[number % 2],
        service_class=("free", "premium", "batch")[number % 3],
        estimated=number % 4 == 0,
        cost_micros=number,
        currency=("USD", "EUR")[number % 7 == 0],
        started_at=NOON + number * 1357.25,
    )
    for number in range(120)
]


def day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def wanted(records: Iterable[UsageRecord], query: UsageQuery) -> list[UsageRecord]:
    return [
        r
        for r in records
        if (query.org_id is None or r.org_id == query.org_id)
        and (query.key_id is None or r.key_id == query.key_id)
        and (query.model is None or r.model == query.model)
        and (query.tier is None or r.service_tier == query.tier)
        and (query.service_class is None or r.service_class == query.service_class)
        and (query.outcome is None or r.outcome == query.outcome)
        and (query.slower_than_seconds is None or r.finished_at - r.started_at > query.slower_than_seconds)
        and (query.client_request_id is None or r.client_request_id == query.client_request_id)
        and (query.since is None or r.started_at >= query.since)
        and (query.until is None or r.started_at < query.until)
    ]


def oracle(records: Iterable[UsageRecord], query: UsageQuery) -> list[UsageRow]:
    """The report, from the plain reading of its definition."""
    groups: dict[tuple[str, ...], list[UsageRecord]] = {}
    for r in wanted(records, query):
        key = tuple(getattr(r, field) if name in query.group_by else "" for name, field in GROUPS.items())
        groups.setdefault((*key, day(r.started_at) if "day" in query.group_by else "", r.currency), []).append(r)
    rows = [
        UsageRow(
            org_id=key[0],
            key_id=key[1],
            model=key[2],
            service_tier=key[3],
            service_class=key[4],
            day=key[5],
            currency=key[6],
            requests=len(group),
            prompt_tokens=sum(r.prompt_tokens for r in group),
            completion_tokens=sum(r.completion_tokens for r in group),
            cached_tokens=sum(r.cached_tokens for r in group),
            reasoning_tokens=sum(r.reasoning_tokens for r in group),
            estimated_requests=sum(r.estimated for r in group),
            cost_micros=sum(r.cost_micros for r in group),
        )
        for key, group in groups.items()
    ]
    return sorted(rows, key=order(query))


def order(query: UsageQuery) -> Callable[[UsageRow], tuple[object, ...]]:
    fields = [GROUPS.get(name, name) for name in query.group_by]
    return lambda row: (-row.cost_micros, -row.requests, *(getattr(row, field) for field in fields), row.currency)


async def test_a_record_comes_back_as_it_was(store: Store) -> None:
    one = record("req_1", outcome=Outcome.RECOVERED, model="模型/ü", prompt_tokens=BIG, cost_micros=-BIG, started_at=NOON + 0.1)
    assert await store.ledger.append("batch", [one])
    assert await store.ledger.record("req_1") == one
    assert await store.ledger.record("req_0") is None
    assert await store.ledger.record("req_10") is None


async def test_a_batch_counts_once(store: Store) -> None:
    first, second = record("req_1"), record("req_2")
    assert await store.ledger.append("one", [first])
    assert not await store.ledger.append("one", [first])
    assert not await store.ledger.append("one", [second])
    assert await store.ledger.append("two", [second])
    assert await store.ledger.append("none", [])
    assert not await store.ledger.append("none", [])
    (row,) = await store.ledger.report(UsageQuery())
    assert (row.requests, row.prompt_tokens) == (2, 20)
    assert await store.ledger.records(UsageQuery()) == [second, first]


async def test_replays_beside_each_other_count_once(store: Store) -> None:
    batches = [(f"batch {start}", MIXED[start : start + 60]) for start in (0, 60)] * 4
    added = await asyncio.gather(*(store.ledger.append(*batch) for batch in batches))
    assert sum(added) == 2
    assert sum(row.requests for row in await store.ledger.report(UsageQuery(group_by=()))) == len(MIXED)


async def test_a_batch_of_any_size_is_whole(store: Store) -> None:
    many = [record(f"req_{number:05}", started_at=NOON + number) for number in range(3203)]
    assert await store.ledger.append("large", many)
    query = UsageQuery(group_by=("day",))
    assert await store.ledger.report(query) == oracle(many, query)
    assert await store.ledger.records(UsageQuery(limit=10_000)) == many[::-1]
    assert [await store.ledger.record(f"req_{number:05}") for number in (0, 999, 1000, 3202)] == [many[n] for n in (0, 999, 1000, 3202)]


@pytest.mark.parametrize("changes", [{"prompt_tokens": 2**64}, {"model": None}])
async def test_a_broken_batch_leaves_no_trace(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"(?i)null|int|range|NoneType"):
        await store.ledger.append("broken", [record("req_1"), record("req_2", **changes)])
    assert await store.ledger.records(UsageQuery()) == []
    assert await store.ledger.report(UsageQuery()) == []
    assert await store.ledger.append("broken", [record("req_1")])


async def test_ids_of_batches_are_forgotten_after_a_week(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ledger, "_PRUNE_EVERY", 1)
    monkeypatch.setattr(_ledger, "time", lambda: NOON)
    assert await store.ledger.append("batch", [record("req_1")])
    for days, forgotten in ((6.9, False), (7.0, False), (7.1, True)):
        monkeypatch.setattr(_ledger, "time", lambda days=days: NOON + days * 86_400)
        assert await store.ledger.append(f"after {days} days", [])
        assert await store.ledger.append("batch", [record("req_2")]) is forgotten


async def test_ids_are_forgotten_at_the_first_append_and_at_every_nth_after_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ledger, "_PRUNE_EVERY", 3)
    pruned: list[int] = []

    async def prune(_before: float) -> None:
        pruned.append(number)

    monkeypatch.setattr(store.ledger, "_prune", prune)
    for number in range(8):
        await store.ledger.append(f"batch {number}", [])
    assert pruned == [0, 3, 6]


@pytest.mark.parametrize("size", range(7))
async def test_reports_group_by_every_subset(store: Store, size: int) -> None:
    await store.ledger.append("mixed", MIXED)
    for names in itertools.combinations([*GROUPS, "day"], size):
        query = UsageQuery(group_by=names, since=NOON + 1000.5, until=NOON + 100_000.25)
        assert await store.ledger.report(query) == oracle(MIXED, query)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (None, None),
        (NOON, None),
        (None, NOON + HOUR),
        (NOON, NOON + HOUR),
        (NOON + 0.5, NOON + 0.75),
        (NOON + 10, NOON + HOUR - 10),
        (NOON - 10, NOON + 10),
        (NOON + HOUR - 0.25, NOON + 2 * HOUR),
        (NOON, NOON),
        (NOON + 10, NOON),
        (0.0, 1e300),
        (-1e300, NOON),
    ],
)
async def test_a_report_keeps_to_its_span_exactly(store: Store, since: float | None, until: float | None) -> None:
    steps = (-HOUR, -0.25, 0.0, 0.25, 0.5, 0.75, 10.0, HOUR - 10, HOUR - 0.25, HOUR, HOUR + 10, 30 * HOUR)
    records = [record(f"req_{n:02}", started_at=NOON + step, cost_micros=2**n) for n, step in enumerate(steps)]
    await store.ledger.append("batch", records)
    query = UsageQuery(group_by=("day", "model"), since=since, until=until)
    assert await store.ledger.report(query) == oracle(records, query)
    assert await store.ledger.records(query) == wanted(records, query)[::-1]


async def test_a_report_filters_and_ends_at_its_limit(store: Store) -> None:
    await store.ledger.append("mixed", MIXED)
    for query in (
        UsageQuery(org_id="org_1", group_by=("key", "day"), limit=4),
        UsageQuery(key_id="key_2", group_by=("model",), limit=1),
        UsageQuery(model="modèle/3", since=NOON + 1, group_by=("tier",)),
        UsageQuery(org_id="org_none"),
        UsageQuery(org_id="org_none", group_by=()),
    ):
        assert await store.ledger.report(query) == oracle(MIXED, query)[: query.limit]


async def test_sums_are_exact_beyond_what_a_float_holds(store: Store) -> None:
    await store.ledger.append("batch", [record("req_1", cost_micros=BIG), record("req_2", cost_micros=BIG), record("req_3", cost_micros=1)])
    (row,) = await store.ledger.report(UsageQuery())
    assert row.cost_micros == 2 * BIG + 1
    assert type(row.cost_micros) is int


async def test_an_unknown_grouping_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest) as refused:
        await store.ledger.report(UsageQuery(group_by=("model", "worker; DROP TABLE usage_record")))
    assert refused.value.param == "group_by"


async def test_records_are_paged_newest_first(store: Store) -> None:
    records = [record(f"req_{n:02}", org_id=f"org_{n % 2}", started_at=NOON + n // 3) for n in range(20)]
    await store.ledger.append("batch", records)
    query = UsageQuery(org_id="org_1", limit=4)
    assert await paged(store, query) == wanted(records, query)[::-1]
    assert await store.ledger.records(query, "req_none") == []


record_values: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    key_id=st.sampled_from(["key_a", "key_b", "ключ"]),
    model=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
    service_tier=st.sampled_from(["default", "flex", "priority"]),
    service_class=st.sampled_from(["free", "batch"]),
    estimated=st.booleans(),
    prompt_tokens=st.integers(0, 2**40),
    completion_tokens=st.integers(0, 2**40),
    cost_micros=st.integers(0, 2**50),
    started_at=st.floats(NOON - 3 * HOUR, NOON + 30 * HOUR),
)
times = st.none() | st.floats(NOON - 4 * HOUR, NOON + 31 * HOUR) | st.sampled_from([NOON, NOON + HOUR])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(record_values, max_size=12), max_size=4),
    key_id=st.none() | st.just("ключ"),
    groups=st.lists(st.sampled_from([*GROUPS, "day"]), unique=True),
    since=times,
    until=times,
)
async def test_append_and_report_agree_with_a_plain_reading(
    store: Store,
    batches: list[list[dict[str, object]]],
    key_id: str | None,
    groups: list[str],
    since: float | None,
    until: float | None,
) -> None:
    org_id = f"org_{secrets.token_hex(8)}"  # the examples share a database
    ledger: list[UsageRecord] = []
    for batch in batches:
        records = [record(f"{org_id}_{len(ledger) + number}", org_id=org_id, **values) for number, values in enumerate(batch)]
        batch_id = secrets.token_hex(8)
        assert await store.ledger.append(batch_id, records)
        assert not await store.ledger.append(batch_id, records)
        ledger += records
    query = UsageQuery(org_id=org_id, key_id=key_id, group_by=tuple(groups), since=since, until=until)
    assert await store.ledger.report(query) == oracle(ledger, query)
    newest_first = sorted(wanted(ledger, query), key=lambda r: (r.started_at, r.request_id), reverse=True)
    assert await store.ledger.records(query) == newest_first
    assert await paged(store, dataclasses.replace(query, limit=3)) == newest_first
    for one in ledger[:3]:
        assert await store.ledger.record(one.request_id) == one


async def paged(store: Store, query: UsageQuery) -> list[UsageRecord]:
    found: list[UsageRecord] = []
    while page := await store.ledger.records(query, found[-1].request_id if found else None):
        assert len(page) <= query.limit
        found += page
    return found


@pytest.mark.parametrize("turns", [1, 3, 10, 30])
async def test_cancelled_append_is_all_or_nothing_and_can_be_repeated(store: Store, turns: int) -> None:
    records = [record(f"req_{number:04}") for number in range(3000)]
    append = asyncio.ensure_future(store.ledger.append("batch", records))
    for _ in range(turns):
        await asyncio.sleep(0)  # a turn of the event loop
    append.cancel()
    await asyncio.wait([append])
    held = len(await store.ledger.records(UsageQuery(limit=10_000)))
    assert held in (0, len(records))
    assert await store.ledger.append("batch", records) is (held == 0)
    (row,) = await store.ledger.report(UsageQuery())
    assert row.requests == len(records)


async def test_costs_of_two_currencies_are_never_added(store: Store) -> None:
    await store.ledger.append("one", [record("req_1", currency="EUR", cost_micros=3), record("req_2", currency="USD", cost_micros=5)])
    for query in (UsageQuery(), UsageQuery(group_by=()), UsageQuery(since=NOON - 1, until=NOON + 1, group_by=())):
        assert [(row.currency, row.cost_micros) for row in await store.ledger.report(query)] == [("USD", 5), ("EUR", 3)]


@pytest.mark.parametrize(
    "query",
    [
        UsageQuery(tier="flex"),
        UsageQuery(service_class="batch"),
        UsageQuery(outcome="failed"),
        UsageQuery(slower_than_seconds=1.5),
        UsageQuery(client_request_id="mine-7"),
    ],
    ids=["tier", "class", "outcome", "slower", "client id"],
)
async def test_records_are_filtered_as_the_query_says(store: Store, query: UsageQuery) -> None:
    varied = [
        msgspec.structs.replace(
            each,
            outcome=(Outcome.COMPLETED, Outcome.FAILED)[number % 5 == 0],
            finished_at=each.started_at + number % 3,
            client_request_id=f"mine-{number % 11}",
        )
        for number, each in enumerate(MIXED)
    ]
    await store.ledger.append("varied", varied)
    expected = sorted(wanted(varied, query), key=lambda one: one.started_at, reverse=True)
    assert 0 < len(expected) < len(varied)
    assert await store.ledger.records(query) == expected
    if query.tier or query.service_class:
        assert await store.ledger.report(query) == oracle(varied, query)
