"""`penstock plans`: what organisations may do."""

from penstock.cli.command import Session, gateway_command, group

app = group("Plans: list. Change them with the policy.")


@app.callback()
def _group() -> None:
    """Plans: list. Change them with the policy."""  # one command below it is still a command below it


@app.command("list", epilog="Example: penstock plans list")
@gateway_command
def list_plans(session: Session) -> None:
    """List the plans with their limits. `penstock policy` and `penstock apply` change them."""
    answer = session.api.get("/api/plans")
    columns = ("plan", "class", "tiers", "requests/min#", "tokens/min#", "at a time#", "spill")
    rows = [
        (
            plan["name"],
            plan["service_class"],
            plan["tiers"],
            plan["requests_per_minute"],
            plan["tokens_per_minute"],
            plan["concurrency"],
            plan["spill"],
        )
        for plan in answer["data"]
    ]
    session.out.table(answer, columns, rows)
