"""`penstock tasks delete` and `penstock tasks priority`."""

from typing import Annotated

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command
from penstock.cli.exits import ExitCode, Failed

TaskIds = Annotated[list[str], typer.Argument(metavar="TASK_ID...", help="Ids of the tasks.")]


@gateway_command
def delete(session: Session, task_id: TaskIds) -> None:
    """Delete tasks that have ended, with their payloads and results."""
    for each in task_id:
        session.api.delete(f"/api/tasks/{segment(each)}")
    session.out.done(f"deleted {', '.join(task_id)}")


@gateway_command
def priority(
    session: Session,
    level: Annotated[int, typer.Argument(min=1, max=10, metavar="PRIORITY", help="1 to 10; 10 is the most urgent.")],
    task_id: TaskIds,
) -> None:
    """Change the priority of tasks that have not started."""
    answer = session.api.post(
        "/api/tasks/actions", {"action": "reprioritise", "filter": {"ids": task_id}, "priority": level, "dry_run": False}
    )
    if not answer["done"]:
        raise Failed("none of these tasks waits", ExitCode.NOT_FOUND)
    session.out.item(answer, [("matched", answer["matched"]), ("done", answer["done"])])
