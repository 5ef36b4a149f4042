"""What was used and what it cost."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from penstock.accounts.permissions import org_filter, owned
from penstock.domain.ports import UsageQuery
from penstock.domain.usage import Outcome, UsageRow
from penstock.edge.layers.access import Services, UsageReader
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.shapes import After, KeyFilter, Limit, ListView, ModelFilter, OrgFilter, RequestId, Time, TimeFilter, View

router = APIRouter(prefix="/api/usage", tags=["Usage"])

_GROUP = "(org|key|model|tier|class|day)"
GroupBy = Annotated[
    str,
    Query(max_length=64, pattern=f"^({_GROUP}(,{_GROUP})*)?$", description="Of org, key, model, tier, class, day; empty: one row for all."),
]


class RowView(View):
    """Sums of a group. A field outside the grouping is empty."""

    org_id: str
    key_id: str
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
    cost_micros: Annotated[int, Field(description="1,000,000 = 1.00 of the price's currency.")]


class TotalsView(View):
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated_requests: int
    cost_micros: int


class Report(ListView):
    data: list[RowView]
    totals: TotalsView


class RecordView(View):
    request_id: str
    org_id: str
    key_id: str
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
    limit: Limit = 1000,
) -> Report:
    """Sums by group, the largest cost first; `totals` are of everything that the filters let through."""
    groups = tuple(dict.fromkeys(group_by.split(","))) if group_by else ()
    query = UsageQuery(org_filter(caller, org), key, model, since, until, groups, limit + 1)
    rows = await services.store.ledger.report(query)
    everything = await services.store.ledger.report(replace(query, group_by=(), limit=1))
    return Report(
        data=[RowView.model_validate(row) for row in rows[:limit]],
        totals=TotalsView.model_validate(everything[0] if everything else _NOTHING),
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
    limit: Limit = 100,
    after: After = None,
) -> RecordList:
    """Newest first."""
    query = UsageQuery(org_filter(caller, org), key, model, since, until, (), limit + 1)
    records = await services.store.ledger.records(query, after)
    return RecordList(data=[RecordView.model_validate(record) for record in records[:limit]], has_more=len(records) > limit)


@router.get("/records/{request_id}", responses=problems(404, 422), summary="Show one request")
async def show_record(request_id: RequestId, caller: UsageReader, services: Services) -> RecordView:
    record = owned(caller, await services.store.ledger.record(request_id), "request in the ledger")
    return RecordView.model_validate(record)


_NOTHING = UsageRow("", "", "", "", "", "", 0, 0, 0, 0, 0, 0, 0)
