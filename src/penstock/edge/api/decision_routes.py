"""Why requests went where they went."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from penstock.accounts.permissions import org_filter, owned
from penstock.domain.decisions import Explanation
from penstock.edge.layers.access import Caller, Services
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.shapes import ListView, OrgFilter, Time, View

router = APIRouter(prefix="/api/decisions", tags=["Decisions"])

DecisionId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z0-9._-]+(;[ -~]*)?$",
        description="A request's id, or all of its `x-penstock-decision`: what follows the first semicolon is not looked at.",
    ),
]
Last = Annotated[
    str | None,
    Query(max_length=4, pattern="^(true)?[0-9]*$", description="Only the newest so many of this gateway; without a number: one."),
]


class LimitStandingView(View):
    name: str
    limit: Annotated[int, Field(description="A minute.")]
    remaining: int
    reset_seconds: float


class CandidateView(View):
    """A worker among which was chosen, just before the choice."""

    worker_id: str
    in_flight: int
    limit: Annotated[int, Field(description="Requests that it got at the same time: its slots, or fewer.")]
    outstanding_tokens: int
    cached_tokens: Annotated[int, Field(description="Of this prompt, by our estimate.")]
    score: Annotated[float | None, Field(description="What the policy compared: fewer is better, but for prefix_affinity.")]
    chosen: bool
    usable: bool


class ShadowView(View):
    policy: str
    worker_id: str
    agreed: bool


class FailedTryView(View):
    worker_id: str
    reason: str
    at_seconds: float
    busy: bool


class StepView(View):
    at_seconds: Annotated[float, Field(description="Since the request came.")]
    what: str


class AdviceView(View):
    setting: str
    effect: str


class DecisionView(View):
    id: str
    org_id: str
    key_id: str
    plan: str
    service_class: str
    model: str
    asked_tier: str | None
    pools: Annotated[list[str], Field(description="Where it might be placed, in order of preference.")]
    pool: str
    tier: str
    policy: str
    worker_id: str
    outcome: Annotated[str, Field(description="answered, broke_off, client_left, refused or replayed.")]
    status: Annotated[int, Field(description="0: the client left before there was an answer.")]
    code: str
    message: str
    started_at: Time
    seconds: float
    queue_seconds: float
    waiting: Annotated[int, Field(description="Requests in the queue, itself included, when it began to wait; 0: it did not.")]
    ttft_seconds: float | None
    timeout_seconds: float | None
    prompt_tokens: int
    max_tokens: int
    completion_tokens: int
    limits: Annotated[list[LimitStandingView], Field(description="As in the headers of the answer.")]
    candidates: list[CandidateView]
    available: Annotated[int, Field(description="Candidates that there were; the first few are listed.")]
    shadow: ShadowView | None
    tries: Annotated[list[FailedTryView], Field(description="Those that failed.")]
    timeline: list[StepView]
    advice: Annotated[list[AdviceView], Field(description="What would have changed the outcome.")]


class DecisionList(ListView):
    data: list[DecisionView]


@router.get("", responses=problems(404, 422), summary="List decisions")
async def list_decisions(
    caller: Caller,
    services: Services,
    org: OrgFilter = None,
    last: Last = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> DecisionList:
    """The newest first: what this gateway remembers, and then the sample that the store keeps."""
    org_id = org_filter(caller, org)
    wanted = limit if last is None else min(1000, int(last.removeprefix("true") or 1) or 1)
    found = {each.id: each for each in services.decisions.latest(org_id, wanted + 1)}
    if len(found) <= wanted:
        for each in await services.store.decisions.latest(org_id, wanted + 1):
            found.setdefault(each.id, each)
    newest: list[Explanation] = sorted(found.values(), key=lambda each: each.started_at + each.seconds, reverse=True)
    return DecisionList(data=[DecisionView.model_validate(each) for each in newest[:wanted]], has_more=len(newest) > wanted)


@router.get("/{decision_id}", responses=problems(404, 422), summary="Explain a request")
async def show_decision(decision_id: DecisionId, caller: Caller, services: Services) -> DecisionView:
    """From this gateway's memory of its latest requests, or from the sample that the store keeps."""
    request_id = decision_id.partition(";")[0]
    found = services.decisions.find(request_id) or await services.store.decisions.get(request_id)
    found = owned(caller, found, "decision (any more): the latest are kept in memory, and a sample of them in the store")
    return DecisionView.model_validate(found)
