"""`penstock orgs`: organisations and the plans they are on."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date

app = group("Organisations: list, create, show, update; plans.")

OrgId = Annotated[str, typer.Argument(metavar="ORG", help="Id of the organisation, the start of the id, or its name.")]


@app.command("list", epilog="Example: penstock orgs list")
@gateway_command
def list_orgs(session: Session) -> None:
    """List the organisations that you may see."""
    answer = session.api.listed("/api/orgs")
    rows = [(org["id"], org["name"], org["plan"], date(org.get("created_at")), _state(org)) for org in answer["data"]]
    session.out.table(answer, ("id", "name", "plan", "created", "state"), rows)


@app.command(epilog="Example: penstock orgs create Research --plan premium")
@gateway_command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the organisation, for people.")],
    plan: Annotated[str, typer.Option(metavar="PLAN", help="Plan; `penstock orgs plans` lists them.")] = "free",
) -> None:
    """Create an organisation."""
    org = session.api.post("/api/orgs", {"name": name, "plan": plan})
    session.out.item(org, _fields(org))


@app.command(epilog="Example: penstock orgs show org_01m8natphnrw5nws9cevhea5xm")
@gateway_command
def show(session: Session, org_id: OrgId) -> None:
    """Show one organisation."""
    org = session.api.get(session.path("/api/orgs", org_id, "organisation"))
    session.out.item(org, _fields(org))


@app.command(epilog="Example: penstock orgs update org_01m8natphnrw5nws9cevhea5xm --plan free")
@gateway_command
def update(
    session: Session,
    org_id: OrgId,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="New plan.")] = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable", help="Refuse all of its keys, or accept them again.")] = None,
) -> None:
    """Change an organisation's name or plan, or disable it."""
    if name is None and plan is None and disabled is None:
        raise Failed("nothing to change: give --name, --plan, --disable or --enable", ExitCode.USAGE)
    org = session.api.patch(session.path("/api/orgs", org_id, "organisation"), {"name": name, "plan": plan, "disabled": disabled})
    session.out.item(org, _fields(org))


@app.command(epilog="Example: penstock orgs plans")
@gateway_command
def plans(session: Session) -> None:
    """List the plans with their limits."""
    answer = session.api.get("/api/plans")
    rows = [
        (
            plan["name"],
            plan.get("service_class"),
            plan.get("default_tier"),
            plan.get("tiers"),
            plan.get("requests_per_minute"),
            plan.get("tokens_per_minute"),
            plan.get("concurrency"),
        )
        for plan in answer["data"]
    ]
    columns = ("name", "class", "default tier", "tiers", "requests/min#", "tokens/min#", "concurrency#")
    session.out.table(answer, columns, rows)


def _fields(org: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", org["id"]),
        ("name", org.get("name")),
        ("plan", org.get("plan")),
        ("created", date(org.get("created_at"))),
        ("state", _state(org)),
    ]


def _state(org: Mapping[str, Any]) -> str:
    return "disabled" if org.get("disabled") else "active"
