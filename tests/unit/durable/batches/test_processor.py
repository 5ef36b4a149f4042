"""A batch through its life, one step at a time: killed between any two of them, cancelled, expired, shared by two gateways."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage
from penstock.domain.durable.files import MONTH_SECONDS, FileRecord, Purpose
from penstock.domain.durable.leases import Lease, LeaseCompletion
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.errors import BadRequest, Conflict, NotFound, PortUnavailable
from tests.support.batch_harness import CALLER, CHAT, BatchHarness, batch_harness, broken, line, refused, succeeded, well

NAMES = [f"line-{number}" for number in range(7)]


@pytest.fixture
async def shop() -> AsyncIterator[BatchHarness]:
    async with batch_harness() as made:
        yield made


async def files_of(shop: BatchHarness, batch: Batch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return await shop.read(batch.output_file_id), await shop.read(batch.error_file_id)


def named(lines: list[dict[str, Any]]) -> list[str]:
    return [each["custom_id"] for each in lines]


async def test_batch_runs_from_input_file_to_result_files(shop: BatchHarness) -> None:
    new = await shop.started(*map(line, NAMES), metadata={"why": "because"}, output_expires_seconds=7200.0)
    assert (new.status, new.total) == (BatchStatus.VALIDATING, 0)
    await shop.step()
    begun = await shop.now(new)
    assert (begun.status, begun.total, begun.completed, begun.model) == (BatchStatus.IN_PROGRESS, 7, 0, "m")
    ends: dict[str, Callable[[Lease], LeaseCompletion]] = {"line-2": refused, "line-5": broken}
    await shop.answer_all(lambda lease: ends.get(lease.name, well)(lease), 4)
    await shop.step()
    seen = await shop.now(new)
    assert (seen.completed, seen.failed) == (3, 1)
    await shop.answer_all(lambda lease: ends.get(lease.name, well)(lease))
    over = await shop.moved_to(new, BatchStatus.COMPLETED)
    assert (over.total, over.completed, over.failed) == (7, 5, 2)
    assert over.usage == BatchUsage(input_tokens=15, output_tokens=10, cost_micros={"USD": 25})
    assert over.completed_at is not None
    answers, errors = await files_of(shop, over)
    assert sorted(named(answers) + named(errors)) == NAMES
    assert answers[0] == {
        "id": answers[0]["id"],
        "custom_id": "line-0",
        "response": {
            "status_code": 200,
            "request_id": "req_line-0",
            "body": {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        },
        "error": None,
    }
    by_name = {each["custom_id"]: each for each in errors}
    assert by_name["line-2"]["response"] == {"status_code": 400, "request_id": "req_line-2", "body": {"error": {"message": "No."}}}
    assert (by_name["line-5"]["response"], by_name["line-5"]["error"]) == (None, {"code": "unreachable", "message": "No gateway."})
    record = await shop.files.file(CALLER.org_id, str(over.output_file_id))
    assert (record.purpose, record.filename) == (Purpose.BATCH_OUTPUT, f"{over.id}_output.jsonl")
    assert record.expires_at == record.created_at + 7200


async def test_batch_in_two_currencies_has_a_cost_in_each(shop: BatchHarness) -> None:
    chat = {"messages": [{"role": "user", "content": "x"}]}
    lines = [{**line(name), "body": {**chat, "model": model}} for name, model in (("a", "eur-small"), ("b", "m"), ("c", "eur-small"))]
    new = await shop.started(*lines)
    await shop.step()
    await shop.answer_all(well)
    over = await shop.moved_to(new, BatchStatus.COMPLETED)
    assert over.usage is not None
    assert over.usage.cost_micros == {"EUR": 10, "USD": 5}


async def test_lines_become_tasks_of_their_owner_at_the_class_batch(shop: BatchHarness) -> None:
    await shop.started(line("a", body={"model": "m", "x": [1, 2.50]}))
    await shop.step()
    (lease,) = await shop.claim()
    assert (lease.org_id, lease.key_id, lease.kind, lease.queue, lease.name) == ("org_a", "key_a", "inference", "low", "a")
    assert json.loads(lease.payload) == {"url": CHAT, "class": "batch", "body": {"model": "m", "x": [1, 2.5]}}


async def test_no_result_file_is_written_without_lines(shop: BatchHarness) -> None:
    good = await shop.started(line("a"))
    await shop.step()
    await shop.answer_all()
    bad = await shop.started(line("b"))
    await shop.step()
    await shop.answer_all(refused)
    over = await shop.moved_to(good, BatchStatus.COMPLETED), await shop.moved_to(bad, BatchStatus.COMPLETED)
    assert (over[0].output_file_id is None, over[0].error_file_id is None) == (False, True)
    assert (over[1].output_file_id is None, over[1].error_file_id is None) == (True, False)
    assert len(await shop.files._blobs.names(0.0)) == 4  # two inputs, and nothing that nobody knows


async def test_an_answer_of_many_lines_stays_on_one(shop: BatchHarness) -> None:
    batch = await shop.started(line("a"))
    await shop.step()
    await shop.answer_all(lambda lease: succeeded(lease, {"text": "one\ntwo", "more": [1]}))
    answers, _ = await files_of(shop, await shop.moved_to(batch, BatchStatus.COMPLETED))
    assert answers[0]["response"]["body"] == {"text": "one\ntwo", "more": [1]}


async def test_batch_completes_although_its_gateway_dies_after_every_step(shop: BatchHarness) -> None:
    """Each step is made by a new one, and each is made twice."""
    batch = await shop.started(*map(line, NAMES))
    for number in range(8):
        await shop.answer_all(refused if number % 2 else well, 2)
        for _ in range(2):
            shop.clock.advance(60.0)  # what the last one had claimed is free again
            await shop.step(f"gw_{number}")
            shop.works.clear()
    over = await shop.now(batch)
    assert (over.status, over.total, over.completed + over.failed) == (BatchStatus.COMPLETED, 7, 7)
    answers, errors = await files_of(shop, over)
    assert sorted(named(answers) + named(errors)) == NAMES


async def test_lines_that_are_tasks_already_stay_what_they_are(shop: BatchHarness) -> None:
    """As after a crash in the middle of a large file."""
    batch = await shop.started(*map(line, NAMES))
    await shop.step()
    work = shop.works["gw_1"]
    assert await work._enqueue(await shop.now(batch))
    assert len(await shop.claim()) == 7


async def test_crash_after_writing_the_files_writes_them_once_more_and_counts_once(
    shop: BatchHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files lie there, and the batch does not say so: the next gateway writes the same ones again."""
    batch = await shop.started(*map(line, NAMES))
    await shop.step()
    await shop.answer_all()
    change = shop.store.batches.change

    async def broken_off(changed: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        if files:
            raise PortUnavailable("the store is gone")
        return await change(changed, was)

    monkeypatch.setattr(shop.store.batches, "change", broken_off)
    await shop.step()
    finalizing = await shop.now(batch)
    assert finalizing.status is BatchStatus.FINALIZING
    assert finalizing.output_file_id in await shop.files._blobs.names(0.0)
    with pytest.raises(NotFound):
        await shop.read(finalizing.output_file_id)
    monkeypatch.undo()
    shop.clock.advance(60.0)
    over = await shop.moved_to(batch, BatchStatus.COMPLETED, "gw_2")
    assert over.output_file_id == finalizing.output_file_id
    assert sorted(named(await shop.read(over.output_file_id))) == NAMES


async def test_batch_is_processed_by_one_gateway_at_a_time(shop: BatchHarness) -> None:
    batch = await shop.started(*map(line, NAMES))
    await shop.step("gw_1")
    await shop.answer_all()
    await shop.step("gw_2")
    assert (await shop.now(batch)).status is BatchStatus.IN_PROGRESS
    await shop.step("gw_1")
    assert (await shop.now(batch)).status is BatchStatus.COMPLETED


@pytest.mark.parametrize("running", [0, 3])
async def test_batch_cancelled_while_running_keeps_finished_lines(shop: BatchHarness, running: int) -> None:
    batch = await shop.started(*map(line, NAMES))
    await shop.step()
    await shop.answer_all(well, 2)
    held = await shop.claim(running) if running else []
    cancelling = await shop.batches.cancel(batch.org_id, batch.id)
    assert cancelling.status is BatchStatus.CANCELLING
    assert await shop.batches.cancel(batch.org_id, batch.id) == cancelling
    await shop.step()
    if held:
        assert (await shop.now(batch)).status is BatchStatus.CANCELLING
        await shop.finish(*(well(lease) for lease in held))  # too late to be stopped: it counts
    over = await shop.moved_to(batch, BatchStatus.CANCELLED)
    answers, errors = await files_of(shop, over)
    assert (len(answers), len(errors), over.completed, over.failed) == (2 + running, 5 - running, 2 + running, 5 - running)
    assert sorted(named(answers) + named(errors)) == NAMES
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    with pytest.raises(Conflict):
        await shop.batches.cancel(batch.org_id, batch.id)


async def test_batch_cancelled_before_it_started_runs_nothing(shop: BatchHarness) -> None:
    batch = await shop.started(*map(line, NAMES))
    await shop.batches.cancel(batch.org_id, batch.id)
    over = await shop.moved_to(batch, BatchStatus.CANCELLED)
    assert (over.total, over.output_file_id, over.error_file_id) == (0, None, None)
    assert await shop.claim() == []


async def test_batch_cancelled_during_enqueue_stops_enqueueing(shop: BatchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.durable.batches.processor.LINES_AT_ONCE", 2)
    batch = await shop.started(*map(line, NAMES))
    enqueue = shop.store.tasks.enqueue

    async def once(tasks: Any) -> Any:
        await shop.batches.cancel(batch.org_id, batch.id)
        return await enqueue(tasks)

    monkeypatch.setattr(shop.store.tasks, "enqueue", once)
    over = await shop.moved_to(batch, BatchStatus.CANCELLED)
    _, errors = await files_of(shop, over)
    assert sorted(named(errors)) == NAMES
    assert over.failed == over.total == 7


async def test_expired_batch_keeps_finished_lines_and_reports_the_rest(shop: BatchHarness) -> None:
    batch = await shop.started(*map(line, NAMES))
    await shop.step()
    await shop.answer_all(well, 2)
    (held,) = await shop.claim(1)
    shop.clock.advance(24 * 3600.0)
    await shop.store.tasks.promote()
    await shop.step()
    assert (await shop.now(batch)).status is BatchStatus.IN_PROGRESS  # one still runs, and has been asked to stop
    await shop.finish(refused(held))
    over = await shop.moved_to(batch, BatchStatus.EXPIRED)
    answers, errors = await files_of(shop, over)
    assert (len(answers), over.completed, over.failed, over.expired_at is not None) == (2, 2, 5, True)
    assert sorted(named(answers) + named(errors)) == NAMES
    assert sum(each["error"] is not None and each["error"]["code"] == "batch_expired" for each in errors) == 4


async def test_batch_fails_when_its_input_file_is_deleted(shop: BatchHarness) -> None:
    batch = await shop.started(line("a"))
    await shop.files.delete(batch.org_id, batch.input_file_id)
    over = await shop.moved_to(batch, BatchStatus.FAILED)
    assert [fault.code for fault in over.faults] == ["input_file_gone"]


async def test_tasks_of_a_batch_are_deleted_before_its_files(shop: BatchHarness) -> None:
    batch = await shop.started(line("a"))
    await shop.step()
    await shop.answer_all()
    over = await shop.moved_to(batch, BatchStatus.COMPLETED)
    shop.clock.advance(MONTH_SECONDS - 100.0)
    assert await shop.store.tasks.delete_kept(100) == 1
    assert len(await shop.read(over.output_file_id)) == 1
    shop.clock.advance(200.0)
    with pytest.raises(NotFound):
        await shop.read(over.output_file_id)


async def test_missing_file_or_file_with_another_purpose_is_refused(shop: BatchHarness) -> None:
    with pytest.raises(NotFound):
        await shop.batches.create(CALLER, "file-nothing", CHAT, {}, None)
    upload = await shop.files.begin(CALLER.org_id)
    await upload.write(b"x")
    other = await upload.keep("x", Purpose.USER_DATA)
    with pytest.raises(BadRequest):
        await shop.batches.create(CALLER, other.id, CHAT, {}, None)


async def test_line_whose_task_is_cancelled_is_reported_as_cancelled(shop: BatchHarness) -> None:
    """As a task it can be cancelled by itself; the batch goes on."""
    batch = await shop.started(line("a"), line("b"))
    await shop.step()
    page = await shop.store.tasks.tasks(batch.org_id, TaskQuery(TaskFilter(name="b")))
    await shop.store.tasks.cancel(batch.org_id, [task.id for task in page.tasks])
    await shop.answer_all()
    _, errors = await files_of(shop, await shop.moved_to(batch, BatchStatus.COMPLETED))
    assert [(each["custom_id"], each["error"]["code"]) for each in errors] == [("b", "cancelled")]
