"""What was used and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field

from penstock.accounts.permissions import org_filter, owned, owns
from penstock.domain.ports import UsageQuery
from penstock.domain.principal import Principal
from penstock.domain.usage import Outcome, UsageRecord, UsageRow
from penstock.edge.layers.access import Services, UsageReader
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import After, KeyFilter, Limit, ListView, ModelFilter, OrgFilter, RequestId, Time, TimeFilter, View

router = APIRouter(prefix="/api/usage", tags=["Usage"])

_GROUP = "(org|key|model|tier|class|day|currency)"
GroupBy = Annotated[
    str,
    Query(
        max_length=64,
        pattern=f"^({_GROUP}(,{_GROUP})*)?$",
        description="Of org, key, model, tier, class, day; rows are by currency in any case.",
    ),
]


TierFilter = Annotated[str | None, Query(max_length=32, pattern="^[a-z]+$", description="Only this service tier.")]
ClassFilter = Annotated[str | None, Query(alias="class", max_length=32, pattern="^[a-z]+$", description="Only this service class.")]
SlowerThan = Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Only requests that took longer, in seconds.")]
ClientRequestId = Annotated[
    str | None, Query(min_length=1, max_length=512, pattern="^[!-~]+$", description="The `x-request-id` that the client sent.")
]


class RowView(View):
    """Sums of a group. A field outside the grouping is empty."""

    org_id: str
    org_name: Annotated[str, Field(description="Empty for one that is not known any more.")]
    key_id: str
    key_name: Annotated[str, Field(description="Empty for one that is no key: a user, the platform.")]
    model: str
    service_tier: str
    service_class: str
    day: Annotated[str, Field(description="YYYY-MM-DD in UTC.")]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated_requests: Annotated[int, Field(description="Requests whose tokens we counted, because the engine did not tell.")]
    currency: str
    cost_micros: Annotated[int, Field(description="1,000,000 = 1.00 of the currency.")]


class CostView(View):
    currency: str
    cost_micros: int


class TotalsView(View):
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated_requests: int
    cost_micros: Annotated[int | None, Field(description="null when there are several currencies: see `costs`.")]
    costs: Annotated[list[CostView], Field(description="One for each currency.")]


class Report(ListView):
    data: list[RowView]
    totals: TotalsView


class RecordView(View):
    request_id: str
    org_id: str
    org_name: str
    key_id: str
    key_name: str
    model: str
    operation: str
    service_tier: Annotated[str, Field(description="The tier served, which is the one billed.")]
    service_class: str
    worker_id: str
    outcome: Outcome
    status: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated: Annotated[bool, Field(description="We counted at least a part of the tokens.")]
    currency: Annotated[str, Field(description="Empty in records of earlier versions.")]
    cost_micros: int
    started_at: Time
    finished_at: Time
    ttft_ms: float
    queue_ms: float
    retries: int
    client_request_id: str
    disputed: Annotated[bool, Field(description="The engine reported tokens that cannot be; the record has our estimate.")]
    reported_prompt_tokens: Annotated[int, Field(description="Of a disputed record: what the engine reported.")]
    reported_completion_tokens: int


class RecordList(ListView):
    data: list[RecordView]


@router.get("", responses=problems(404, 422), summary="Report usage")
async def report_usage(
    caller: UsageReader,
    services: Services,
    group_by: GroupBy = "model",
    since: TimeFilter = None,
    until: TimeFilter = None,
    key: KeyFilter = None,
    model: ModelFilter = None,
    org: OrgFilter = None,
    tier: TierFilter = None,
    service_class: ClassFilter = None,
    limit: Limit = 1000,
) -> Report:
    """Sums by group, the largest cost first; `totals` are of everything that the filters let through."""
    groups = tuple(dict.fromkeys(group_by.split(","))) if group_by else ()
    query = UsageQuery(org_filter(caller, org), key, model, since, until, groups, limit + 1, tier, service_class)
    rows = await services.store.ledger.report(query)
    everything = await services.store.ledger.report(replace(query, group_by=(), limit=_MOST_CURRENCIES))
    names = await _Names.of(caller, services, orgs="org" in groups, keys="key" in groups)
    return Report(
        data=[RowView.model_validate({**asdict(row), **names.of_row(row.org_id, row.key_id)}) for row in rows[:limit]],
        totals=_totals(everything),
        has_more=len(rows) > limit,
    )


@router.get("/records", responses=problems(404, 422), summary="List single requests")
async def list_records(
    caller: UsageReader,
    services: Services,
    since: TimeFilter = None,
    until: TimeFilter = None,
    key: KeyFilter = None,
    model: ModelFilter = None,
    org: OrgFilter = None,
    tier: TierFilter = None,
    service_class: ClassFilter = None,
    outcome: Outcome | None = None,
    slower_than: SlowerThan = None,
    client_request_id: ClientRequestId = None,
    limit: Limit = 100,
    after: After = None,
) -> RecordList:
    """Newest first."""
    query = UsageQuery(
        org_filter(caller, org), key, model, since, until, (), limit + 1, tier, service_class, outcome, slower_than, client_request_id
    )
    records = await services.store.ledger.records(query, after)
    names = await _Names.of(caller, services, orgs=True, keys=True)
    return RecordList(data=[names.view(record) for record in records[:limit]], has_more=len(records) > limit)


@router.get("/records/{request_id}", responses=problems(404, 422), summary="Show one request")
async def show_record(request_id: RequestId, caller: UsageReader, services: Services) -> RecordView:
    """By its id, or by the `x-request-id` that the client sent: then the newest of the last week."""
    found = await services.store.ledger.record(request_id)
    if found is None or not owns(caller, found.org_id):
        since = services.clock.time() - _CLIENT_IDS_SECONDS
        query = UsageQuery(org_filter(caller, None), since=since, limit=1, client_request_id=request_id)
        found = next(iter(await services.store.ledger.records(query)), found)
    record = owned(caller, found, "request in the ledger")
    return (await _Names.of(caller, services, orgs=True, keys=True)).view(record)


_MOST_CURRENCIES = 1000
_CLIENT_IDS_SECONDS = 7 * 86_400


def _totals(rows: Sequence[UsageRow]) -> TotalsView:
    """Tokens of all currencies together, costs of each."""
    counts = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated_requests")
    costs = [CostView(currency=row.currency, cost_micros=row.cost_micros) for row in rows]
    only = costs[0].cost_micros if len(costs) == 1 else None if costs else 0
    return TotalsView(**{name: sum(getattr(row, name) for row in rows) for name in counts}, cost_micros=only, costs=costs)


class _Names:
    """Names of organisations and keys beside their ids, as far as the caller may see them."""

    def __init__(self, orgs: Mapping[str, str], keys: Mapping[str, str]) -> None:
        self._orgs = orgs
        self._keys = keys

    @classmethod
    async def of(cls, caller: Principal, services: ControlServices, *, orgs: bool, keys: bool) -> "_Names":
        accounts = services.store.accounts
        known_orgs = [each for each in await accounts.organisations() if owns(caller, each.id)] if orgs else []
        known_keys = await accounts.keys(org_filter(caller, None)) if keys else []
        return cls({each.id: each.name for each in known_orgs}, {each.id: each.name for each in known_keys})

    def of_row(self, org_id: str, key_id: str) -> dict[str, str]:
        return {"org_name": self._orgs.get(org_id, ""), "key_name": self._keys.get(key_id, "")}

    def view(self, record: UsageRecord) -> RecordView:
        return RecordView.model_validate({**msgspec.structs.asdict(record), **self.of_row(record.org_id, record.key_id)})
