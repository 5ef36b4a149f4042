"""`/v1/batches`: OpenAI's batches."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from penstock.domain.durable.batches import WINDOW, Batch, BatchStatus, BatchUsage, LineFault
from penstock.domain.durable.files import MONTH_SECONDS
from penstock.durable.batches.service import ENDPOINTS
from penstock.edge.layers.access import InferenceCaller, Services
from penstock.edge.layers.documented_errors import openai_errors
from penstock.edge.layers.shapes import WHOLE, After, Body, StoredId, View

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

Endpoint = Annotated[str, Field(json_schema_extra={"enum": list(ENDPOINTS)}, pattern=f"^({'|'.join(ENDPOINTS)})$")]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
BatchLimit = Annotated[int, Query(ge=1, le=100)]
Moment = Annotated[int | None, Field(description="Unix seconds.")]


class OutputExpiry(Body):
    """How long the files of answers and errors stay; 30 days when nothing is said."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=MONTH_SECONDS), WHOLE]


class NewBatch(Body):
    input_file_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
    endpoint: Annotated[Endpoint, Field(description="The url of every line.")]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[MetadataKey, MetadataValue] | None, Field(max_length=16)] = None
    output_expires_after: OutputExpiry | None = None


class FaultView(View):
    code: str
    message: str
    line: int | None
    param: str | None


class FaultList(View):
    object: Literal["list"] = "list"
    data: list[FaultView]


class CountsView(View):
    total: int
    completed: int
    failed: int


class BatchObject(View):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: FaultList | None
    input_file_id: str
    completion_window: Literal["24h"] = WINDOW
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: Moment
    expires_at: Moment
    finalizing_at: Moment
    completed_at: Moment
    failed_at: Moment
    expired_at: Moment
    cancelling_at: Moment
    cancelled_at: Moment
    request_counts: CountsView
    usage: dict[str, Any] | None
    cost_micros: Annotated[dict[str, int] | None, Field(description="Penstock's own: by currency, in millionths of it.")]
    metadata: dict[str, str] | None


class BatchList(View):
    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.post("", responses=openai_errors(400, 404, 413), summary="Start a batch")
async def create_batch(body: NewBatch, caller: InferenceCaller, services: Services) -> BatchObject:
    """The requests of an uploaded file, run within a day at the price of batches, whenever people leave room for them."""
    expires = None if body.output_expires_after is None else float(body.output_expires_after.seconds)
    batch = await services.batches.create(caller, body.input_file_id, body.endpoint, body.metadata or {}, expires)
    return _shown(batch)


@router.get("", responses=openai_errors(400), summary="List batches")
async def list_batches(caller: InferenceCaller, services: Services, after: After = None, limit: BatchLimit = 20) -> BatchList:
    """Newest first."""
    found = await services.batches.batches(caller.org_id, limit + 1, after)
    data = [_shown(batch) for batch in found[:limit]]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return BatchList(data=data, first_id=first, last_id=last, has_more=len(found) > limit)


@router.get("/{batch_id}", responses=openai_errors(400, 404), summary="Show a batch")
async def show_batch(batch_id: StoredId, caller: InferenceCaller, services: Services) -> BatchObject:
    return _shown(await services.batches.batch(caller.org_id, batch_id))


@router.post("/{batch_id}/cancel", responses=openai_errors(400, 404, 409), summary="Cancel a batch")
async def cancel_batch(batch_id: StoredId, caller: InferenceCaller, services: Services) -> BatchObject:
    """What is done by then is in its files."""
    return _shown(await services.batches.cancel(caller.org_id, batch_id))


def _shown(batch: Batch) -> BatchObject:
    over = batch.status.is_terminal  # before that the files are only names
    return BatchObject(
        id=batch.id,
        endpoint=batch.endpoint,
        model=batch.model,
        errors=FaultList(data=[_fault(fault) for fault in batch.faults]) if batch.faults else None,
        input_file_id=batch.input_file_id,
        status=batch.status,
        output_file_id=batch.output_file_id if over else None,
        error_file_id=batch.error_file_id if over else None,
        created_at=int(batch.created_at),
        in_progress_at=_second(batch.in_progress_at),
        expires_at=_second(batch.expires_at),
        finalizing_at=_second(batch.finalizing_at),
        completed_at=_second(batch.completed_at),
        failed_at=_second(batch.failed_at),
        expired_at=_second(batch.expired_at),
        cancelling_at=_second(batch.cancelling_at),
        cancelled_at=_second(batch.cancelled_at),
        request_counts=CountsView(total=batch.total, completed=batch.completed, failed=batch.failed),
        usage=None if batch.usage is None else _usage(batch.usage),
        cost_micros=None if batch.usage is None else batch.usage.cost_micros,
        metadata=batch.metadata or None,
    )


def _fault(fault: LineFault) -> FaultView:
    return FaultView(code=fault.code, message=fault.message, line=fault.line, param=fault.param)


def _usage(usage: BatchUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _second(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
