"""`penstock tokens`: join tokens, with which workers and runners introduce themselves."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import date, duration_seconds

app = group("Join tokens for workers and runners: create, list, revoke.")


@app.command(epilog="Example: penstock tokens create --role worker --expires 1h")
@gateway_command
def create(
    session: Session,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Who may join with it: worker or runner.")] = "worker",
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="Lifetime, for example 7d. [set by the gateway]")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG", help="The joining process serves only this organisation.")] = None,
) -> None:
    """Create a join token. Its secret is shown once."""
    body = {
        "role": role,
        "expires_in_seconds": duration_seconds(expires) if expires else None,
        "org_id": session.org_id(org),
    }
    token = session.api.post("/api/join-tokens", body)
    fields = [
        ("id", token["id"]),
        ("role", token.get("role")),
        ("organisation", token.get("org_id")),
        ("state", _state(token)),
        ("secret", token.get("secret")),
    ]
    session.out.secret(token, fields, "Keep the secret now: it is not shown again.")


@app.command("list", epilog="Example: penstock tokens list")
@gateway_command
def list_tokens(session: Session) -> None:
    """List the join tokens."""
    answer = session.api.listed("/api/join-tokens")
    rows = [
        (token["id"], token.get("role"), token.get("hint"), token.get("org_id"), date(token.get("created_at")), _state(token))
        for token in answer["data"]
    ]
    session.out.table(answer, ("id", "role", "prefix", "organisation", "created", "state"), rows)


@app.command(epilog="Example: penstock tokens revoke jtk_01m8natpmkgf9sm14bgrkq7me1")
@gateway_command
def revoke(
    session: Session,
    token_id: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="Id of the token, from `penstock tokens list`.")],
    expel: Annotated[bool, typer.Option("--expel", help="Also remove the workers and runners that joined with it.")] = False,
) -> None:
    """Revoke a join token. Workers and runners that have joined with it stay, unless you add --expel."""
    session.api.delete(session.path("/api/join-tokens", token_id, "join token") + ("?expel=true" if expel else ""))
    session.out.done(f"revoked {token_id}")


def _state(token: Mapping[str, Any]) -> str:
    if token.get("revoked_at"):
        return f"revoked {date(token['revoked_at'])}"
    return f"until {date(token['expires_at'])}" if token.get("expires_at") else "active"
