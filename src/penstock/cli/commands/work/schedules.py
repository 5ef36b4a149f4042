"""`penstock schedules`: tasks by the calendar."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date

app = group("Schedules: create, list, show, pause, resume, remove.")

_PATH = "/api/schedules"
Schedule = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Id of the schedule, the start of the id, or its name.")]


@app.command(epilog="Example: penstock schedules create nightly '30 3 * * *' nightly_report --time-zone Europe/Berlin")
@gateway_command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help="When: minute, hour, day, month, weekday; for example '30 3 * * *'.")],
    task: Annotated[str, typer.Argument(metavar="FUNCTION", help="Name of the function that runs.")],
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="Argument of the function.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Kind of the tasks. [function]")] = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="Queue of the tasks. [as the function says]")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Tag of the tasks; repeatable.")] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, metavar="N", help="Attempts at each task. [as the function says]")] = None,
    time_zone: Annotated[str | None, typer.Option(metavar="ZONE", help="Time zone of CRON, for example Europe/Berlin. [UTC]")] = None,
    missed: Annotated[str | None, typer.Option(metavar="RULE", help="Runs that nothing was up for: one, all or none. [one]")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Create it paused.")] = False,
) -> None:
    """Run a function at the times of a cron expression."""
    spec = {"kind": kind, "name": task, "payload": _payload(payload), "queue": queue, "tags": tag, "max_attempts": max_attempts}
    body = {
        "name": name,
        "cron": cron,
        "time_zone": time_zone,
        "missed": missed,
        "paused": paused or None,
        "task": {field: value for field, value in spec.items() if value is not None},
    }
    schedule = session.api.post(_PATH, body)
    session.out.item(schedule, _fields(schedule))


@app.command("list", epilog="Example: penstock schedules list")
@gateway_command
def list_schedules(session: Session) -> None:
    """List the schedules with their next run."""
    answer = session.api.get(_PATH)
    rows = [
        (
            each["id"],
            each["name"],
            each["cron"],
            each["time_zone"],
            each["task"].get("name"),
            _state(each),
            session.out.time(each["next_at"]),
            session.out.time(each["last_at"]),
        )
        for each in answer["data"]
    ]
    session.out.table(answer, ("id", "name", "cron", "zone", "task", "state", "next", "last"), rows)


@app.command(epilog="Example: penstock schedules show nightly")
@gateway_command
def show(session: Session, schedule: Schedule) -> None:
    """Show one schedule with its task."""
    found = session.api.get(session.path(_PATH, schedule, "schedule"))
    session.out.item(found, _fields(found))


@app.command(epilog="Example: penstock schedules pause nightly")
@gateway_command
def pause(session: Session, schedule: Schedule) -> None:
    """Start nothing until it is resumed."""
    session.api.patch(session.path(_PATH, schedule, "schedule"), {"paused": True})
    session.out.done(f"paused {schedule}")


@app.command(epilog="Example: penstock schedules resume nightly")
@gateway_command
def resume(session: Session, schedule: Schedule) -> None:
    """Go on with a paused schedule."""
    found = session.api.patch(session.path(_PATH, schedule, "schedule"), {"paused": False})
    session.out.done(f"resumed {schedule}; next run {date(found['next_at'])}")


@app.command(epilog="Example: penstock schedules remove nightly")
@gateway_command
def remove(session: Session, schedule: Schedule) -> None:
    """Remove a schedule. Tasks that it made stay."""
    session.api.delete(session.path(_PATH, schedule, "schedule"))
    session.out.done(f"removed {schedule}")


def _payload(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"the payload is not JSON: {error}", ExitCode.USAGE) from error


def _state(schedule: Mapping[str, Any]) -> str:
    return "paused" if schedule["paused"] else "active"


def _fields(schedule: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", schedule["id"]),
        ("name", schedule["name"]),
        ("cron", schedule["cron"]),
        ("time zone", schedule["time_zone"]),
        ("state", _state(schedule)),
        ("missed runs", schedule["missed"]),
        ("task", json.dumps(schedule["task"], ensure_ascii=False)),
        ("next", date(schedule["next_at"])),
        ("last", date(schedule["last_at"])),
    ]
