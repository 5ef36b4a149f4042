"""`penstock tasks`: durable work: submit, look at, follow, steer."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.client.task_files import read_payload, read_tasks
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.commands.work.task_edits import delete, priority
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date, duration_seconds, moment
from penstock.cli.output.task_lines import attempt_line, state_line

app = group("Tasks: submit, list, show, logs, watch, cancel, retry, clone, export.")

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="Id of the task.")]
StatusOption = Annotated[list[str] | None, typer.Option(metavar="STATUS", help="Tasks with this status, for example failed; repeatable.")]
QueueOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the queue.")]
KindOption = Annotated[str | None, typer.Option(metavar="KIND", help="function, inference or webhook.")]
NewTagOption = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag of the new task; repeatable.")]
TagOption = Annotated[list[str] | None, typer.Option(metavar="TAG", help="Tag; repeatable, and a task must have all of them.")]
NameOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the task or function.")]
TextOption = Annotated[str | None, typer.Option("--search", "-q", metavar="WORDS", help="Words in name, tags, payload, result or error.")]
SinceOption = Annotated[str | None, typer.Option(metavar="WHEN", help="Submitted since then: 7d, or 2026-08-01.")]
AllOption = Annotated[bool, typer.Option("--all", help="All tasks of the organisation, without any other option that chooses.")]
LinesOption = Annotated[bool, typer.Option("--batch-lines", help="Also the lines of batches.")]
_OVER = frozenset({"succeeded", "failed", "cancelled", "skipped"})
_LOOK_EVERY_SECONDS = 0.5
_MOST_AT_ONCE = 1000


@app.command(epilog='Example: penstock tasks submit word_count --payload \'{"text": "three small words"}\' --wait')
@gateway_command
def submit(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Function to call; for other kinds a name for people.")] = "",
    payload: Annotated[str, typer.Option(metavar="JSON", help="Payload: JSON, @FILE, or - for standard input.")] = "null",
    kind: Annotated[str, typer.Option(metavar="KIND", help="function, inference or webhook.")] = "function",
    queue: QueueOption = None,
    priority: Annotated[int | None, typer.Option(min=1, max=10, metavar="N", help="Priority; 10 is the most urgent.")] = None,
    tag: NewTagOption = None,
    after: Annotated[list[str] | None, typer.Option(metavar="TASK_ID", help="Parent: run after this task; repeatable.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help="Run after this time, for example 10m.")] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, metavar="N", help="Attempts at most.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="Time limit of one attempt, for example 5m.")] = None,
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="Idempotency key: a repeated submission returns the same task.")] = None,
    concurrency_key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the tasks with this key only --max-per-key run at a time.")
    ] = None,
    max_per_key: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tasks of the concurrency key at a time. [1]")] = None,
    unique_key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Return the task with this key that has not ended, instead of a new one.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Submit many tasks: a JSON list or JSON lines; - for standard input.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 1 if the task does not succeed.")] = False,
) -> int:
    """Submit a task, or a file of tasks."""
    if file is not None:
        answer = session.api.post("/api/tasks", {"tasks": read_tasks(file)})
        session.out.table(answer, ("id", "created"), [(each["id"], each["created"]) for each in answer["data"]])
        _warn(session, answer)
        return _wait_for_all(session, [each["id"] for each in answer["data"]]) if wait else 0
    body = {
        "kind": kind,
        "name": name,
        "payload": read_payload(payload),
        "queue": queue,
        "priority": priority,
        "tags": tag or [],
        "parents": after or [],
        "delay_seconds": float(duration_seconds(delay)) if delay else None,
        "max_attempts": max_attempts,
        "timeout_seconds": float(duration_seconds(timeout)) if timeout else None,
        "idempotency_key": key,
        "concurrency_key": concurrency_key,
        "max_running_per_key": max_per_key,
        "unique_key": unique_key,
    }
    answer = session.api.post("/api/tasks", body)
    _warn(session, answer)
    if wait:
        return _follow(session, answer["id"])
    session.out.item(answer, [("id", answer["id"]), ("created", answer["created"])])
    return 0


@app.command("list", epilog="Example: penstock tasks list --status failed --since 1d")
@gateway_command
def list_tasks(
    session: Session,
    status: StatusOption = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    name: NameOption = None,
    tag: TagOption = None,
    search: TextOption = None,
    since: SinceOption = None,
    batch_lines: LinesOption = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Tasks at most.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="TEXT", help="Continue after this page: `after` of its --json output.")] = None,
) -> None:
    """List tasks, newest first. `--status failed` lists the dead letters."""
    params = _filter(status, queue, kind, name, tag, search, since, batch_lines)
    answer = session.api.get("/api/tasks", **params, limit=limit, after=after, total="true")
    session.out.table(answer, _COLUMNS, [_row(task) for task in answer["data"]])
    if answer["has_more"] and not session.out.json:
        about = "" if answer["total_exact"] else "about "
        session.out.note(f"{about}{answer['total']:,} in all; more with --limit or a narrower filter")


@app.command(epilog="Example: penstock tasks show task_06AF5JVSB27SD14D")
@gateway_command
def show(session: Session, task_id: TaskId) -> None:
    """Show one task with its payload, result, parents, children and every attempt."""
    task = session.api.get(f"/api/tasks/{segment(task_id)}")
    session.out.item(task, _fields(task))


@app.command(epilog="Example: penstock tasks logs task_06AF5JVSB27SD14D --attempt 2")
@gateway_command
def logs(
    session: Session,
    task_id: TaskId,
    attempt: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only this attempt.")] = None,
) -> None:
    """Print what a task printed and logged, attempt by attempt."""
    answer = session.api.get(f"/api/tasks/{segment(task_id)}/logs")
    answer["data"] = [each for each in answer["data"] if attempt in (None, each["attempt"])]
    if session.out.json:
        session.out.data(answer)
        return
    if not answer["data"]:
        session.out.note("nothing was printed")
    for each in answer["data"]:
        session.out.note(f"attempt {each['attempt']}, {each['runner']}, {date(each['started_at'])}")
        session.out.text(each["text"])


@app.command(epilog="Example: penstock tasks watch task_06AF5JVSB27SD14D")
@gateway_command
def watch(session: Session, task_id: TaskId) -> int:
    """Follow a task until it ends. Exit code 1 if it does not succeed."""
    return _follow(session, task_id)


@app.command(epilog="Example: penstock tasks cancel --queue low --yes")
@gateway_command
def cancel(
    session: Session,
    task_id: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK_ID]...", help="Ids of the tasks; or choose tasks with the options.")
    ] = None,
    status: StatusOption = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    name: NameOption = None,
    tag: TagOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, the tasks that the options choose are only counted.")] = False,
) -> None:
    """Cancel tasks, by id or by filter."""
    _act(session, "cancel", task_id, _filter_body(status, queue, kind, name, tag), yes, {"all": True} if everything else {})


@app.command(epilog="Example: penstock tasks retry --status failed --yes")
@gateway_command
def retry(
    session: Session,
    task_id: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK_ID]...", help="Ids of the tasks; or choose tasks with the options.")
    ] = None,
    status: StatusOption = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    name: NameOption = None,
    tag: TagOption = None,
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Also the tasks that failed or were skipped because of these.")
    ] = False,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, the tasks that the options choose are only counted.")] = False,
) -> None:
    """Run ended tasks again, by id or by filter. `--status failed` runs all dead letters again.

    A task waits again for its parents, as far as they are not over.
    """
    how = {name: True for name, wanted in (("all", everything), ("with_dependents", with_dependents)) if wanted}
    _act(session, "retry", task_id, _filter_body(status, queue, kind, name, tag), yes, how)


@app.command(epilog="Example: penstock tasks clone task_06AF5JVSB27SD14D")
@gateway_command
def clone(session: Session, task_id: TaskId) -> None:
    """Submit a copy of a task."""
    answer = session.api.post(f"/api/tasks/{segment(task_id)}/clone")
    session.out.item(answer, [("id", answer["id"])])


app.command(epilog="Example: penstock tasks delete task_06AF5JVSB27SD14D")(delete)
app.command(epilog="Example: penstock tasks priority 10 task_06AF5JVSB27SD14D")(priority)


@app.command(epilog="Example: penstock tasks export --tag nightly --bodies")
@gateway_command
def export(
    session: Session,
    status: StatusOption = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    name: NameOption = None,
    tag: TagOption = None,
    search: TextOption = None,
    since: SinceOption = None,
    batch_lines: LinesOption = False,
    bodies: Annotated[bool, typer.Option("--bodies", help="Include payloads, results and attempts: one request for each task.")] = False,
) -> None:
    """Print all tasks that the options choose, as JSON lines."""
    count = 0
    for task in _pages(session, _filter(status, queue, kind, name, tag, search, since, batch_lines)):
        whole = session.api.get(f"/api/tasks/{segment(task['id'])}") if bodies else task
        sys.stdout.write(json.dumps(whole, ensure_ascii=False) + "\n")
        count += 1
    sys.stdout.flush()
    session.out.note(f"{count:,} tasks")


_COLUMNS = ("id", "kind", "name", "status", "queue", "priority#", "attempt", "submitted", "error")


def _warn(session: Session, answer: Mapping[str, Any]) -> None:
    for warning in answer.get("warnings") or ():
        session.out.note(f"warning: {warning}")


def _row(task: Mapping[str, Any]) -> tuple[Any, ...]:
    error = (task.get("error") or {}).get("code")
    attempt = f"{task['attempt']}/{task['max_attempts']}"
    return (
        task["id"],
        task["kind"],
        task["name"],
        task["status"],
        task["queue"],
        task["priority"],
        attempt,
        date(task["created_at"]),
        error,
    )


def _fields(task: Mapping[str, Any]) -> list[tuple[str, Any]]:
    error = task.get("error")
    plain = (
        "id",
        "kind",
        "name",
        "status",
        "note",
        "queue",
        "priority",
        "tags",
        "runner",
        "dag_id",
        "idempotency_key",
        "concurrency_key",
        "unique_key",
    )
    fields = [(name.replace("_", " "), task.get(name)) for name in plain]
    fields += [("attempt", f"{task['attempt']} of {task['max_attempts']}")]
    fields += [(name.removesuffix("_at"), date(task.get(name))) for name in ("created_at", "run_at", "started_at", "finished_at")]
    fields += [(name, _json(task.get(name))) for name in ("payload", "progress", "result")]
    fields += [("error", f"{error['code']}: {error['message']}" if error else None)]
    for which in ("parents", "children"):
        fields += [(which, [f"{each['id']} {each['status']}" for each in task.get(which) or ()])]
    return [*fields, *(("attempts", attempt_line(each)) for each in task.get("attempts") or ())]


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _filter(
    status: list[str] | None,
    queue: str | None,
    kind: str | None,
    name: str | None,
    tag: list[str] | None,
    search: str | None,
    since: str | None,
    batch_lines: bool,
) -> dict[str, Any]:
    """As the query of a list."""
    created_from = moment(since, time.time()) if since else None
    given = {"status": status, "queue": queue, "kind": kind, "name": name, "tag": tag, "q": search, "created_from": created_from}
    if batch_lines:
        given["batch_lines"] = "true"
    return {name: value for name, value in given.items() if value is not None}


def _filter_body(status: list[str] | None, queue: str | None, kind: str | None, name: str | None, tag: list[str] | None) -> dict[str, Any]:
    """As the body of an action."""
    given = {"status": status, "queue": queue, "kind": kind, "name": name, "tags": tag}
    return {name: value for name, value in given.items() if value is not None}


def _act(session: Session, action: str, ids: list[str] | None, wanted: dict[str, Any], yes: bool, how: Mapping[str, bool]) -> None:
    """`how`: more fields of the action."""
    if ids:
        query = "?with_dependents=true" if how.get("with_dependents") else ""
        answers = [session.api.post(f"/api/tasks/{segment(task_id)}/{action}{query}") for task_id in ids]
        session.out.table({"data": answers}, ("id", "status"), [(answer["id"], answer["status"]) for answer in answers])
        return
    if not wanted and not how.get("all"):
        raise Failed(f"name the tasks to {action}, or a filter such as --queue, or --all", ExitCode.USAGE)
    answer = session.api.post("/api/tasks/actions", {"action": action, "filter": wanted, "dry_run": not yes, **how})
    session.out.item(answer, [("matched", answer["matched"]), ("done", answer["done"] if yes else None)])
    if not yes:
        session.out.note("nothing was changed; add --yes to do it")


def _pages(session: Session, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = session.api.get("/api/tasks", **params, limit=_MOST_AT_ONCE, after=after)
        yield from page["data"]
        after = page["after"]
        if after is None:
            return


def _follow(session: Session, task_id: str) -> int:
    """Notes what changes; at the end the task as `show` prints it."""
    printed = ""
    while True:
        task = session.api.get(f"/api/tasks/{segment(task_id)}")
        now = state_line(task)
        if now != printed:
            session.out.note(now)
            printed = now
        if task["status"] in _OVER:
            session.out.item(task, _fields(task))
            return ExitCode.OK if task["status"] == "succeeded" else ExitCode.FAILURE
        time.sleep(_LOOK_EVERY_SECONDS)


def _wait_for_all(session: Session, ids: list[str]) -> int:
    left, bad = list(ids), 0
    while left:
        task = session.api.get(f"/api/tasks/{segment(left[0])}")
        if task["status"] not in _OVER:
            time.sleep(_LOOK_EVERY_SECONDS)
            continue
        bad += task["status"] != "succeeded"
        left.pop(0)
    session.out.note(f"{len(ids) - bad:,} succeeded, {bad:,} did not")
    return ExitCode.FAILURE if bad else ExitCode.OK
