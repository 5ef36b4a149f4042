"""`penstock keys`: API keys."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date, duration_seconds

app = group("API keys: create, list, show, revoke.")

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, the start of the id, its name, or how the key begins.")]


@app.command(epilog="Example: penstock keys create laptop --rpm 60 --expires 90d")
@gateway_command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key, for people.")],
    scope: Annotated[list[str] | None, typer.Option(metavar="SCOPE", help="Scope of the key; repeatable. [inference]")] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="Lifetime, for example 90d. [does not expire]")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="CIDR", help="Accept the key only from these addresses; repeatable.")] = None,
    rpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests per minute; at most the plan's.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens per minute; at most the plan's.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests at the same time; at most the plan's.")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG", help="Organisation of the key (administrators only). [yours]")] = None,
) -> None:
    """Create a key. Its secret is shown once."""
    key = session.api.post(
        "/api/keys",
        {
            "name": name,
            "scopes": scope or ["inference"],
            "expires_in_seconds": duration_seconds(expires) if expires else None,
            "allowed_networks": allow or None,
            "requests_per_minute": rpm,
            "tokens_per_minute": tpm,
            "concurrency": concurrency,
            "org_id": session.org_id(org),
        },
    )
    session.out.secret(key, [*_fields(key), ("secret", key.get("secret"))], "Keep the secret now: it is not shown again.")


@app.command("list", epilog="Example: penstock keys list")
@gateway_command
def list_keys(session: Session) -> None:
    """List the keys that you may see."""
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
    session.out.table(answer, ("id", "name", "prefix", "scopes", "organisation", "created", "state"), rows)


@app.command(epilog="Example: penstock keys show key_01m8natpmkxe5egf3q7jcyq530")
@gateway_command
def show(session: Session, key_id: KeyId) -> None:
    """Show one key, without its secret."""
    key = session.api.get(session.path("/api/keys", key_id, "key"))
    session.out.item(key, _fields(key))


@app.command(epilog="Example: penstock keys rotate laptop --overlap 7d")
@gateway_command
def rotate(
    session: Session,
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(metavar="DURATION", help="How long the old key stays valid; 0: it ends now.")] = "1d",
) -> None:
    """Replace a key: a new secret with the same name, scopes and limits. The old one ends after the overlap."""
    seconds = 0 if overlap == "0" else duration_seconds(overlap)
    key = session.api.post(session.path("/api/keys", key_id, "key") + "/rotate", {"overlap_seconds": seconds})
    session.out.secret(key, [*_fields(key), ("secret", key.get("secret"))], "Keep the secret now: it is not shown again.")


@app.command(epilog="Example: penstock keys update laptop --rpm 60 --expires 90d")
@gateway_command
def update(
    session: Session,
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="Lifetime from now; none: it does not expire.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="CIDR", help="Accept it only from these addresses; any removes them.")] = None,
    rpm: Annotated[int | None, typer.Option(min=0, metavar="N", help="Requests per minute; 0 removes the limit.")] = None,
    tpm: Annotated[int | None, typer.Option(min=0, metavar="N", help="Tokens per minute; 0 removes the limit.")] = None,
) -> None:
    """Change a key in use. Its secret stays. Options that you leave out do not change."""
    body = {
        "name": name,
        "expires_in_seconds": None if expires is None else 0 if expires == "none" else duration_seconds(expires),
        "allowed_networks": [] if allow == ["any"] else allow or None,
        "requests_per_minute": rpm,
        "tokens_per_minute": tpm,
    }
    if all(value is None for value in body.values()):
        raise Failed("name what to change, for example --rpm", ExitCode.USAGE)
    key = session.api.patch(session.path("/api/keys", key_id, "key"), body)
    session.out.item(key, _fields(key))


@app.command(epilog="Example: penstock keys revoke key_01m8natpmkxe5egf3q7jcyq530")
@gateway_command
def revoke(session: Session, key_id: KeyId) -> None:
    """Revoke a key. Every gateway refuses it within a second."""
    session.api.delete(session.path("/api/keys", key_id, "key"))
    session.out.done(f"revoked {key_id}")


def _fields(key: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", key["id"]),
        ("name", key.get("name")),
        ("prefix", key.get("hint")),
        ("scopes", sorted(key.get("scopes") or ())),
        ("organisation", key.get("org_id")),
        ("created", date(key.get("created_at"))),
        ("state", _state(key)),
        ("addresses", key.get("allowed_networks")),
        ("requests per minute", key.get("requests_per_minute")),
        ("tokens per minute", key.get("tokens_per_minute")),
        ("requests at the same time", key.get("concurrency")),
    ]


def _state(key: Mapping[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {date(key['revoked_at'])}"
    return f"until {date(key['expires_at'])}" if key.get("expires_at") else "active"
