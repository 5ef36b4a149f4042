"""`penstock usage`: what was used and what it cost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date, moment
from penstock.cli.output.money import currency_units
from penstock.cli.output.tables import cell

GROUPS = {"org": "org_id", "key": "key_id", "model": "model", "tier": "service_tier", "class": "service_class", "day": "day"}
_SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")


app = single()


@app.command(epilog="Example: penstock usage --by org,model --since 7d")
@gateway_command
def usage(
    session: Session,
    by: Annotated[str, typer.Option(metavar="LIST", help=f"Group by {', '.join(GROUPS)}; separate several with commas.")] = "model",
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="Start: an age such as 7d, or a date. [the beginning]")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="End, not included. [now]")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY_ID", help="Only this key.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only this model.")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG_ID", help="Only this organisation (administrators only).")] = None,
    records: Annotated[bool, typer.Option("--records", help="List single requests, newest first, instead of sums.")] = False,
    request: Annotated[str | None, typer.Option(metavar="REQUEST_ID", help="Show one request.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=1000, metavar="N", help="Rows at most.")] = None,
) -> None:
    """Show requests, tokens and cost by organisation, key, model, tier, class or day."""
    if request:
        _print_record(session, request)
        return
    now = datetime.now(UTC).timestamp()
    query = {
        "since": moment(since, now) if since else None,
        "until": moment(until, now) if until else None,
        "key": key,
        "model": model,
        "org": org,
        "limit": limit,
    }
    if records:
        _print_records(session, query)
    else:
        _print_report(session, _groups(by), query)


def _groups(by: str) -> tuple[str, ...]:
    groups = tuple(part.strip() for part in by.split(",") if part.strip())
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or not groups:
        raise Failed(f"cannot group by {', '.join(unknown) or 'nothing'}; there are: {', '.join(GROUPS)}", ExitCode.USAGE)
    return groups


def _print_report(session: Session, groups: tuple[str, ...], query: Mapping[str, Any]) -> None:
    answer = session.api.get("/api/usage", group_by=",".join(groups), **query)
    rows = [(*(row.get(GROUPS[group]) for group in groups), *_numbers(row)) for row in answer["data"]]
    totals = answer.get("totals") or {}
    total = ("total", *("" for _ in groups[1:]), *_numbers(totals))
    columns = (*groups, "requests#", "prompt#", "cached#", "completion#", "cost#")
    session.out.table(answer, columns, rows, total=total)
    estimated = totals.get("estimated_requests") or 0
    if estimated and not session.out.json:
        session.out.note(f"{cell(estimated)} of the requests are estimated: their engine did not report usage")


def _numbers(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(row.get(name, 0) for name in _SUMS), currency_units(row.get("cost_micros", 0)))


def _print_records(session: Session, query: Mapping[str, Any]) -> None:
    answer = session.api.get("/api/usage/records", **query)
    rows = [
        (
            record["request_id"],
            date(record.get("started_at")),
            record.get("model"),
            record.get("service_tier"),
            record.get("outcome"),
            record.get("prompt_tokens"),
            record.get("completion_tokens"),
            currency_units(record.get("cost_micros")),
        )
        for record in answer["data"]
    ]
    session.out.table(answer, ("request", "started", "model", "tier", "outcome", "prompt#", "completion#", "cost#"), rows)
    if answer.get("has_more") and not session.out.json:
        session.out.note("there are more: raise --limit or narrow --since and --until")


def _print_record(session: Session, request_id: str) -> None:
    record = session.api.get(f"/api/usage/records/{segment(request_id)}")
    session.out.item(record, [(name.replace("_", " "), _record_value(name, value)) for name, value in record.items()])


def _record_value(name: str, value: Any) -> Any:
    if name.endswith("_at"):
        return date(value)
    return currency_units(value) if name == "cost_micros" else value
