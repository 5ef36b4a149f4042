"""Files, batches and kept answers: whose they are, pages, and changes that happen once."""

from dataclasses import replace

import pytest

from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage, LineFault
from penstock.domain.durable.files import FileQuery, FileRecord, Purpose
from penstock.domain.durable.responses import ResponseStatus, StoredResponse
from penstock.domain.errors import TooLarge
from penstock.domain.ports import Store
from tests.contract.storage.stores.store_records import BIG, two_organisations


def file(file_id: str, org_id: str = "org_a", purpose: Purpose = Purpose.BATCH, expires_at: float | None = None) -> FileRecord:
    return FileRecord(file_id, org_id, "Ümläute 水.jsonl", purpose, BIG, 1.5, expires_at)


def batch(batch_id: str, org_id: str = "org_a", status: BatchStatus = BatchStatus.VALIDATING) -> Batch:
    return Batch(batch_id, org_id, "key_a", "/v1/chat/completions", "file-1", status, 1.5, 2.5, metadata={"wer": "wir 水"})


def answer(response_id: str, org_id: str = "org_a", previous_id: str | None = None, **fields: object) -> StoredResponse:
    usual: dict[str, object] = {"status": ResponseStatus.COMPLETED, "created_at": 1.5, "expires_at": 9.5, "items": "[]"}
    values = {**usual, "document": '{"水": 1}', "previous_id": previous_id, **fields}
    return StoredResponse(id=response_id, org_id=org_id, key_id="key_a", **values)  # type: ignore[arg-type] # the tests name the fields


async def test_a_file_is_its_organisations_alone(store: Store) -> None:
    await two_organisations(store)
    record = file("file-1", expires_at=7.5)
    await store.files.add(record)
    assert await store.files.get("org_a", "file-1") == record
    assert await store.files.get("org_b", "file-1") is None
    assert not await store.files.remove("org_b", "file-1")
    assert await store.files.known(["file-1", "file-2"]) == {"file-1"}
    assert (await store.files.stored_bytes("org_a"), await store.files.stored_bytes("org_b")) == (BIG, 0)
    assert await store.files.remove("org_a", "file-1")
    assert not await store.files.remove("org_a", "file-1")


async def test_files_come_in_pages(store: Store) -> None:
    await two_organisations(store)
    for number in range(5):
        await store.files.add(file(f"file-{number}", purpose=Purpose.VISION if number == 2 else Purpose.BATCH))
    await store.files.add(file("file-9", "org_b"))

    async def page(limit: int = 10, **fields: object) -> list[str]:
        return [record.id for record in await store.files.page(FileQuery("org_a", limit, **fields))]  # type: ignore[arg-type] # as above

    assert await page() == ["file-4", "file-3", "file-2", "file-1", "file-0"]
    assert await page(2, after="file-3") == ["file-2", "file-1"]
    assert await page(2, after="file-1", ascending=True) == ["file-2", "file-3"]
    assert await page(purpose=Purpose.VISION) == ["file-2"]


async def test_files_that_have_expired_are_found_in_every_organisation(store: Store) -> None:
    await two_organisations(store)
    for record in (file("file-1", expires_at=5.0), file("file-2", "org_b", expires_at=6.0), file("file-3", expires_at=7.0), file("file-4")):
        await store.files.add(record)
    assert {record.id for record in await store.files.expired(6.0, 10)} == {"file-1", "file-2"}
    assert len(await store.files.expired(9.0, 1)) == 1


async def test_batch_changes_only_from_its_expected_status(store: Store) -> None:
    await two_organisations(store)
    new = batch("batch_1")
    await store.batches.add(new)
    assert await store.batches.get("org_a", new.id) == new
    assert await store.batches.get("org_b", new.id) is None
    done = replace(
        new,
        status=BatchStatus.COMPLETED,
        completed_at=3.5,
        total=BIG,
        faults=(LineFault("invalid_json_line", "nö", 3, "x"),),
        output_file_id="file-out",
        usage=BatchUsage(1, 2, 3, BIG),
    )
    assert await store.batches.change(done, BatchStatus.VALIDATING, [file("file-out")])
    assert not await store.batches.change(replace(done, total=1), BatchStatus.VALIDATING, [file("file-other")])
    assert await store.batches.get("org_a", new.id) == done
    assert await store.files.known(["file-out", "file-other"]) == {"file-out"}


async def test_batches_come_newest_first(store: Store) -> None:
    await two_organisations(store)
    for number in range(3):
        await store.batches.add(batch(f"batch_{number}"))
    await store.batches.add(batch("batch_9", "org_b"))
    assert [each.id for each in await store.batches.page("org_a", 2)] == ["batch_2", "batch_1"]
    assert [each.id for each in await store.batches.page("org_a", 2, "batch_1")] == ["batch_0"]


async def test_one_gateway_works_on_a_batch_until_its_time_is_up(store: Store) -> None:
    await two_organisations(store)
    await store.batches.add(batch("batch_1"))
    await store.batches.add(batch("batch_2", "org_b", BatchStatus.IN_PROGRESS))
    await store.batches.add(batch("batch_3", status=BatchStatus.FAILED))

    async def claim(owner: str, now: float) -> list[str]:
        return [each.id for each in await store.batches.claim(owner, now, now + 10, 10)]

    assert await claim("gw_1", 0.0) == ["batch_1", "batch_2"]
    assert await claim("gw_2", 9.0) == []
    assert await claim("gw_1", 9.0) == ["batch_1", "batch_2"]
    assert await claim("gw_2", 19.0) == ["batch_1", "batch_2"]
    assert await claim("gw_1", 19.5) == []


async def test_an_answer_and_those_that_it_continues(store: Store) -> None:
    await two_organisations(store)
    await store.responses.add(answer("resp_1"))
    await store.responses.add(answer("resp_2", previous_id="resp_1"))
    await store.responses.add(answer("resp_3", previous_id="resp_2"))
    await store.responses.add(answer("resp_4", previous_id="resp_1", org_id="org_b"))

    async def chain(org_id: str, response_id: str, limit: int = 10) -> list[str]:
        return [each.id for each in await store.responses.chain(org_id, response_id, limit, 1_000)]

    assert await chain("org_a", "resp_3") == ["resp_1", "resp_2", "resp_3"]
    assert await chain("org_a", "resp_3", 2) == ["resp_2", "resp_3"]
    assert await chain("org_b", "resp_3") == []
    assert await chain("org_b", "resp_4") == ["resp_4"]
    assert not await store.responses.remove("org_b", "resp_2")
    assert await store.responses.remove("org_a", "resp_2")
    assert await store.responses.get("org_a", "resp_2") is None
    assert await chain("org_a", "resp_3") == ["resp_3"]


async def test_chain_of_answers_has_so_many_bytes_and_no_more(store: Store) -> None:
    """Bytes in UTF-8, which a text outside ASCII has more of than characters."""
    await two_organisations(store)
    links = [replace(answer(f"resp_{number}"), document='{"a":"\N{EURO SIGN}\\\\"}', items="[12]") for number in (1, 2, 3)]
    links = [replace(link, previous_id=f"resp_{number}" if number else None) for number, link in enumerate(links)]
    for link in links:
        await store.responses.add(link)
    size = len((links[0].document + links[0].items).encode())
    assert await store.responses.chain("org_a", "resp_3", 10, 3 * size) == links
    assert await store.responses.chain("org_a", "resp_3", 2, 2 * size) == links[1:]
    for most in (3 * size - 1, size, size - 1, 0):
        with pytest.raises(TooLarge) as raised:
            await store.responses.chain("org_a", "resp_3", 10, most)
        assert (raised.value.param, f"more than {most} bytes" in str(raised.value)) == ("previous_response_id", True)


async def test_an_answer_is_finished_once(store: Store) -> None:
    await two_organisations(store)
    waiting = answer("resp_1", status=ResponseStatus.QUEUED, task_id="task_1")
    await store.responses.add(waiting)
    await store.responses.add(answer("resp_2"))
    assert await store.responses.unfinished(10) == [waiting]
    done = replace(waiting, status=ResponseStatus.COMPLETED, document='{"done": true}')
    assert await store.responses.finish(done)
    assert not await store.responses.finish(replace(done, status=ResponseStatus.FAILED))
    assert await store.responses.get("org_a", "resp_1") == done
    assert await store.responses.unfinished(10) == []


async def test_stored_response_is_removed_after_its_expiry(store: Store) -> None:
    await two_organisations(store)
    await store.responses.add(answer("resp_1", expires_at=5.0))
    await store.responses.add(answer("resp_2", expires_at=6.0))
    assert await store.responses.forget_expired(5.5, 10) == 1
    assert [each.id for each in await store.responses.chain("org_a", "resp_2", 10, 1_000)] == ["resp_2"]
    assert await store.responses.get("org_a", "resp_1") is None
