"""What a runner calls, signed with its own key: join, claim, news, beat, finish, progress, call, leave.

Bodies and answers are msgspec's (`wire/joining/runners.py`): thousands of tasks a second come and go in a few calls.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from penstock.domain.durable.leases import CANCELLATIONS, HEARTBEAT_SECONDS, LEASE_SECONDS, RunnerRecord
from penstock.domain.errors import InvalidJson, PermissionDenied, Unprocessable
from penstock.domain.task_keys import claims_of
from penstock.durable.tasks.grants import digest_of_call
from penstock.durable.tasks.received import received_completions, received_progress
from penstock.edge.joining.runner_schema import documented
from penstock.edge.joining.signed import check_signature, may_join, redeem, unknown_caller
from penstock.edge.layers import signatures
from penstock.edge.layers.access import Services
from penstock.edge.layers.documented_errors import body_problems
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import Id
from penstock.wire.joining import runners as wire

router = APIRouter(prefix="/api/runners", tags=["Runners"])
T = TypeVar("T")
_KNOWN_SECONDS = 2.0
_MOST_KNOWN = 10_000


@router.post("/join", summary="Join as a runner", **documented(wire.RunnerJoin, wire.RunnerJoined))
async def join_runner(request: Request, services: Services) -> Response:
    """A token introduces a public key; while its last process is remembered, the key may come back without one. Each process is new, and
    drained if the last one was."""
    body = await _body(request, wire.RunnerJoin)
    public_key = signatures.decode_public_key(body.public_key)
    if public_key is None:
        raise Unprocessable("public_key: not the base64 of 32 bytes.", param="public_key")
    await check_signature(request, services, public_key)
    store = services.tasks.store
    same = [each for each in await store.runners() if each.identity == public_key]
    known = same[0] if same else None
    token = await redeem(request, services, body.token, "runner") if body.token is not None or known is None else None
    introduced_by = token or known
    assert introduced_by is not None
    await may_join(services, introduced_by.org_id, is_new=known is None)
    now = store.now()
    runner = RunnerRecord(
        id=services.new_id("run"),
        name=body.name,
        org_id=introduced_by.org_id,
        queues=body.queues,
        slots=body.slots,
        kinds=body.kinds,
        functions=body.functions,
        version=body.version,
        identity=public_key,
        joined_at=now,
        last_beat_at=now,
        draining=any(each.draining for each in same),
        token_id=token.id if token is not None else known.token_id if known is not None else "",
    )
    await store.register(runner)
    return _answer(wire.RunnerJoined(runner.id, HEARTBEAT_SECONDS, LEASE_SECONDS))


@router.post("/{runner_id}/claim", summary="Take tasks", **documented(wire.RunnerClaim, wire.RunnerClaimed))
async def claim_tasks(runner_id: Id, request: Request, services: Services) -> Response:
    """Answered as soon as there is something, at the latest after `wait_seconds`."""
    runner = await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerClaim)
    claiming = services.tasks.lease_issuer.claim_or_wait(runner, body.limit, body.queues, body.kinds, body.wait_seconds)
    leases = await _while_there(request, claiming)
    now, issue = services.clock.time(), services.tasks.grants.issue
    grants = {each.task_id: issue(each, runner_id, now) for each in leases if each.kind == "inference"}
    own = services.tasks.task_keys.issue
    task_keys = {each.task_id: own(claims_of(each, runner_id)) for each in leases if each.kind == "function"}
    return _answer(wire.RunnerClaimed(leases, grants, task_keys))


@router.post("/{runner_id}/news", summary="Wait for cancellations", **documented(wire.RunnerNewsRequest, wire.RunnerNewsResponse))
async def wait_for_news(runner_id: Id, request: Request, services: Services) -> Response:
    """True when the runner should send a heartbeat at once: a task was cancelled."""
    await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerNewsRequest)
    waiting = services.tasks.lease_issuer.wait(body.ticket, (CANCELLATIONS,), body.wait_seconds)
    return _answer(wire.RunnerNewsResponse(await _while_there(request, waiting)))


@router.post("/{runner_id}/beat", summary="Send a heartbeat", **documented(wire.RunnerHeartbeatRequest, wire.RunnerHeartbeatResponse))
async def beat_runner(runner_id: Id, request: Request, services: Services) -> Response:
    """With the leases that it holds; the answer names those to stop. 404 tells the runner to join again."""
    await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerHeartbeatRequest)
    ticket = services.tasks.store.ticket()
    return _answer(wire.RunnerHeartbeatResponse(await services.tasks.store.heartbeat(runner_id, body.held, body.waiting), ticket))


@router.post(
    "/{runner_id}/finish",
    summary="Report completions",
    **documented(wire.RunnerFinishRequest, wire.RunnerFinishResponse),
)
async def finish_tasks(runner_id: Id, request: Request, services: Services) -> Response:
    """All in one transaction; null: another runner holds the lease by now."""
    await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerFinishRequest)
    store = services.tasks.store
    return _answer(wire.RunnerFinishResponse(await store.finish(runner_id, received_completions(body.finishes, store.now()))))


@router.post(
    "/{runner_id}/progress",
    summary="Report the progress of tasks",
    **documented(wire.RunnerProgressRequest, wire.RunnerNewsResponse),
)
async def report_progress(runner_id: Id, request: Request, services: Services) -> Response:
    await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerProgressRequest)
    await services.tasks.store.progress(runner_id, received_progress(body.reports))
    return _answer(wire.RunnerNewsResponse(news=False))


@router.post(
    "/{runner_id}/call",
    summary="Make an inference task's call",
    **documented(wire.RunnerCallRequest, wire.RunnerCallResponse),
)
async def call_for_task(runner_id: Id, request: Request, services: Services) -> Response:
    """On behalf of the task's submitter: once for each lease, and only what the task asks for. The answer's own status is inside; hanging
    up stops the generation."""
    await _signer(request, services, runner_id)
    body = await _body(request, wire.RunnerCallRequest)
    sent = body.body.encode()
    grants = services.tasks.grants
    call = digest_of_call(body.url, sent, own_class=body.own_class)
    grant = grants.check(body.grant, runner_id, call, services.clock.time())
    if not await services.tasks.store.holds(runner_id, grant.task_id, grant.lease_seq):
        raise PermissionDenied("This runner does not hold the task's lease any more.", param="grant")
    grants.spend(grant)
    asking = services.tasks.submitter_calls.call(grant.org_id, grant.submitter_id, body.url, sent, own_class=body.own_class)
    answer = await _while_there(request, asking)
    text = answer.body.decode("utf-8", "replace")
    return _answer(wire.RunnerCallResponse(answer.status, answer.request_id, text, answer.retry_after_seconds, answer.worth_retrying))


@router.post("/{runner_id}/leave", summary="Leave", responses=body_problems(404))
async def leave_runner(runner_id: Id, request: Request, services: Services) -> Response:
    """What it still held is given back at once."""
    await _signer(request, services, runner_id)
    await services.tasks.store.forget_runner(runner_id)
    return _answer(wire.RunnerNewsResponse(news=False))


LARGE_BODIES = frozenset({finish_tasks, report_progress, call_for_task})
"""These bring results, or the body of an inference; the other calls are small."""


async def _while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work, cancelled when the runner hangs up: one that was killed must be given nothing. Raises ClientDisconnect."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()
        working.cancel()


async def _gone(request: Request) -> None:
    """The body has been read: what comes next is the end of the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, kind: type[T]) -> T:
    """Raises InvalidJson, Unprocessable with the place of the mistake."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at ")
        raise Unprocessable(f"{sentence}.", param=place.strip("`").removeprefix("$").removeprefix(".") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("The request body is not valid JSON.") from None


def _answer(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _signer(request: Request, services: ControlServices, runner_id: str) -> RunnerRecord:
    """The runner of that id, which signed this request."""
    record = await _known(services, runner_id)
    if record is None or not record.identity:
        raise unknown_caller(request, services, "runner")
    await check_signature(request, services, record.identity)
    return record


async def _known(services: ControlServices, runner_id: str) -> RunnerRecord | None:
    """Remembered for two seconds: a busy runner calls dozens of times a second."""
    now, known = services.clock.monotonic(), services.known_runners
    found = known.get(runner_id)
    if found is not None and found[0] > now:
        return found[1]
    record = await services.tasks.store.runner(runner_id)
    if len(known) >= _MOST_KNOWN:
        known.clear()
    if record is not None:
        known[runner_id] = (now + _KNOWN_SECONDS, record)
    return record
