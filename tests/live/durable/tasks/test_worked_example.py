"""The files of docs/tutorials/first-task.md: a module, a platform, tasks from the command line."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.platform import Platform, running
from tests.support.doc_blocks import blocks
from tests.support.sources import ROOT

FILES = {block.words["title"]: block.code for block in blocks(ROOT / "docs" / "tutorials" / "first-task.md") if "title" in block.words}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("example")
    for name, code in FILES.items():
        (directory / name).write_text(code)
    flags = ["--workers", "0", "--import", "chores"]
    with running(Platform(directory, *flags, environment={"PYTHONPATH": str(directory)})) as started:
        yield started


def run(platform: Platform, *arguments: str) -> "subprocess.CompletedProcess[str]":
    here = Path(platform.environment["PYTHONPATH"])
    return platform.run(*(str(here / word) if word == "tasks.json" else word for word in arguments))


def test_tasks_of_the_tutorial_succeed(platform: Platform) -> None:
    payload = '{"text": "a task is on disk before it is acknowledged"}'
    for command in (["word_count", "--payload", payload, "--wait"], ["--file", "tasks.json", "--wait"]):
        done = run(platform, "tasks", "submit", *command)
        assert done.returncode == 0, done.stderr
    found = export(platform, "--name", "word_count", "--search", "disk") + export(platform, "--tag", "demo")
    one, report = (json.loads(line) for line in found)
    assert (one["status"], one["result"]) == ("succeeded", 9)
    assert (report["status"], report["result"]) == ("succeeded", {"title": "Words", "words": 5})


def export(platform: Platform, *filters: str) -> list[str]:
    done = run(platform, "tasks", "export", "--bodies", *filters)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_task_and_queue_commands_change_what_they_name(platform: Platform) -> None:
    made = run(platform, "tasks", "submit", "word_count", "--payload", '{"text": 5}', "--max-attempts", "1", "--json")
    task_id = json.loads(made.stdout)["id"]
    watched = run(platform, "tasks", "watch", task_id)
    assert (watched.returncode, "raised: AttributeError" in watched.stdout) == (1, True)
    assert task_id in run(platform, "tasks", "list", "--status", "failed").stdout
    assert json.loads(run(platform, "tasks", "retry", task_id, "--json").stdout)["data"][0]["id"] == task_id
    assert "a retried task" not in run(platform, "tasks", "show", task_id).stdout
    waiting = json.loads(run(platform, "tasks", "submit", "nobody has it", "--queue", "low", "--delay", "1h", "--json").stdout)["id"]
    dry = run(platform, "tasks", "cancel", "--queue", "low")
    assert (dry.returncode, "matched  1" in dry.stdout, "nothing was changed" in dry.stderr) == (0, True, True)
    assert json.loads(run(platform, "tasks", "cancel", "--queue", "low", "--yes", "--json").stdout)["done"] == 1
    assert json.loads(run(platform, "tasks", "show", waiting, "--json").stdout)["status"] == "cancelled"
    paused = run(platform, "queues", "pause", "low")
    assert (paused.returncode, paused.stderr) == (0, "paused low; it has no tasks now. Other queues: high, medium\n")
    limited = run(platform, "queues", "limit", "low", "--max-running", "3", "--json")
    assert json.loads(limited.stdout)["max_running"] == 3
    low = next(queue for queue in json.loads(run(platform, "queues", "list", "--json").stdout)["data"] if queue["name"] == "low")
    assert (low["paused"], low["max_running"]) == (True, 3)


def test_pause_and_resume_of_a_queue_without_tasks_name_the_other_queues(platform: Platform) -> None:
    for verb in ("pause", "resume"):
        done = run(platform, "queues", verb, "lwo")
        assert done.returncode == 0
        assert done.stderr.startswith(f"{verb}d lwo; it has no tasks now. Other queues: high, low")
    paused = run(platform, "queues", "pause", "lwo", "--json")
    assert (json.loads(paused.stdout), run(platform, "queues", "resume", "lwo").returncode) == ({"ok": True}, 0)


def test_pause_of_a_queue_with_tasks_names_it_alone(platform: Platform) -> None:
    made = run(platform, "tasks", "submit", "word_count", "--queue", "own", "--delay", "1h", "--json")
    assert run(platform, "queues", "pause", "own").stderr == "paused own\n"
    assert run(platform, "queues", "resume", "own").stderr == "resumed own\n"
    assert run(platform, "tasks", "cancel", json.loads(made.stdout)["id"]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tasks", "submit", "x", "--payload", "{"], 2, "not JSON"),
        (["tasks", "submit"], 2, "A function is called by its name"),
        (["tasks", "show", "task_0000000000000001"], 3, "There is no such task"),
        (["tasks", "cancel"], 2, "name the tasks to cancel"),
        (["queues", "limit", "low"], 2, "name a limit"),
        (["runner"], 2, "--join URL"),
        (["runner", "--store", "sqlite:///x.db"], 2, "belongs to its gateway"),
    ],
)
def test_commands_that_cannot_work_end_with_an_exit_code(platform: Platform, arguments: list[str], code: int, words: str) -> None:
    done = run(platform, *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
