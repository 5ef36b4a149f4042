"""`penstock keys`: API keys."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import date, duration_seconds

app = group("API keys: create, list, show, revoke.")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID")]


@app.command()
@gateway_command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name that people see.")],
    scope: Annotated[list[str] | None, typer.Option(metavar="SCOPE", help="What it may do; repeatable. [inference]")] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="Such as 90d; without it, the key does not expire.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="CIDR", help="Only from these addresses; repeatable.")] = None,
    rpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests a minute, below the organisation's.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens a minute, below the organisation's.")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG_ID", help="For this organisation (admins).")] = None,
) -> None:
    """Make a key; its secret is shown once."""
    key = session.api.post(
        "/api/keys",
        {
            "name": name,
            "scopes": scope or ["inference"],
            "expires_in_seconds": duration_seconds(expires) if expires else None,
            "allowed_networks": allow or None,
            "requests_per_minute": rpm,
            "tokens_per_minute": tpm,
            "org_id": org,
        },
    )
    session.out.secret(key, [*_fields(key), ("secret", key.get("secret"))], "Keep the secret now: it is not shown again.")


@app.command("list")
@gateway_command
def list_keys(session: Session) -> None:
    """All keys that this key may see."""
    answer = session.api.listed("/api/keys")
    rows = [
        (
            key["id"],
            key["name"],
            key.get("hint"),
            sorted(key.get("scopes") or ()),
            key.get("org_id"),
            date(key.get("created_at")),
            _state(key),
        )
        for key in answer["data"]
    ]
    session.out.table(answer, ("id", "name", "begins with", "scopes", "organisation", "created", "state"), rows)


@app.command()
@gateway_command
def show(session: Session, key_id: KeyId) -> None:
    """One key, without its secret."""
    key = session.api.get(f"/api/keys/{segment(key_id)}")
    session.out.item(key, _fields(key))


@app.command()
@gateway_command
def revoke(session: Session, key_id: KeyId) -> None:
    """End a key now; every gateway refuses it within a second."""
    session.api.delete(f"/api/keys/{segment(key_id)}")
    session.out.done(f"revoked {key_id}")


def _fields(key: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", key["id"]),
        ("name", key.get("name")),
        ("begins with", key.get("hint")),
        ("scopes", sorted(key.get("scopes") or ())),
        ("organisation", key.get("org_id")),
        ("created", date(key.get("created_at"))),
        ("state", _state(key)),
        ("addresses", key.get("allowed_networks")),
        ("requests a minute", key.get("requests_per_minute")),
        ("tokens a minute", key.get("tokens_per_minute")),
    ]


def _state(key: Mapping[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {date(key['revoked_at'])}"
    return f"until {date(key['expires_at'])}" if key.get("expires_at") else "active"
