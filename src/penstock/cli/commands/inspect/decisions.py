"""`penstock decisions`: the latest requests and what became of them."""

from typing import Annotated

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import millis

app = group("Decisions: list the latest requests, the refused ones too.")


@app.callback()
def _group() -> None:
    """Decisions: list the latest requests, the refused ones too."""  # one command below it is still a command below it


@app.command("list", epilog="Example: penstock decisions list --limit 50")
@gateway_command
def list_decisions(
    session: Session,
    org: Annotated[str | None, typer.Option(metavar="ORG", help="Only this organisation (administrators only).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Requests at most.")] = 20,
) -> None:
    """List the latest requests, newest first. `penstock explain ID` says more of one."""
    answer = session.api.get("/api/decisions", org=session.org_id(org), limit=limit)
    rows = [
        (
            each["id"],
            session.out.time(each["started_at"]),
            each["model"],
            each["outcome"],
            each["status"],
            each["code"],
            millis(each["seconds"] * 1000),
            millis(each["queue_seconds"] * 1000),
            millis(None if each["ttft_seconds"] is None else each["ttft_seconds"] * 1000),
            each["worker_id"],
        )
        for each in answer["data"]
    ]
    columns = ("request", "started", "model", "outcome", "status#", "code", "took#", "queue#", "first token#", "worker id")
    session.out.table(answer, columns, rows)
