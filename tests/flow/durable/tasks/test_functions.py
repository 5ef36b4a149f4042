"""Tasks that are functions, from the API to a child process and back."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from tests.support.task_api_client import TaskApiClient
from tests.support.waiting import until, until_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_function_result_is_returned(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("add", {"a": 2, "b": 3})
    assert (task["status"], task["result"], task["attempt"], task["error"]) == ("succeeded", 5, 1, None)
    events = (await tasks_api.platform.http.get(f"/api/tasks/{task['id']}/events")).json()["data"]
    assert [event["type"] for event in events] == ["created", "claimed", "succeeded"]
    assert events[1]["runner"] == task["runner"]


@pytest.mark.parametrize(
    ("name", "payload", "code", "words"),
    [
        ("fail", None, "raised", "ValueError: no such luck"),
        ("die", None, "crashed", "exit code 7"),
        ("add", {"a": 1}, "bad_arguments", "missing a required argument: 'b'"),
        ("add", [1, 2, 3], "bad_arguments", "too many positional arguments"),
        ("unwritable", None, "bad_result", "cannot be written as JSON"),
        ("large", None, "result_too_large", "1000000 bytes"),
    ],
)
async def test_failed_function_has_a_code_and_a_message(tasks_api: TaskApiClient, name: str, payload: Any, code: str, words: str) -> None:
    """What another attempt would not change is not tried again."""
    task = await tasks_api.outcome(name, payload)
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("failed", 1, code)
    assert words in task["error"]["message"]


async def test_traceback_has_the_users_code_only(tasks_api: TaskApiClient) -> None:
    message = (await tasks_api.outcome("fail"))["error"]["message"]
    assert "functions_of_users.py" in message
    assert "child.py" not in message


async def test_a_function_asks_for_more_time_before_its_next_attempt(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("later")
    assert (task["status"], task["result"], task["attempt"]) == ("succeeded", 3, 3)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["retried", "retried", "succeeded"]
    assert task["attempts"][0]["error"] == {"code": "retry_later", "message": "the file is not there yet"}


async def test_defaults_come_from_the_decorator_and_the_submission_goes_before_them(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.show(await tasks_api.submit("chatty"))
    assert (task["queue"], task["priority"], task["max_attempts"], task["timeout_seconds"]) == ("high", 9, 7, 12)
    task = await tasks_api.show(await tasks_api.submit("chatty", queue="low", max_attempts=1))
    assert (task["queue"], task["priority"], task["max_attempts"]) == ("low", 9, 1)


async def test_a_function_that_takes_too_long_is_killed(tasks_api: TaskApiClient, tmp_path: Path) -> None:
    task = await tasks_api.outcome("hang", str(tmp_path / "started"), timeout_seconds=0.5, max_attempts=1)
    assert (task["status"], task["error"]["code"]) == ("failed", "timeout")
    assert (await tasks_api.outcome("add", [1, 1]))["result"] == 2, "the slot is free again"


async def test_progress_and_cancelling_while_it_runs(tasks_api: TaskApiClient, tmp_path: Path) -> None:
    task_id = await tasks_api.submit("report", [str(tmp_path / "started"), str(tmp_path / "go")])
    await until((tmp_path / "started").exists, 10)
    task = await until_answer(lambda: tasks_api.show(task_id), lambda shown: shown["progress"] is not None)
    assert task["progress"] == {"percent": 50}
    answer = await tasks_api.platform.http.post(f"/api/tasks/{task_id}/cancel")
    assert answer.json() == {"id": task_id, "status": "running"}
    started = asyncio.get_running_loop().time()
    task = await tasks_api.until_terminal(task_id)
    assert task["status"] == "cancelled"
    assert asyncio.get_running_loop().time() - started < 3, "no heartbeat was waited for"


async def test_logs_of_a_task_are_shown_by_attempt_to_its_organisation_only(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("talk")
    http = tasks_api.platform.http
    logs = (await http.get(f"/api/tasks/{task['id']}/logs")).json()["data"]
    assert [(each["attempt"], each["text"], each["left_out_bytes"]) for each in logs] == [(1, "attempt 1\n", 0), (2, "attempt 2\n", 0)]
    assert [each["runner"] for each in logs] == [attempt["runner"] for attempt in task["attempts"]]
    assert (await http.get("/api/tasks/task_0000000000000000/logs")).status_code == 404
    silent = await tasks_api.outcome("add", [1, 1])
    assert (await http.get(f"/api/tasks/{silent['id']}/logs")).json() == {"data": []}


async def test_output_of_a_running_task_can_be_read(tasks_api: TaskApiClient, tmp_path: Path) -> None:
    task_id = await tasks_api.submit("report", [str(tmp_path / "started"), str(tmp_path / "go")])

    async def read() -> list[str]:
        answer = await tasks_api.platform.http.get(f"/api/tasks/{task_id}/logs")
        return [each["text"] for each in answer.json()["data"]]

    assert await until_answer(read, lambda texts: texts) == ["half of it\n"]
    (tmp_path / "go").touch()
    assert (await tasks_api.until_terminal(task_id))["status"] == "succeeded"
    assert await read() == ["half of it\nall of it\n"]


async def test_command_prints_the_logs_of_an_attempt(tasks_api: TaskApiClient, tmp_path: Path) -> None:
    task_id = (await tasks_api.outcome("talk"))["id"]
    running = tasks_api.platform
    environment = {
        "PENSTOCK_BASE_URL": running.gateway.base_url,
        "PENSTOCK_API_KEY": running.first.api_key,
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["tasks", "logs", task_id, *options], env=environment)
        return result.exit_code, result.stdout

    assert await asyncio.to_thread(run) == (0, "attempt 1\nattempt 2\n")
    assert await asyncio.to_thread(run, "--attempt", "2") == (0, "attempt 2\n")
    code, text = await asyncio.to_thread(run, "--json")
    assert (code, [each["attempt"] for each in json.loads(text)["data"]]) == (0, [1, 2])


async def test_cancelling_before_it_starts(tasks_api: TaskApiClient) -> None:
    task_id = await tasks_api.submit("add", [1, 2], delay_seconds=3600)
    answer = await tasks_api.platform.http.post(f"/api/tasks/{task_id}/cancel")
    assert answer.json()["status"] == "cancelled"
    task = await tasks_api.show(task_id)
    assert (task["status"], task["attempt"], task["result"]) == ("cancelled", 0, None)
    again = await tasks_api.platform.http.post(f"/api/tasks/{task_id}/cancel")
    assert again.json()["status"] == "cancelled"


async def test_fan_out_and_in_passes_results_to_the_child(tasks_api: TaskApiClient) -> None:
    """1 -> 100 -> 1, the results handed on by reference."""
    fan = [{"name": "add", "ref": f"leaf {n}", "payload": {"a": n, "b": {"$result": "root"}}, "parents": ["root"]} for n in range(100)]
    ids = await tasks_api.submit_many(
        {"name": "total", "parents": [leaf["ref"] for leaf in fan], "payload": {"values": {"$result": "*"}}},
        {"name": "add", "ref": "root", "payload": [1000, 0]},
        *fan,
    )
    task = await tasks_api.until_terminal(ids[0])
    assert (task["status"], task["result"]) == ("succeeded", 100 * 1000 + sum(range(100)))
    dag = (await tasks_api.platform.http.get(f"/api/dags/{task['dag_id']}")).json()
    assert (dag["counts"], len(dag["data"]), len(dag["edges"])) == ({"succeeded": 102}, 102, 200)


@pytest.mark.parametrize(("rule", "status"), [("fail", "failed"), ("skip", "skipped"), ("run", "succeeded")])
async def test_child_of_a_failed_parent_follows_its_on_parent_failure_rule(tasks_api: TaskApiClient, rule: str, status: str) -> None:
    ids = await tasks_api.submit_many(
        {"name": "fail", "ref": "first"}, {"name": "add", "payload": [1, 1], "parents": ["first"], "on_parent_failure": rule}
    )
    task = await tasks_api.until_terminal(ids[1])
    assert task["status"] == status
    assert [(parent["id"], parent["status"]) for parent in task["parents"]] == [(ids[0], "failed")]


async def test_a_failed_task_is_run_again_and_cloned(tasks_api: TaskApiClient) -> None:
    task = await tasks_api.outcome("fail")
    http = tasks_api.platform.http
    assert (await http.post(f"/api/tasks/{task['id']}/retry")).json()["status"] == "ready"
    again = await tasks_api.until(task["id"], {"failed"})
    assert [attempt["outcome"] for attempt in again["attempts"]] == ["failed", "failed"]
    copy = (await http.post(f"/api/tasks/{task['id']}/clone")).json()
    assert copy["created"]
    assert (await tasks_api.until_terminal(copy["id"]))["error"]["code"] == "raised"
    waiting = await tasks_api.submit("add", [1, 1], delay_seconds=3600)
    assert (await http.post(f"/api/tasks/{waiting}/retry")).status_code == 409


async def test_task_of_an_unknown_function_waits_for_a_runner_that_has_it(tasks_api: TaskApiClient) -> None:
    task_id = await tasks_api.submit("unheard of")
    assert (await tasks_api.outcome("add", [1, 1]))["result"] == 2
    assert (await tasks_api.show(task_id))["status"] == "ready"
    await tasks_api.platform.http.post(f"/api/tasks/{task_id}/cancel")
