"""Finding tasks: by what they are, by their words, page by page."""

import dataclasses
import itertools
import json
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.task_search import TaskFilter, TaskQuery, TaskSort
from penstock.domain.durable.tasks import CompletionKind, TaskError, TaskStatus
from penstock.domain.errors import BadRequest
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient


async def shelf(client: TaskStoreClient) -> dict[str, str]:
    """Tasks of every status; their ids by name."""
    await client.runner()
    ids: dict[str, str] = {}
    shelved: tuple[tuple[str, dict[str, Any]], ...] = (
        ("done", {"tags": ("a", "b"), "priority": 9}),
        ("broken", {"kind": "webhook", "tags": ("a",), "max_attempts": 1}),
        ("running", {"queue": "high", "priority": 1}),
    )
    for name, values in shelved:
        ids[name] = await client.submit(name, **values)
        client.clock.advance(10)
        if name != "running":
            await client.run(CompletionKind.SUCCEEDED if name == "done" else CompletionKind.FAILED)
        else:
            await client.claim()
    ids["later"] = await client.submit("later", run_at=START + 1000, priority=10)
    ids["blocked"] = await client.submit("blocked", [ids["later"]])
    ids["ready"] = await client.submit("ready", tags=("c",))
    ids["cancelled"] = await client.submit("cancelled")
    await client.tasks.cancel(ORG, [ids["cancelled"]])
    ids["skipped"] = await client.submit("skipped")
    await client.submit("foreign", org_id=OTHER)
    return ids


ALL = ["skipped", "cancelled", "ready", "blocked", "later", "running", "broken", "done"]


async def found_by(client: TaskStoreClient, text: str) -> list[str]:
    return await client.names(TaskFilter(text=text), ascending=True)


TEXTS = {
    "tokyo": "請求書を東京都で確認する",
    "mixed": "GPU東京GPU run",
    "korean": "서울특별시에서 보고서를",
    "thai": "ใบแจ้งหนี้ประจำเดือน",
    "one": "犬",
    "kana": "ガラス",
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("東京", ["tokyo", "mixed"]),
        ("京都", ["tokyo"]),
        ("東京都で", ["tokyo"]),
        ("請求", ["tokyo"]),
        ("る", ["tokyo"]),
        ("犬", ["one"]),
        ("京大", []),
        ("東都", []),
        ("京 gpu", ["mixed"]),
        ('"東京 GPU"', ["mixed"]),
        ("gpu東京", ["mixed"]),
        ("東京 -gpu", ["tokyo"]),
        ("특별시", ["korean"]),
        ("보고서", ["korean"]),
        ("แจ้งหนี้", ["thai"]),
        ("カラ", ["kana"]),
        ("ガラス", ["kana"]),
        ("請求書 確認", ["tokyo"]),
    ],
)
async def test_text_without_spaces_is_found_by_any_part_of_it(client: TaskStoreClient, text: str, names: list[str]) -> None:
    for name, content in TEXTS.items():
        await client.submit(name, payload=json.dumps({"text": content}, ensure_ascii=name == "one"))
    assert await found_by(client, text) == names


@pytest.mark.parametrize("text", ["%", "\U0001f600", "   ", '""', "-", "* ...", "_"])
async def test_search_without_a_word_is_refused(client: TaskStoreClient, text: str) -> None:
    await client.submit("any")
    wanted = TaskFilter(text=text)
    with pytest.raises(BadRequest, match="no word") as caught:
        await client.tasks.tasks(ORG, TaskQuery(wanted))
    assert caught.value.param == "q"
    with pytest.raises(BadRequest, match="no word"):
        await client.tasks.count(ORG, wanted)


async def test_lines_of_batches_are_left_out_where_they_are_not_wanted(client: TaskStoreClient) -> None:
    await client.submit("own")
    await client.submit("keyed", idempotency_key="batch_of_mine")
    line = client.new("line", idempotency_key="batch_0123456789abcdef:1")
    await client.tasks.enqueue([msgspec.structs.replace(line, dag_id=line.id)])
    dag = client.new("dag")
    await client.tasks.enqueue([msgspec.structs.replace(dag, dag_id=dag.id)])
    assert await client.names(TaskFilter(batch_lines=False), ascending=True) == ["own", "keyed", "dag"]
    assert await client.names(TaskFilter(), ascending=True) == ["own", "keyed", "line", "dag"]


FILTERS = [
    (TaskFilter(), ALL),
    (TaskFilter(statuses=frozenset({TaskStatus.SUCCEEDED})), ["done"]),
    (TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})), ["cancelled", "broken"]),
    (TaskFilter(statuses=frozenset({TaskStatus.RUNNING})), ["running"]),
    (TaskFilter(statuses=frozenset({TaskStatus.SCHEDULED, TaskStatus.BLOCKED})), ["blocked", "later"]),
    (TaskFilter(statuses=frozenset({TaskStatus.READY, TaskStatus.SUCCEEDED})), ["skipped", "ready", "done"]),
    (TaskFilter(queue="high"), ["running"]),
    (TaskFilter(kind="webhook"), ["broken"]),
    (TaskFilter(name="ready"), ["ready"]),
    (TaskFilter(priority_from=9), ["later", "done"]),
    (TaskFilter(priority_from=2, priority_to=9, tags=("a",)), ["broken", "done"]),
    (TaskFilter(tags=("a", "b")), ["done"]),
    (TaskFilter(created_from=START + 5, created_until=START + 15), ["broken"]),
    (TaskFilter(started_from=START + 15, started_until=START + 25), ["broken"]),
    (TaskFilter(started_from=START + 25), ["running"]),
    (TaskFilter(finished_from=START, finished_until=START + 15), ["done"]),
    (TaskFilter(queue="' OR 1=1 --"), []),
]


async def test_a_filter_means_what_it_says(client: TaskStoreClient) -> None:
    await shelf(client)
    for wanted, names in FILTERS:
        assert await client.names(wanted) == names, wanted
        assert await client.tasks.count(ORG, wanted) == len(names), wanted


async def test_some_by_their_ids(client: TaskStoreClient) -> None:
    ids = await shelf(client)
    assert await client.names(TaskFilter(ids=(ids["done"], ids["ready"], "nonsense"))) == ["ready", "done"]


async def test_pages_are_the_whole_in_its_order(client: TaskStoreClient) -> None:
    ids = await shelf(client)
    values = {
        TaskSort.CREATED: lambda t: t.id,
        TaskSort.FINISHED: lambda t: (t.finished_at, t.id),
        TaskSort.PRIORITY: lambda t: (t.priority, t.id),
    }
    for sort, ascending in itertools.product(TaskSort, (False, True)):
        whole = await client.tasks.tasks(ORG, TaskQuery(sort=sort, ascending=ascending, with_total=True))
        found = await pages(client, TaskQuery(sort=sort, ascending=ascending, limit=2))
        assert found == [task.name for task in whole.tasks]
        assert (whole.next, whole.total, whole.total_exact) == (None, len(found), True)
        in_order = sorted(whole.tasks, key=values[sort], reverse=not ascending)
        assert [task.id for task in in_order] == [ids[name] for name in found]
        assert len(found) == (3 if sort is TaskSort.FINISHED else len(ALL))


async def pages(client: TaskStoreClient, query: TaskQuery) -> list[str]:
    """The names of all pages."""
    found: list[str] = []
    while True:
        page = await client.tasks.tasks(ORG, query)
        found += [task.name for task in page.tasks]
        if page.next is None:
            return found
        query = dataclasses.replace(query, after=page.next)


NOWHERE = ["", "x", "task_1", "task_000000000000000f.x", "task_000000000000000f.1' --", "task_000000000000000f."]


async def test_a_place_that_no_page_gave_is_refused(client: TaskStoreClient) -> None:
    for sort, after in itertools.product(TaskSort, NOWHERE):
        with pytest.raises(BadRequest):
            await client.tasks.tasks(ORG, TaskQuery(after=after, sort=sort))


async def test_lists_leave_bodies_out_unless_asked(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit(payload='{"p": 1}')
    await client.run(result='{"r": 1}')
    (short,) = (await client.tasks.tasks(ORG, TaskQuery())).tasks
    (long,) = (await client.tasks.tasks(ORG, TaskQuery(bodies=True))).tasks
    assert (short.payload, short.result, long.payload, long.result) == (None, None, '{"p": 1}', '{"r": 1}')


WORDS: list[tuple[str, list[str]]] = [
    ("invoice", ["weekly", "monthly"]),
    ("INVOICE", ["weekly", "monthly"]),
    ("invoice monthly", ["monthly"]),
    ("invoice -monthly", ["weekly"]),
    ("-monthly", ["weekly"]),
    ('"to the customer"', ["weekly"]),
    ('"customer to the"', []),
    ('-"to the customer" invoice', ["monthly"]),
    ("invo", []),
    ("invo*", ["weekly", "monthly"]),
    ("resume", ["weekly"]),
    ("Résumé", ["weekly"]),
    ("résu*", ["weekly"]),
    ("請求書", ["monthly"]),
    ("4711", ["monthly"]),
    ("a_b-c.d", ["monthly"]),
    ("paid", ["monthly"]),  # in its result
    ("timeout", ["weekly"]),  # in its error
    ("urgent", ["weekly"]),  # a tag
    ("foreign", []),
    ("invoice OR foreign", []),
    ("org:* NOT x' ) -- \" ( & | ! :* <->", []),
    ("invoice'); DROP TABLE task; --", []),
]


async def test_words_are_found_wherever_they_stand(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("monthly", payload='{"text": "An invoice \\u8acb\\u6c42\\u66f8", "number": 4711, "x": "a_b-c.d"}')
    await client.run(result='{"state": "Paid!"}')
    await client.submit("weekly", payload='{"text": "Send the invoice to the\\ncustomer, r\\u00e9sum\\u00e9"}', tags=("urgent",))
    await client.run(CompletionKind.FAILED, error=TaskError("timeout", "It took too long."))
    await client.submit("foreign invoice", org_id=OTHER)
    for text, names in WORDS:
        assert await client.names(TaskFilter(text=text)) == names, text


@pytest.mark.parametrize("ascending", [False, True])
async def test_words_are_found_page_by_page_among_those_of_others(client: TaskStoreClient, ascending: bool) -> None:
    """Many of another organisation's have the word, all of them before ours or all after them, or in between."""
    ours: list[str] = []
    for count, org in [(250, OTHER), (40, ORG), (250, OTHER), (20, ORG)]:
        tasks = [client.new("shared", org_id=org) for _ in range(count)]
        await client.tasks.enqueue(tasks)
        ours += [task.id for task in tasks if org == ORG]
    await client.submit("rare", org_id=OTHER)
    rare = await client.submit("rare shared")
    for text, wanted in [("shared", [*ours, rare]), ("rare", [rare]), ("rare -shared", []), ("-rare shared", ours)]:
        found: list[str] = []
        after = None
        while True:
            query = TaskQuery(TaskFilter(text=text), ascending=ascending, limit=7, after=after)
            page = await client.tasks.tasks(ORG, query)
            found += [task.id for task in page.tasks]
            if (after := page.next) is None:
                break
        assert found == (wanted if ascending else wanted[::-1]), text


async def test_words_of_what_is_deleted_are_gone(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit("gone", keep_seconds=5.0)
    await client.run(CompletionKind.FAILED)
    assert await client.names(TaskFilter(text="gone")) == ["gone"]
    assert await client.tasks.delete_kept(10) == 0
    client.clock.advance(5)
    assert await client.tasks.delete_kept(10) == 1
    assert await client.names(TaskFilter(text="gone")) == []
    assert await client.tasks.task(ORG, task) is None


async def test_a_total_that_is_too_great_to_count_is_an_estimate(client: TaskStoreClient) -> None:
    for _ in range(2):
        await client.tasks.enqueue([client.new("common") for _ in range(6000)])
    page = await client.tasks.tasks(ORG, TaskQuery(TaskFilter(text="common"), limit=1, with_total=True))
    assert page.total is not None
    assert page.total >= 10_000
    assert not page.total_exact
    assert await client.tasks.count(ORG, TaskFilter(text="common")) == 12_000


async def test_words_are_found_wherever_they_stand_in_a_long_text(client: TaskStoreClient) -> None:
    """PostgreSQL has places for 16,383 words; whatever comes later shares the last one."""
    last = "z" * 300
    await client.submit("long", payload='"' + "a b " * 8190 + 'needle"')
    await client.submit("wide", payload=f'"é {last} naïve e\u0301t\u00e9"')
    assert await client.names(TaskFilter(text="needle")) == ["long"]
    assert await client.names(TaskFilter(text='"a b a"')) == ["long"]
    assert await client.names(TaskFilter(text=last)) == ["wide"]
    assert await client.names(TaskFilter(text="naive ete")) == ["wide"]


async def test_stored_tasks_are_counted_up_to_a_bound(client: TaskStoreClient) -> None:
    await client.runner()
    for name in ("one", "two", "three"):
        await client.submit(name)
    await client.run(CompletionKind.SUCCEEDED)
    assert await client.tasks.stored_tasks(ORG, 100) == 3, "also the one that has ended"
    assert await client.tasks.stored_tasks(ORG, 2) == 2
    assert await client.tasks.stored_tasks("org_other", 100) == 0
