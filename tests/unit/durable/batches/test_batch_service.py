"""Batches as their owners see them: made, shown, listed, cancelled. The real store in memory."""

from collections.abc import AsyncIterator, Sequence

import pytest

from penstock.domain.durable.batches import WINDOW_SECONDS, Batch, BatchStatus
from penstock.domain.durable.files import FileRecord, Purpose
from penstock.domain.errors import BadRequest, Conflict, NotFound
from tests.support.batch_harness import CALLER, CHAT, BatchHarness, batch_harness, line

OTHER = "org_b"


@pytest.fixture
async def shop() -> AsyncIterator[BatchHarness]:
    async with batch_harness() as made:
        yield made


async def test_new_batch_has_the_owner_the_input_and_a_day_to_run(shop: BatchHarness) -> None:
    file_id = await shop.uploaded(b"{}")
    now = shop.clock.time()
    made = await shop.batches.create(CALLER, file_id, CHAT, {"why": "because"}, 7200.0)
    assert (made.org_id, made.key_id, made.endpoint, made.input_file_id) == ("org_a", "key_a", CHAT, file_id)
    assert (made.status, made.created_at, made.expires_at, WINDOW_SECONDS) == (BatchStatus.VALIDATING, now, now + 86_400, 86_400)
    assert (made.metadata, made.output_expires_seconds) == ({"why": "because"}, 7200.0)
    assert (made.id[:6], len(made.id)) == ("batch_", 22)
    assert await shop.batches.batch("org_a", made.id) == made


async def test_file_of_another_purpose_or_organisation_is_refused_by_name(shop: BatchHarness) -> None:
    upload = await shop.files.begin(CALLER.org_id)
    await upload.write(b"{}")
    wrong = (await upload.keep("notes.txt", Purpose.USER_DATA)).id
    with pytest.raises(BadRequest) as raised:
        await shop.batches.create(CALLER, wrong, CHAT, {}, None)
    assert (raised.value.param, str(raised.value)) == ("input_file_id", "The file was not uploaded with the purpose 'batch'.")
    with pytest.raises(NotFound) as missing:
        await shop.batches.create(CALLER, "file-9", CHAT, {}, None)
    assert (missing.value.param, str(missing.value)) == ("input_file_id", "No such File object: file-9")


async def test_id_that_another_process_drew_is_drawn_again_once(shop: BatchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id, add = await shop.uploaded(b"{}"), shop.store.batches.add
    refused: list[str] = []
    most = 1

    async def taken(batch: Batch) -> None:
        if len(refused) < most:
            refused.append(batch.id)
            raise Conflict("taken")
        await add(batch)

    monkeypatch.setattr(shop.store.batches, "add", taken)
    ids = shop.batches._ids
    made = await shop.batches.create(CALLER, file_id, CHAT, {}, None)
    assert (made.id in refused, shop.batches._ids is ids) == (False, False)
    refused.clear()
    most = 2
    with pytest.raises(Conflict):
        await shop.batches.create(CALLER, file_id, CHAT, {}, None)
    assert len(set(refused)) == 2
    assert await shop.batches.batches("org_a", 10, None) == [made]


async def test_batch_of_another_organisation_is_not_found(shop: BatchHarness) -> None:
    made = await shop.started(line("a"))
    for call in (shop.batches.batch(OTHER, made.id), shop.batches.cancel(OTHER, made.id)):
        with pytest.raises(NotFound) as raised:
            await call
        assert (raised.value.param, str(raised.value)) == ("batch_id", f"No such Batch object: {made.id}")
    assert (await shop.now(made)).status is BatchStatus.VALIDATING
    assert await shop.batches.batches(OTHER, 10, None) == []


async def test_pages_of_batches_go_on_after_the_last_one(shop: BatchHarness) -> None:
    made = []
    for name in "abc":
        shop.clock.advance(1.0)
        made.append((await shop.started(line(name))).id)
    first = await shop.batches.batches("org_a", 2, None)
    rest = await shop.batches.batches("org_a", 2, first[-1].id)
    assert [batch.id for batch in (*first, *rest)] == made[::-1]


async def test_cancelled_batch_keeps_the_time_of_the_first_cancel(shop: BatchHarness) -> None:
    made = await shop.started(line("a"))
    first = await shop.batches.cancel("org_a", made.id)
    assert (first.status, first.cancelling_at) == (BatchStatus.CANCELLING, shop.clock.time())
    shop.clock.advance(5.0)
    assert await shop.batches.cancel("org_a", made.id) == first == await shop.now(made)


async def test_finished_batch_cannot_be_cancelled_and_a_retry_is_of_no_use(shop: BatchHarness) -> None:
    made = await shop.started(line("a"))
    await shop.step()
    await shop.answer_all()
    await shop.moved_to(made, BatchStatus.COMPLETED)
    with pytest.raises(Conflict) as raised:
        await shop.batches.cancel("org_a", made.id)
    assert (raised.value.param, raised.value.retry) == ("batch_id", False)
    assert str(raised.value) == "A batch with the status 'completed' cannot be cancelled."


async def test_cancel_looks_again_when_the_batch_has_moved_meanwhile(shop: BatchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await shop.started(line("a"))
    change = shop.store.batches.change
    seen: list[BatchStatus] = []

    async def late(changed: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        seen.append(was)
        return len(seen) > 1 and await change(changed, was, files)

    monkeypatch.setattr(shop.store.batches, "change", late)
    assert (await shop.batches.cancel("org_a", made.id)).status is BatchStatus.CANCELLING
    assert seen == [BatchStatus.VALIDATING] * 2
