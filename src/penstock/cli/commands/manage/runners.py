"""`penstock runners`: who executes tasks."""

from typing import Annotated

import typer

from penstock.cli.command import Session, gateway_command, group

app = group("Runners: list, drain, resume, remove.")

_PATH = "/api/runners"
Runner = Annotated[str, typer.Argument(metavar="RUNNER", help="Id of the runner, the start of the id, or its name.")]


@app.command("list", epilog="Example: penstock runners list")
@gateway_command
def list_runners(session: Session) -> None:
    """List the runners with what they can run."""
    answer = session.api.listed(_PATH)
    rows = [
        (
            each["id"],
            each["name"],
            each["state"],
            session.out.age(each["last_beat_at"]),
            each["running"],
            each["slots"],
            each["queues"] or "all",
            each["kinds"],
            each["version"],
        )
        for each in answer["data"]
    ]
    session.out.table(answer, ("id", "name", "state", "last seen", "running#", "slots#", "queues", "kinds", "version"), rows)


@app.command(epilog="Example: penstock runners drain gpu-box-1")
@gateway_command
def drain(session: Session, runner: Runner) -> None:
    """Give a runner no new tasks. It finishes the tasks that it has."""
    session.api.post(session.path(_PATH, runner, "runner") + "/drain")
    session.out.done(f"draining {runner}")


@app.command(epilog="Example: penstock runners resume gpu-box-1")
@gateway_command
def resume(session: Session, runner: Runner) -> None:
    """Give tasks to a drained runner again."""
    session.api.post(session.path(_PATH, runner, "runner") + "/resume")
    session.out.done(f"resumed {runner}")


@app.command(epilog="Example: penstock runners remove gpu-box-1")
@gateway_command
def remove(session: Session, runner: Runner) -> None:
    """Expel a runner: its identity is forgotten, and it needs a token to join again. Its tasks run elsewhere."""
    session.api.delete(session.path(_PATH, runner, "runner"))
    session.out.done(f"removed {runner}")
