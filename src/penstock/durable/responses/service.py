"""The rules of kept answers. Those in the background are tasks; an answer takes over the result of its task when it is read.

So no event can be lost between the two: the task is what is durable, and looking twice changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from penstock.domain.clock import Clock
from penstock.domain.durable.responses import KEPT_SECONDS, LONGEST_CHAIN, ResponseStatus, StoredResponse
from penstock.domain.durable.tasks import NewTask, Task, TaskError, TaskStatus
from penstock.domain.errors import BadRequest, Conflict, NotFound, TooLarge
from penstock.domain.ids import TaskIds, new_id
from penstock.domain.ports import ResponseStore, TaskStore
from penstock.domain.principal import Principal, stored_id
from penstock.durable.responses import conversation
from penstock.wire.responses import items as response_items
from penstock.wire.responses import writer as response_writer
from penstock.wire.responses.items import Json
from penstock.wire.responses.references import item_ids, reference, response_of

QUEUE = "high"
CHAT = "/v1/chat/completions"
LARGEST_TASK_BYTES = 1 << 20
_MOST_REFERENCED = 128
"""Responses to whose items one request may refer."""
_STORED_PER_ITEM_BYTES = 4
"""Bytes that may be read for a byte of items: a stored response repeats its instructions and tools."""
_TASK_KEPT_SECONDS = 24 * 3600.0
_ORPHANED_SECONDS = 60.0
"""An answer whose task has not come into being by then never gets one: its gateway died between the two."""
_AT_ONCE = 200
_WAITING_STATUSES = frozenset({TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.READY})


class _Answer(msgspec.Struct):
    """What a task of the kind `inference` leaves."""

    status_code: int
    body: msgspec.Raw


class ResponseService:
    """Every method may raise PortUnavailable. Answers of another organisation are answers that there are not."""

    def __init__(
        self,
        store: ResponseStore,
        tasks: TaskStore,
        clock: Clock,
        *,
        max_bytes: int = 10 << 20,
        new_id: Callable[[str], str] = new_id,
    ) -> None:
        """`max_bytes`: the most items, as JSON, that a request adds from stored responses."""
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._max_bytes = max_bytes
        self._most_read_bytes = max_bytes * _STORED_PER_ITEM_BYTES
        self._task_ids = TaskIds()
        self.new_id = new_id

    async def previous_items(self, org_id: str, previous_id: str | None) -> list[Json]:
        """The items of the answers that a new one continues.

        Raises BadRequest when one of them is gone, expired or not whole, or when they are too many; TooLarge.
        """
        if previous_id is None:
            return []
        chain = await self._store.chain(org_id, previous_id, LONGEST_CHAIN, self._most_read_bytes)
        if not chain:
            raise _no_previous(previous_id)
        if chain[0].previous_id is not None:
            if len(chain) == LONGEST_CHAIN:
                raise BadRequest(f"A response continues at most {LONGEST_CHAIN} others.", param="previous_response_id")
            raise _no_previous(chain[0].previous_id)
        now = self._clock.time()
        if expired := next((link for link in reversed(chain) if link.expires_at <= now), None):
            raise _no_previous(expired.id)
        links: list[StoredResponse] = []
        for link in chain:
            refreshed = await self._refreshed(link)
            if refreshed.status not in (ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE):
                raise BadRequest(f"The previous response '{link.id}' is {refreshed.status}.", param="previous_response_id")
            links.append(refreshed)
        return await conversation.items_of(links, self._max_bytes)

    async def resolved(self, org_id: str, given: Any) -> Any:
        """A request's `input` with the items to which it only refers. Raises BadRequest for one that there is not, TooLarge."""
        if not isinstance(given, list) or not any(reference(item) for item in given):
            return given
        known: dict[str, dict[str, Json]] = {}
        items: list[Any] = []
        total = read = 0
        for at, item in enumerate(given):
            item_id = reference(item)
            if item_id is None:
                items.append(item)
                continue
            response_id = response_of(item_id) or ""
            if response_id not in known:
                if len(known) >= _MOST_REFERENCED:
                    raise BadRequest(f"'input' refers to items of more than {_MOST_REFERENCED} responses.", param=f"input[{at}].id")
                known[response_id], size = await self._items_of(org_id, response_id)
                read += size
            found = known[response_id].get(item_id)
            if found is None:
                raise BadRequest(f"Item with id '{item_id[:64]}' not found. Items are kept with 'store'.", param=f"input[{at}].id")
            total += len(msgspec.json.encode(found))
            if total > self._max_bytes or read > self._most_read_bytes:
                too_large = f"The items that 'input' refers to, or the responses that they are of, have more than {self._max_bytes} bytes."
                raise TooLarge(too_large, param="input", retry=False)
            items.append(found)
        return items

    async def _items_of(self, org_id: str, response_id: str) -> tuple[dict[str, Json], int]:
        """The items of a response by id, its own and those that it was asked with, and its size; none when there is no such response."""
        found = await self._store.get(org_id, response_id) if response_id else None
        if found is None or found.expires_at <= self._clock.time():
            return {}, 0
        refreshed = await self._refreshed(found)
        items = await conversation.items_of([refreshed], self._most_read_bytes)
        return {item["id"]: item for item in items}, conversation.stored_size(refreshed)

    async def keep(self, caller: Principal, document: Json, items: Sequence[Json]) -> None:
        """An answer that has been made at once."""
        await self._store.add(self._stored(caller, document, items))

    async def submit(self, caller: Principal, document: Json, items: Sequence[Json], chat_body: bytes) -> None:
        """An answer for a task to make, at its owner's own class. Acknowledged means durable. Raises TooLarge."""
        payload = b'{"url":"%b","class":"own","body":%b}' % (CHAT.encode("ascii"), chat_body)
        if len(payload) > LARGEST_TASK_BYTES:
            raise TooLarge(
                f"An answer in the background takes at most {LARGEST_TASK_BYTES} bytes, all that it continues included.", retry=False
            )
        for last_try in (False, True):
            task = self._task(caller, document["id"], payload)
            await self._store.add(replace(self._stored(caller, document, items), task_id=task.id))
            try:
                await self._tasks.enqueue([task])
                return
            except Conflict:
                await self._store.remove(caller.org_id, document["id"])
                if last_try:
                    raise
                self._task_ids = TaskIds()  # another process drew the same bits

    async def response(self, org_id: str, response_id: str) -> Json:
        """The Response object as it is now. Raises NotFound."""
        refreshed = await self._refreshed(await self._find(org_id, response_id))
        shown: Json = msgspec.json.decode(refreshed.document)
        if not refreshed.status.is_terminal:
            shown["status"] = refreshed.status.value
        return shown

    async def items(self, org_id: str, response_id: str) -> list[Json]:
        """Its input items, the oldest first. Raises NotFound."""
        found: list[Json] = msgspec.json.decode((await self._find(org_id, response_id)).items)
        return found

    async def delete(self, org_id: str, response_id: str) -> None:
        """Stops it, too, when it is still being made. Raises NotFound."""
        found = await self._find(org_id, response_id)
        if found.task_id is not None and not found.status.is_terminal:
            await self._tasks.cancel(org_id, [found.task_id])
        await self._store.remove(org_id, response_id)

    async def cancel(self, org_id: str, response_id: str) -> Json:
        """Again, or after its end, is not an error: the answer says what is. Raises NotFound, BadRequest when no task makes it."""
        found = await self._find(org_id, response_id)
        if found.task_id is None:
            raise BadRequest("Only an answer that was asked for with 'background' can be cancelled.", param="response_id")
        await self._tasks.cancel(org_id, [found.task_id])
        refreshed = await self._refreshed(found)
        if not refreshed.status.is_terminal:
            await self._store.finish(self._cancelled(refreshed))
        return await self.response(org_id, response_id)

    # beside the traffic

    async def refresh_unfinished(self) -> int:
        """Let answers take over the results of their tasks, also those that are not read; how many did."""
        waiting = await self._store.unfinished(_AT_ONCE)
        return sum([(await self._refreshed(one)).status.is_terminal for one in waiting])

    async def forget_expired(self) -> int:
        return await self._store.forget_expired(self._clock.time(), _AT_ONCE)

    # how it is done

    async def _find(self, org_id: str, response_id: str) -> StoredResponse:
        found = await self._store.get(org_id, response_id)
        if found is None or found.expires_at <= self._clock.time():
            raise NotFound(f"Response with id '{response_id}' not found.", param="response_id")
        return found

    async def _refreshed(self, found: StoredResponse) -> StoredResponse:
        """As it is after a look at its task."""
        if found.status.is_terminal or found.task_id is None:
            return found
        detail = await self._tasks.task(found.org_id, found.task_id)
        if detail is None:
            if self._clock.time() - found.created_at < _ORPHANED_SECONDS:
                return found
            finished = self._failed(found, "internal_error", "The request was lost before it began; try it again.")
        elif not detail.task.status.is_terminal:
            return replace(found, status=ResponseStatus.QUEUED if detail.task.status in _WAITING_STATUSES else ResponseStatus.IN_PROGRESS)
        else:
            finished = self._finished(found, detail.task)
        if await self._store.finish(finished):
            return finished
        # Another gateway was first, or it was deleted: what is stored counts.
        return await self._store.get(found.org_id, found.id) or finished

    def _finished(self, found: StoredResponse, task: Task) -> StoredResponse:
        if task.status is TaskStatus.SUCCEEDED and task.result is not None:
            answer = msgspec.json.decode(task.result, type=_Answer)
            with_logprobs = '"logprobs":true' in (task.payload or "")
            document: Json = msgspec.json.decode(found.document)
            now = task.finished_at or self._clock.time()
            ids = item_ids(found.id, "o")
            document = response_writer.answered(document, bytes(answer.body), ids, now, with_logprobs=with_logprobs)
            return replace(found, status=ResponseStatus(document["status"]), document=_text(document))
        if task.status is TaskStatus.CANCELLED:
            return self._cancelled(found)
        error = task.error or TaskError("internal_error", "The task ended without an answer.")
        return self._failed(found, error.code, error.message)

    def _failed(self, found: StoredResponse, code: str, message: str) -> StoredResponse:
        document = response_writer.failed(msgspec.json.decode(found.document), code, message, item_ids(found.id, "o"))
        return replace(found, status=ResponseStatus.FAILED, document=_text(document))

    def _cancelled(self, found: StoredResponse) -> StoredResponse:
        document = msgspec.json.decode(found.document) | {"status": ResponseStatus.CANCELLED.value}
        return replace(found, status=ResponseStatus.CANCELLED, document=_text(document))

    def _stored(self, caller: Principal, document: Json, items: Sequence[Json]) -> StoredResponse:
        now = self._clock.time()
        return StoredResponse(
            id=document["id"],
            org_id=caller.org_id,
            key_id=stored_id(caller.actor),
            status=ResponseStatus(document["status"]),
            created_at=now,
            expires_at=now + KEPT_SECONDS,
            document=_text(document),
            items=_text(response_items.named_items(items, item_ids(document["id"], "i"))),
            previous_id=document["previous_response_id"],
        )

    def _task(self, caller: Principal, response_id: str, payload: bytes) -> NewTask:
        return NewTask(
            id=self._task_ids.next(self._clock.time()),
            org_id=caller.org_id,
            key_id=stored_id(caller.actor),
            queue=QUEUE,
            kind="inference",
            name=response_id,
            payload=payload.decode(),
            keep_seconds=_TASK_KEPT_SECONDS,
        )


def _no_previous(response_id: str) -> BadRequest:
    return BadRequest(f"Previous response with id '{response_id}' not found.", param="previous_response_id")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
