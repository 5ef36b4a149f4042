"""Kept answers: whose they are, what their task leaves in them, and what happens when two look at once. Store and tasks in memory."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.durable.responses import KEPT_SECONDS, LONGEST_CHAIN, ResponseStatus, StoredResponse, conversation_too_large
from penstock.domain.durable.tasks import NewTask, TaskError, TaskStatus
from penstock.domain.errors import BadRequest, Conflict, NotFound, TooLarge
from penstock.domain.principal import KeyActor, Plan, Principal, ServiceClass, ServiceTier
from penstock.durable.responses.service import LARGEST_TASK_BYTES, ResponseService
from penstock.wire.responses.references import item_ids

ORG, OTHER = "org_1", "org_2"
PLAN = Plan("free", ServiceClass.FREE, ServiceTier.DEFAULT, tuple(ServiceTier), 1, 1, 1)
CALLER = Principal(ORG, KeyActor("key_1"), PLAN, frozenset())
ITEMS: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


class Responses:
    def __init__(self) -> None:
        self.rows: dict[str, StoredResponse] = {}

    async def add(self, response: StoredResponse) -> None:
        self.rows[response.id] = response

    async def get(self, org_id: str, response_id: str) -> StoredResponse | None:
        found = self.rows.get(response_id)
        return found if found is not None and found.org_id == org_id else None

    async def chain(self, org_id: str, response_id: str, limit: int, max_bytes: int) -> list[StoredResponse]:
        links: list[StoredResponse] = []
        following: str | None = response_id
        while following is not None and (found := await self.get(org_id, following)) is not None and len(links) < limit:
            links.insert(0, found)
            following = found.previous_id
        if sum(len((link.document + link.items).encode()) for link in links) > max_bytes:
            raise conversation_too_large(max_bytes)
        return links

    async def finish(self, response: StoredResponse) -> bool:
        old = self.rows.get(response.id)
        if old is None or old.status.is_terminal:
            return False
        self.rows[response.id] = response
        return True

    async def remove(self, org_id: str, response_id: str) -> bool:
        return self.rows.pop(response_id, None) is not None

    async def forget_expired(self, now: float, limit: int) -> int:
        expired = [name for name, row in self.rows.items() if row.expires_at <= now][:limit]
        for name in expired:
            del self.rows[name]
        return len(expired)

    async def unfinished(self, limit: int) -> list[StoredResponse]:
        return [row for row in self.rows.values() if not row.status.is_terminal][:limit]


@dataclass(frozen=True)
class Task:
    status: TaskStatus
    payload: str | None = None
    result: str | None = None
    error: TaskError | None = None
    finished_at: float | None = None


@dataclass
class Detail:
    task: Task


@dataclass
class Tasks:
    """What the service asks of the queue; `taken`: so many new tasks are refused, because their ids exist."""

    new: list[NewTask] = field(default_factory=list)
    states: dict[str, Task] = field(default_factory=dict)
    cancelled: list[tuple[str, list[str]]] = field(default_factory=list)
    taken: int = 0

    async def enqueue(self, tasks: list[NewTask]) -> None:
        if self.taken:
            self.taken -= 1
            raise Conflict("taken")
        self.new += tasks
        self.states |= {task.id: Task(TaskStatus.READY, task.payload) for task in tasks}

    async def task(self, org_id: str, task_id: str) -> Detail | None:
        found = self.states.get(task_id)
        return None if found is None or org_id != ORG else Detail(found)

    async def cancel(self, org_id: str, ids: list[str]) -> None:
        self.cancelled.append((org_id, ids))


@dataclass
class Place:
    store: Responses
    tasks: Tasks
    clock: ManualClock
    service: ResponseService

    async def submitted(self, chat: bytes = b"{}") -> str:
        """The id of its task."""
        await self.service.submit(CALLER, document("resp_1", "queued"), ITEMS, chat)
        return self.tasks.new[-1].id

    async def ended(self, status: TaskStatus, **values: Any) -> dict[str, Any]:
        """The answer as it is shown once its task has that state."""
        task_id = await self.submitted()
        self.tasks.states[task_id] = replace(self.tasks.states[task_id], status=status, **values)
        return await self.service.response(ORG, "resp_1")


def document(response_id: str, status: str = "completed", previous: str | None = None, **fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": response_id,
        "object": "response",
        "status": status,
        "previous_response_id": previous,
        "output": [],
        "error": None,
    }
    return {**usual, "usage": None, "incomplete_details": None, "created_at": 1, **fields}


def place_of(max_bytes: int) -> Place:
    store, tasks, clock = Responses(), Tasks(), ManualClock()
    ports: tuple[Any, Any] = store, tasks  # as far as the service asks them
    return Place(store, tasks, clock, ResponseService(*ports, clock, max_bytes=max_bytes, new_id=lambda prefix: f"{prefix}_new"))


@pytest.fixture
def place() -> Place:
    return place_of(10 << 20)


async def test_kept_answer_is_stored_for_30_days_with_its_items_named(place: Place) -> None:
    await place.service.keep(CALLER, document("resp_1"), ITEMS)
    (row,) = place.store.rows.values()
    now = place.clock.time()
    assert (row.org_id, row.key_id, row.status, row.task_id, row.previous_id) == (ORG, "key_1", ResponseStatus.COMPLETED, None, None)
    assert (row.created_at, row.expires_at, KEPT_SECONDS) == (now, now + KEPT_SECONDS, 30 * 86_400)
    assert await place.service.response(ORG, "resp_1") == document("resp_1")
    assert [(item["id"], item["content"]) for item in await place.service.items(ORG, "resp_1")] == [
        ("msg_1i1", [{"type": "input_text", "text": "hello"}])
    ]


async def test_answer_of_another_organisation_is_not_found(place: Place) -> None:
    await place.service.keep(CALLER, document("resp_1"), ITEMS)
    service = place.service
    for call in (service.response(OTHER, "resp_1"), service.items(OTHER, "resp_1"), service.delete(OTHER, "resp_1")):
        with pytest.raises(NotFound) as raised:
            await call
        assert (raised.value.param, str(raised.value)) == ("response_id", "Response with id 'resp_1' not found.")
    with pytest.raises(BadRequest):
        await service.previous_items(OTHER, "resp_1")
    assert list(place.store.rows) == ["resp_1"]


async def test_conversation_is_the_items_and_outputs_of_every_answer_in_it(place: Place) -> None:
    one, two = ([{"role": "user", "content": [], "id": name}] for name in "ab")
    await place.service.keep(CALLER, document("resp_1", output=[{"n": 1}]), one)
    await place.service.keep(CALLER, document("resp_2", "incomplete", "resp_1", output=[{"n": 2}]), two)
    found = await place.service.previous_items(ORG, "resp_2")
    assert [item.get("id", item.get("n")) for item in found] == ["a", 1, "b", 2]
    assert await place.service.previous_items(ORG, None) == []


async def test_conversation_that_lost_an_answer_names_the_one_that_is_missing(place: Place) -> None:
    await place.service.keep(CALLER, document("resp_2", previous="resp_1"), ITEMS)
    said = []
    for asked in ("resp_2", "resp_9"):
        with pytest.raises(BadRequest) as raised:
            await place.service.previous_items(ORG, asked)
        said.append((raised.value.param, str(raised.value)))
    assert said == [("previous_response_id", f"Previous response with id '{name}' not found.") for name in ("resp_1", "resp_9")]


def said_and_answered(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Fields of a document, and items."""
    return {"output": [{"a": text}]}, [{"type": "message", "id": "i", "status": "completed", "role": "user", "content": [text]}]


@pytest.mark.parametrize("length", [10, 200_000], ids=["read at once", "read in a thread"])
async def test_conversation_may_have_so_many_bytes_and_no_more(length: int) -> None:
    texts = ["x" * length, "\N{EURO SIGN}" * length]
    exchanges = [said_and_answered(text) for text in texts]
    size = sum(len(msgspec.json.encode(items)) + len(msgspec.json.encode(fields["output"])) for fields, items in exchanges)
    for most, fits in ((size, True), (size - 1, False)):
        place = place_of(most)
        for number, (fields, items) in enumerate(exchanges, 1):
            previous = f"resp_{number - 1}" if number > 1 else None
            await place.service.keep(CALLER, document(f"resp_{number}", previous=previous, **fields), items)
        call = place.service.previous_items(ORG, "resp_2")
        if fits:
            found = [item.get("a") or item["content"][0] for item in await call]
            assert found == [texts[0], texts[0], texts[1], texts[1]]
            continue
        with pytest.raises(TooLarge) as raised:
            await call
        said = f"The responses that this one continues have more than {most} bytes."
        assert (raised.value.param, raised.value.retry, str(raised.value)) == ("previous_response_id", False, said)


async def test_instructions_and_tools_of_a_conversation_count_only_towards_four_times_its_bytes() -> None:
    place = place_of(1_000)
    await place.service.keep(CALLER, document("resp_1", instructions="x" * 3_000), [])
    assert await place.service.previous_items(ORG, "resp_1") == []
    await place.service.keep(CALLER, document("resp_2", instructions="x" * 4_000), [])
    with pytest.raises(TooLarge) as raised:
        await place.service.previous_items(ORG, "resp_2")
    assert raised.value.param == "previous_response_id"


async def test_conversation_of_too_many_answers_says_so(place: Place) -> None:
    for number in range(LONGEST_CHAIN + 1):
        previous = f"resp_{number - 1}" if number else None
        await place.service.keep(CALLER, document(f"resp_{number}", previous=previous), [])
    assert await place.service.previous_items(ORG, f"resp_{LONGEST_CHAIN - 1}") == []
    with pytest.raises(BadRequest) as raised:
        await place.service.previous_items(ORG, f"resp_{LONGEST_CHAIN}")
    assert (raised.value.param, str(raised.value)) == ("previous_response_id", "A response continues at most 1000 others.")


async def test_references_to_items_of_large_responses_are_refused_once_too_much_is_read() -> None:
    """An item of each is small; what has to be read to find it is not."""
    place = place_of(1_000)
    for number in (1, 2, 3):
        kept = document(f"resp_{number:026}", output=[{"id": reference_to(number)}], instructions="x" * 1_500)
        await place.service.keep(CALLER, kept, [])
    given = [{"type": "item_reference", "id": reference_to(number)} for number in (1, 2, 3)]
    assert await place.service.resolved(ORG, given[:2]) == [{"id": each["id"]} for each in given[:2]]
    with pytest.raises(TooLarge) as raised:
        await place.service.resolved(ORG, given)
    assert (raised.value.param, raised.value.retry) == ("input", False)


def reference_to(number: int) -> str:
    return item_ids(f"resp_{number:026}", "o")("msg")


async def test_answer_that_is_not_whole_cannot_be_continued(place: Place) -> None:
    await place.submitted()
    with pytest.raises(BadRequest) as raised:
        await place.service.previous_items(ORG, "resp_1")
    assert (raised.value.param, str(raised.value)) == ("previous_response_id", "The previous response 'resp_1' is queued.")


async def test_answer_in_the_background_is_a_task_of_its_owner_and_of_its_own_class(place: Place) -> None:
    task_id = await place.submitted(b'{"model":"m"}')
    (task,) = place.tasks.new
    assert (task.org_id, task.key_id, task.queue, task.kind, task.name) == (ORG, "key_1", "high", "inference", "resp_1")
    assert json.loads(task.payload or "") == {"url": "/v1/chat/completions", "class": "own", "body": {"model": "m"}}
    assert task.keep_seconds == 86_400.0
    assert place.store.rows["resp_1"].task_id == task_id


async def test_answer_in_the_background_may_have_a_mebibyte_and_no_more(place: Place) -> None:
    left = LARGEST_TASK_BYTES - len(b'{"url":"/v1/chat/completions","class":"own","body":}')
    await place.submitted(b"1" * left)
    with pytest.raises(TooLarge) as raised:
        await place.submitted(b"1" * (left + 1))
    assert (raised.value.retry, LARGEST_TASK_BYTES, len(place.tasks.new)) == (False, 1 << 20, 1)


async def test_task_id_that_another_process_drew_is_drawn_again_once(place: Place) -> None:
    place.tasks.taken, ids = 1, place.service._task_ids
    task_id = await place.submitted()
    assert place.store.rows["resp_1"].task_id == task_id
    assert place.service._task_ids is not ids
    place.tasks.taken = 2
    with pytest.raises(Conflict):
        await place.submitted()
    assert place.store.rows == {}, "what has no task must not be shown"


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        (TaskStatus.BLOCKED, "queued"),
        (TaskStatus.SCHEDULED, "queued"),
        (TaskStatus.READY, "queued"),
        (TaskStatus.RUNNING, "in_progress"),
    ],
)
async def test_answer_says_how_far_its_task_is(place: Place, task: TaskStatus, shown: str) -> None:
    assert (await place.ended(task))["status"] == shown
    assert place.store.rows["resp_1"].status is ResponseStatus.QUEUED


async def test_answer_takes_over_the_result_of_its_task(place: Place) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}
    result = json.dumps({"status_code": 200, "body": {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}})
    shown = await place.ended(TaskStatus.SUCCEEDED, result=result, finished_at=1_700_000_123.0)
    assert (shown["status"], shown["output"][0]["content"][0]["text"]) == ("completed", "well")
    assert place.store.rows["resp_1"].status is ResponseStatus.COMPLETED


async def test_answer_of_a_failed_task_has_its_error(place: Place) -> None:
    shown = await place.ended(TaskStatus.FAILED, error=TaskError("model_not_found", "No such model."))
    assert (shown["status"], shown["error"]["message"]) == ("failed", "No such model.")
    assert place.store.rows["resp_1"].status is ResponseStatus.FAILED


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.SUCCEEDED])
async def test_answer_of_a_task_that_left_nothing_has_failed(place: Place, status: TaskStatus) -> None:
    shown = await place.ended(status)
    error = {"code": shown["error"]["code"], "message": shown["error"]["message"]}
    assert (shown["status"], error) == ("failed", {"code": "server_error", "message": "The task ended without an answer."})


async def test_answer_of_a_cancelled_task_is_cancelled(place: Place) -> None:
    assert (await place.ended(TaskStatus.CANCELLED))["status"] == "cancelled"
    assert place.store.rows["resp_1"].status is ResponseStatus.CANCELLED


async def test_answer_whose_task_never_came_fails_after_a_minute(place: Place) -> None:
    await place.submitted()
    place.tasks.states.clear()
    place.clock.advance(59.5)
    assert (await place.service.response(ORG, "resp_1"))["status"] == "queued"
    place.clock.advance(0.5)
    shown = await place.service.response(ORG, "resp_1")
    assert (shown["status"], shown["error"]["message"]) == ("failed", "The request was lost before it began; try it again.")


async def test_response_completed_concurrently_is_returned_as_stored(place: Place) -> None:
    task_id = await place.submitted()
    place.tasks.states[task_id] = Task(TaskStatus.CANCELLED)
    stale = place.store.rows["resp_1"]
    place.store.rows["resp_1"] = replace(stale, status=ResponseStatus.COMPLETED)
    assert (await place.service._refreshed(stale)).status is ResponseStatus.COMPLETED
    place.store.rows.clear()
    assert (await place.service._refreshed(stale)).status is ResponseStatus.CANCELLED, "deleted meanwhile: what we found is told"


async def test_cancelled_answer_stops_its_task_and_stays_cancelled(place: Place) -> None:
    task_id = await place.submitted()
    for _ in range(2):
        assert (await place.service.cancel(ORG, "resp_1"))["status"] == "cancelled"
    assert place.tasks.cancelled == [(ORG, [task_id])] * 2
    assert place.store.rows["resp_1"].status is ResponseStatus.CANCELLED


async def test_answer_that_was_made_at_once_cannot_be_cancelled(place: Place) -> None:
    await place.service.keep(CALLER, document("resp_1"), ITEMS)
    with pytest.raises(BadRequest) as raised:
        await place.service.cancel(ORG, "resp_1")
    assert (raised.value.param, place.tasks.cancelled) == ("response_id", [])


async def test_deleted_answer_stops_a_task_that_still_runs(place: Place) -> None:
    task_id = await place.submitted()
    await place.service.delete(ORG, "resp_1")
    assert (place.store.rows, place.tasks.cancelled) == ({}, [(ORG, [task_id])])


async def test_deleted_answer_that_is_over_stops_nothing(place: Place) -> None:
    await place.ended(TaskStatus.FAILED)
    await place.service.delete(ORG, "resp_1")
    await place.service.keep(CALLER, document("resp_2"), ITEMS)
    await place.service.delete(ORG, "resp_2")
    assert (place.store.rows, place.tasks.cancelled) == ({}, [])


async def test_refresh_takes_over_ended_tasks_and_counts_them(place: Place) -> None:
    task_id = await place.submitted()
    assert await place.service.refresh_unfinished() == 0
    place.tasks.states[task_id] = Task(TaskStatus.CANCELLED)
    assert await place.service.refresh_unfinished() == 1
    assert place.store.rows["resp_1"].status is ResponseStatus.CANCELLED
    assert await place.service.refresh_unfinished() == 0


async def test_expired_answers_are_forgotten_and_counted(place: Place) -> None:
    await place.service.keep(CALLER, document("resp_1"), ITEMS)
    place.clock.advance(KEPT_SECONDS - 1.0)
    await place.service.keep(CALLER, document("resp_2"), ITEMS)
    assert await place.service.forget_expired() == 0
    place.clock.advance(1.0)
    assert await place.service.forget_expired() == 1
    assert list(place.store.rows) == ["resp_2"]


def _result(with_logprobs: bool) -> str:
    logprobs = {"content": [{"token": "well", "logprob": -0.5, "bytes": None, "top_logprobs": []}]} if with_logprobs else None
    choice = {"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    return json.dumps({"status_code": 200, "body": {"choices": [choice], "usage": usage}})


@pytest.mark.parametrize(("payload", "shown"), [('{"body":{"logprobs":true}}', [-0.5]), ('{"body":{"logprobs":false}}', []), (None, [])])
async def test_answer_has_logprobs_when_they_were_asked_for(place: Place, payload: str | None, shown: list[float]) -> None:
    answer = await place.ended(TaskStatus.SUCCEEDED, payload=payload, result=_result(with_logprobs=True))
    assert [each["logprob"] for each in answer["output"][0]["content"][0].get("logprobs", [])] == shown


async def test_completion_time_is_the_end_of_the_task_or_else_the_first_read(place: Place) -> None:
    ended = await place.ended(TaskStatus.SUCCEEDED, result=_result(with_logprobs=False), finished_at=1_700_000_123.0)
    assert ended["completed_at"] == 1_700_000_123
    place.store.rows.clear()
    unknown = await place.ended(TaskStatus.SUCCEEDED, result=_result(with_logprobs=False))
    assert unknown["completed_at"] == int(place.clock.time())


async def test_answer_of_a_cancelled_task_with_a_late_result_stays_cancelled(place: Place) -> None:
    assert (await place.ended(TaskStatus.CANCELLED, result=_result(with_logprobs=False)))["status"] == "cancelled"
