"""`penstock queues`: what waits where, and its limits."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date

app = group("Queues of tasks: list, pause, resume, limit.")

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Name of the queue.")]


@app.command("list", epilog="Example: penstock queues list")
@gateway_command
def list_queues(session: Session) -> None:
    """List the queues with the number of their tasks."""
    answer = session.api.get("/api/queues")
    columns = ("queue", "state", "ready#", "running#", "scheduled#", "blocked#", "max running#", "rate/s", "waiting since")
    session.out.table(answer, columns, [_row(queue) for queue in answer["data"]])


@app.command(epilog="Example: penstock queues pause low")
@gateway_command
def pause(session: Session, queue: QueueName) -> None:
    """Start no more tasks of a queue. Running tasks continue. A queue may be paused before its first task."""
    answer = session.api.post(f"/api/queues/{segment(queue)}/pause")
    session.out.done(f"paused {queue}{_if_empty(session, answer)}")


@app.command(epilog="Example: penstock queues resume low")
@gateway_command
def resume(session: Session, queue: QueueName) -> None:
    """Start tasks of a paused queue again."""
    answer = session.api.post(f"/api/queues/{segment(queue)}/resume")
    session.out.done(f"resumed {queue}{_if_empty(session, answer)}")


@app.command(epilog="Example: penstock queues limit low --max-running 5 --rate none")
@gateway_command
def limit(
    session: Session,
    queue: QueueName,
    max_running: Annotated[
        str | None, typer.Option(metavar="N", help="Tasks at the same time over all runners; none removes the limit.")
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="N", help="Starts per second; none removes the limit.")] = None,
) -> None:
    """Limit a queue. Options that you leave out do not change."""
    changes: dict[str, Any] = {}
    if max_running is not None:
        changes["max_running"] = _number(max_running, int)
    if rate is not None:
        changes["rate_per_second"] = _number(rate, float)
    if not changes:
        raise Failed("name a limit: --max-running or --rate", ExitCode.USAGE)
    answer = session.api.change(f"/api/queues/{segment(queue)}", changes)
    session.out.item(answer, [(name.replace("_", " "), answer.get(name)) for name in ("name", "paused", "max_running", "rate_per_second")])


def _if_empty(session: Session, queue: Mapping[str, Any]) -> str:
    """A hint at a mistyped name: the queue has no tasks. The names of the other queues are asked for in that case alone."""
    if session.out.json or any(queue[state] for state in ("blocked", "scheduled", "ready", "running")):
        return ""
    others = [each["name"] for each in session.api.get("/api/queues")["data"] if each["name"] != queue["name"]]
    return f"; it has no tasks now. Other queues: {', '.join(others)}" if others else "; it has no tasks now"


def _number(text: str, kind: type[int] | type[float]) -> float | None:
    if text == "none":
        return None
    try:
        return kind(text)
    except ValueError:
        raise Failed(f"{text!r} is neither a number nor none", ExitCode.USAGE) from None


def _row(queue: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        queue["name"],
        "paused" if queue["paused"] else "open",
        queue["ready"],
        queue["running"],
        queue["scheduled"],
        queue["blocked"],
        queue["max_running"],
        queue["rate_per_second"],
        date(queue["oldest_ready_at"]),
    )
