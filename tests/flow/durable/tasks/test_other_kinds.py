"""Inferences and webhooks as tasks, and on whose behalf a task runs."""

import asyncio
import json
from typing import Any

import pytest
from openai import OpenAI

from tests.support.gateway import MODEL, Client, ScriptedServer, scripted, well
from tests.support.task_api_client import TaskApiClient
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHAT = "/v1/chat/completions"


def inference(**fields: Any) -> dict[str, Any]:
    return {"url": CHAT, "body": {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | fields}


async def test_an_inference_is_served_metered_and_billed_at_the_batch_class(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("", inference(), kind="inference")
    assert task["status"] == "succeeded"
    assert task["result"]["status_code"] == 200
    assert task["result"]["body"]["object"] == "chat.completion"
    records = await tasks_api.platform.records()
    (record,) = [record for record in records if record.request_id == task["result"]["request_id"]]
    assert record.service_class == "batch"
    assert record.key_id == task["key_id"]


async def test_an_inference_may_keep_its_owners_class(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("", {**inference(), "class": "own"}, kind="inference")
    records = await tasks_api.platform.records()
    assert {record.service_class for record in records if record.request_id == task["result"]["request_id"]} == {"enterprise"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (inference(model="nobody has it"), "model_not_found"),
        (inference(temperature=9.0), "invalid_request_error"),
    ],
)
async def test_a_refusal_that_stays_is_final_and_kept(tasks_api: TaskApiClient, payload: Any, code: str) -> None:
    task = await tasks_api.outcome("", payload, kind="inference")
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("failed", 1, code)
    assert task["result"]["body"]["error"]["code"] == code
    assert task["result"]["status_code"] in (400, 404)


async def test_plain_body_of_openai_is_an_inference(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("", inference()["body"], kind="inference")
    assert (task["status"], task["payload"]["url"]) == ("succeeded", CHAT)
    assert task["result"]["status_code"] == 200


async def test_overload_refusal_does_not_count_as_an_attempt(tasks_api: TaskApiClient) -> None:
    """The worker says that it is full; the task rests, and goes through when it has room again."""

    async def full_at_first(client: Client) -> None:
        if len(tasks_api.server.requests) <= before + 1:
            await client.answer(503, b'{"error": {"message": "full", "type": "server_error"}}', retry_after="1")
        else:
            await well(client)

    before = len(tasks_api.server.requests)
    tasks_api.server.script = full_at_first
    try:
        task = await tasks_api.outcome("", inference(), kind="inference")
    finally:
        tasks_api.server.script = well
    assert (task["status"], task["attempt"]) == ("succeeded", 1)
    assert [attempt["outcome"] for attempt in task["attempts"]][-2:] == ["released", "succeeded"]


async def test_a_cancelled_inference_stops_the_generation(tasks_api: TaskApiClient) -> None:
    gone: list[Client] = []

    async def never(client: Client) -> None:
        gone.append(client)
        await client.until_gone()

    tasks_api.server.script = never
    try:
        task_id = await tasks_api.submit("", inference(), kind="inference")
        await tasks_api.until(task_id, {"running"})
        await until(lambda: gone)
        await tasks_api.platform.http.post(f"/api/tasks/{task_id}/cancel")
        assert (await tasks_api.until_terminal(task_id))["status"] == "cancelled"
        await asyncio.wait_for(gone[0].gone.wait(), 5)
    finally:
        tasks_api.server.script = well
    await tasks_api.platform.until_quiet()


async def test_a_task_of_a_revoked_key_fails_and_says_why(tasks_api: TaskApiClient) -> None:
    http = tasks_api.platform.http
    key = (await http.post("/api/keys", json={"name": "short-lived", "scopes": ["inference", "tasks:write"]})).json()
    mine = {"authorization": f"Bearer {key['secret']}"}
    body = {"name": "add", "payload": [1, 1], "delay_seconds": 1.2}
    task_id = (await http.post("/api/tasks", json=body, headers=mine)).json()["id"]
    await http.delete(f"/api/keys/{key['id']}")
    task = await tasks_api.until_terminal(task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", "key_revoked")


async def test_a_webhook_is_signed_as_the_sdk_expects(tasks_api: TaskApiClient) -> None:
    async def hear(client: Client) -> None:
        await client.answer(200, b"thanks")

    async with scripted(hear) as (receiver,):
        event = {"id": "evt_1", "object": "event", "type": "batch.completed", "created_at": 1, "data": {"id": "batch_1"}}
        payload = {"url": f"{receiver.url}/hook?x=1", "body": event, "headers": {"x-own": "1"}}
        task = await tasks_api.outcome("", payload, kind="webhook")
        (heard,) = receiver.requests
    assert (task["status"], task["result"]) == ("succeeded", {"status_code": 200, "body": "thanks"})
    assert (heard.path, heard.headers[b"x-own"]) == (b"/hook?x=1", b"1")
    assert heard.headers[b"webhook-id"] == task["id"].encode()
    secret = (await tasks_api.platform.http.get("/api/webhook-secret")).json()["secret"]
    headers = {name.decode(): value.decode() for name, value in heard.headers.items()}
    unwrapped = OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(heard.body, headers)
    assert unwrapped.type == "batch.completed"


async def test_a_webhook_that_fails_comes_again_under_the_same_id(tasks_api: TaskApiClient) -> None:
    async def hear(client: Client) -> None:
        await client.answer(500 if len(receiver.requests) == 1 else 204, b"")

    receiver: ScriptedServer
    async with scripted(hear) as (receiver,):
        payload = {"url": f"{receiver.url}/hook", "body": {"n": 1}}
        task = await tasks_api.outcome("", payload, kind="webhook", backoff_seconds=1)
        first, second = receiver.requests
    assert (task["status"], task["attempt"]) == ("succeeded", 2)
    assert first.headers[b"webhook-id"] == second.headers[b"webhook-id"]
    assert json.loads(first.body) == json.loads(second.body) == {"n": 1}


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3/hook",
        "http://[::1]/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://user:secret@198.51.100.1/",
        "ftp://198.51.100.1/",
        "not a url",
    ],
)
async def test_a_webhook_to_a_private_network_is_refused(tasks_api: TaskApiClient, url: str) -> None:
    task = await tasks_api.outcome("", {"url": url}, kind="webhook")
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("failed", 1, "webhook_refused")
