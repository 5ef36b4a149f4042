"""`/v1/responses`: OpenAI's Responses API, translated into chat completions for the workers of the model."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from penstock.domain.errors import BadRequest, PenstockError, PortUnavailable, StoreUnavailable, TooLarge, UnsupportedParameter
from penstock.domain.principal import Principal
from penstock.edge.layers.access import InferenceCaller, Services
from penstock.edge.layers.documented_errors import openai_errors
from penstock.edge.layers.problems import answer
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import After, Order, StoredId, View
from penstock.edge.openai import response_schema
from penstock.edge.openai.inference_reply import ReplyHead, WaitingReply, call_of
from penstock.wire.responses import body as response_body
from penstock.wire.responses import items as response_items
from penstock.wire.responses.body import LOGPROBS, ResponseBody
from penstock.wire.responses.items import Json
from penstock.wire.responses.references import item_ids
from penstock.wire.responses.writer import ResponseWriter, answered, framed

router = APIRouter(prefix="/v1/responses", tags=["Responses"])
log = structlog.stdlib.get_logger("penstock.responses")

_MADE_AT_ONCE_ITEMS = 1_000
"""A conversation of more items is translated beside the event loop."""
_EVENTS = "text/event-stream; charset=utf-8"
_ANSWERED: dict[int | str, dict[str, Any]] = {200: response_schema.ANSWER}
_SHOWN: dict[int | str, dict[str, Any]] = {200: response_schema.SHOWN}
ItemLimit = Annotated[int, Query(ge=1, le=100)]


class DeletedResponse(View):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ItemList(View):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class _Asked:
    """One request for an answer, read and checked."""

    def __init__(self, body: ResponseBody, services: ControlServices, caller: Principal) -> None:
        self.body = body
        self.services = services
        self.caller = caller
        self.items: list[Json] = []
        self.document = response_body.skeleton(body, services.responses.new_id("resp"), services.clock.time())
        self.with_logprobs = body.top_logprobs is not None or LOGPROBS in (body.include or ())

    async def keep(self, document: Json) -> PenstockError | None:
        """Before the client hears that it is whole. What could not be kept says so itself, unless that was the point of it."""
        if not self.body.is_kept:
            return None
        try:
            await self.services.responses.keep(self.caller, document, self.items)
        except PortUnavailable as error:
            log.warning("response_not_stored", response=document["id"], reason=str(error))
            if self.body.store:
                return StoreUnavailable("The answer cannot be stored at the moment.", retry_after_seconds=2.0)
            document["store"] = False
        return None


@router.post(
    "",
    responses=openai_errors(400, 404, 413, 502, 504) | _ANSWERED,
    response_class=Response,
    openapi_extra=response_schema.BODY,
    summary="Ask for an answer",
)
async def create_response(request: Request, caller: InferenceCaller, services: Services) -> Response:
    """With `stream` as events, with `background` by a task whose answer is asked for by its id."""
    asked = _Asked(response_body.decode(await request.body(), services.max_json_depth), services, caller)
    asked.items = response_items.input_items(await services.responses.resolved(caller.org_id, asked.body.input))
    before = await services.responses.previous_items(caller.org_id, asked.body.previous_response_id)
    chat = await _chat(asked, before)
    if asked.body.background:
        await services.responses.submit(caller, asked.document, asked.items, chat)
        return _json(asked.document)
    reply = WaitingReply()
    if services.entrance is not None:
        services.entrance.leave(caller)
    reply.run(services.inference, caller, call_of(request, services, chat))
    head = await reply.head(request)
    if head is None:
        return Response(status_code=499)  # the client has left
    if head.error is not None:
        return answer(head.error, request.url.path, request.state.request_id, head.headers)
    if head.body is None:
        return StreamingResponse(_events(asked, reply), 200, head.headers, _EVENTS)
    return await _whole(asked, head, head.body, request)


async def _chat(asked: _Asked, before: list[Json]) -> bytes:
    """With all that it continues, no larger than a chat completion may be. Raises BadRequest, UnsupportedParameter, TooLarge."""
    if not before:
        return response_body.chat_body(asked.body, asked.items)
    many = len(before) > _MADE_AT_ONCE_ITEMS
    make = partial(response_body.chat_body, asked.body, asked.items, before)
    chat = await asyncio.to_thread(make) if many else make()
    most = asked.services.max_body_bytes
    if len(chat) > most:
        too_large = f"With the responses that it continues, this request has more than {most} bytes."
        raise TooLarge(too_large, param="previous_response_id", retry=False)
    return chat


async def _whole(asked: _Asked, head: ReplyHead, body: bytes, request: Request) -> Response:
    services = asked.services
    ids = item_ids(asked.document["id"], "o")
    made = answered(asked.document, body, ids, services.clock.time(), with_logprobs=asked.with_logprobs)
    error = await asked.keep(made)
    if error is not None:
        return answer(error, request.url.path, request.state.request_id, head.headers)
    return _json(made, head.headers)


async def _events(asked: _Asked, reply: WaitingReply) -> AsyncGenerator[bytes, None]:
    clock = asked.services.clock
    writer = ResponseWriter(asked.document, item_ids(asked.document["id"], "o"), with_logprobs=asked.with_logprobs)
    pieces = reply.pieces()
    try:
        yield framed(writer.begin())
        async for piece in pieces:
            before_the_end = writer.feed(piece)
            if before_the_end:
                yield before_the_end
            if writer.is_over:
                break
            if writer.is_whole:
                yield await _last(asked, writer, clock.time())
                break
        if not writer.is_over:
            yield framed(writer.give_up("the stream ended before the answer did"))
        if writer.problem:
            log.warning("response_not_readable", response=asked.document["id"], reason=writer.problem)
    finally:
        await pieces.aclose()


async def _last(asked: _Asked, writer: ResponseWriter, now: float) -> bytes:
    """Keeps the answer, and makes its terminal event."""
    try:
        error = await asked.keep(writer.ended(now))
        return framed(writer.finish(now) if error is None else writer.fail(error.code, error.message))
    except Exception as problem:
        log.exception("response_not_kept", response=asked.document["id"])
        return framed(writer.give_up(f"{type(problem).__name__}: {problem}"))


@router.get("/{response_id}", responses=openai_errors(400, 404) | _SHOWN, response_class=Response, summary="Show an answer")
async def show_response(
    response_id: StoredId, caller: InferenceCaller, services: Services, stream: Annotated[bool, Query(include_in_schema=False)] = False
) -> Response:
    """As it is now: an answer in the background says how far it is."""
    if stream:
        raise UnsupportedParameter("An answer cannot be streamed again here; ask for it without 'stream'.", param="stream")
    return _json(await services.responses.response(caller.org_id, response_id))


@router.delete("/{response_id}", responses=openai_errors(400, 404), summary="Delete an answer")
async def delete_response(response_id: StoredId, caller: InferenceCaller, services: Services) -> DeletedResponse:
    """One that is still being made is stopped. Answers that continue it cannot be continued any more."""
    await services.responses.delete(caller.org_id, response_id)
    return DeletedResponse(id=response_id)


@router.post("/{response_id}/cancel", responses=openai_errors(400, 404) | _SHOWN, response_class=Response, summary="Stop an answer")
async def cancel_response(response_id: StoredId, caller: InferenceCaller, services: Services) -> Response:
    """Only those in the background; again, or after its end, changes nothing."""
    return _json(await services.responses.cancel(caller.org_id, response_id))


@router.get("/{response_id}/input_items", responses=openai_errors(400, 404), summary="List what an answer was asked with")
async def list_input_items(
    response_id: StoredId, caller: InferenceCaller, services: Services, after: After = None, limit: ItemLimit = 20, order: Order = "desc"
) -> ItemList:
    """Of this answer alone, not of those that it continues."""
    items = await services.responses.items(caller.org_id, response_id)
    if order == "desc":
        items.reverse()
    if after is not None:
        place = next((at for at, item in enumerate(items) if item["id"] == after), None)
        if place is None:
            raise BadRequest("There is no such item in this answer.", param="after")
        items = items[place + 1 :]
    shown = items[:limit]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return ItemList(data=shown, first_id=first, last_id=last, has_more=len(items) > limit)


def _json(document: Json, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), 200, headers, "application/json")
