"""`penstock usage`: what was used and what it cost."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date, duration_seconds, millis, moment, month_span
from penstock.cli.output.money import currency_units
from penstock.cli.output.tables import cell

GROUPS = {
    "org": "org_id",
    "key": "key_id",
    "model": "model",
    "tier": "service_tier",
    "class": "service_class",
    "day": "day",
    "currency": "currency",
}
_NAMED = {"org": "org_name", "key": "key_name"}
_SUMS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
_PAGE = 1000

app = single()


@app.command(epilog="Example: penstock usage --by org,model --month last --csv > november.csv")
@gateway_command
def usage(
    session: Session,
    by: Annotated[str, typer.Option(metavar="LIST", help=f"Group by {', '.join(GROUPS)}; separate several with commas.")] = "model",
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="Start: an age such as 7d, or a date. [the beginning]")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="End, not included. [now]")] = None,
    month: Annotated[str | None, typer.Option(metavar="MONTH", help="One month in UTC: this, last, or 2026-11.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only this key: id, start of the id, or name.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only this model.")] = None,
    org: Annotated[str | None, typer.Option(metavar="ORG", help="Only this organisation: id or name (administrators only).")] = None,
    tier: Annotated[str | None, typer.Option(metavar="TIER", help="Only this service tier.")] = None,
    service_class: Annotated[str | None, typer.Option("--class", metavar="CLASS", help="Only this service class.")] = None,
    records: Annotated[bool, typer.Option("--records", help="List single requests, newest first, instead of sums.")] = False,
    outcome: Annotated[
        str | None, typer.Option(metavar="OUTCOME", help="With --records: completed, client_left, failed or recovered.")
    ] = None,
    slower_than: Annotated[str | None, typer.Option(metavar="DURATION", help="With --records: only those that took longer.")] = None,
    request: Annotated[str | None, typer.Option(metavar="REQUEST_ID", help="Show one request, by our id or the client's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Rows at most. [1000; 100 with --records]")] = None,
) -> None:
    """Show requests, tokens and cost by organisation, key, model, tier, class or day."""
    if request:
        _print_record(session, request)
        return
    if (outcome or slower_than) and not records:
        raise Failed("--outcome and --slower-than choose single requests: add --records", ExitCode.USAGE)
    query = _times(since, until, month) | {
        "key": session.id_of("/api/keys", key, "key") if key else None,
        "model": model,
        "org": session.org_id(org),
        "tier": tier,
        "class": service_class,
    }
    if records:
        query |= {"outcome": outcome, "slower_than": duration_seconds(slower_than) if slower_than else None}
        _print_records(session, query, limit or 100)
    else:
        _print_report(session, _groups(by), query, limit or _PAGE)


def _times(since: str | None, until: str | None, month: str | None) -> dict[str, Any]:
    now = time.time()
    if month is not None:
        if since or until:
            raise Failed("--month is a start and an end: leave --since and --until out", ExitCode.USAGE)
        first, end = month_span(month, now)
        return {"since": first, "until": end}
    return {"since": moment(since, now) if since else None, "until": moment(until, now) if until else None}


def _groups(by: str) -> tuple[str, ...]:
    groups = tuple(part.strip() for part in by.split(",") if part.strip())
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or not groups:
        raise Failed(f"cannot group by {', '.join(unknown) or 'nothing'}; there are: {', '.join(GROUPS)}", ExitCode.USAGE)
    return groups


def _print_report(session: Session, groups: tuple[str, ...], query: Mapping[str, Any], limit: int) -> None:
    answer = session.api.get("/api/usage", group_by=",".join(groups), **query, limit=min(limit, 10_000))
    groups = tuple(group for group in groups if group != "currency")
    columns = [column for group in groups for column in ((group, f"{group} id") if group in _NAMED else (group,))]
    rows = [(*_group_cells(row, groups), *_numbers(row)) for row in answer["data"]]
    totals = answer.get("totals") or {}
    costs = totals.get("costs") or ()
    blanks = ("",) * max(0, len(columns) - 1)
    total = ("total", *blanks, *(totals.get(name, 0) for name in _SUMS), *_cost_cells(costs))
    heads = ("requests#", "prompt#", "cached#", "completion#", "reasoning#", "cost#", "currency")
    session.out.table(answer, (*columns, *heads), rows, total=total if columns else None)
    if session.out.is_data:
        return
    estimated = totals.get("estimated_requests") or 0
    if estimated:
        session.out.note(f"{cell(estimated)} of the requests are estimated: their engine did not report usage, or not as it can be")
    if answer.get("has_more"):
        session.out.note("there are more rows: raise --limit")


def _group_cells(row: Mapping[str, Any], groups: tuple[str, ...]) -> tuple[Any, ...]:
    found: list[Any] = []
    for group in groups:
        value = row.get(GROUPS[group])
        found += [row.get(_NAMED[group]) or "", value] if group in _NAMED else [value]
    return tuple(found)


def _numbers(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(row.get(name, 0) for name in _SUMS), currency_units(row.get("cost_micros", 0)), row.get("currency"))


def _cost_cells(costs: Any) -> tuple[str, str]:
    """One total for each currency; they are never added."""
    return "\n".join(currency_units(cost["cost_micros"]) for cost in costs), "\n".join(cost["currency"] for cost in costs)


def _print_records(session: Session, query: Mapping[str, Any], limit: int) -> None:
    found: list[Mapping[str, Any]] = []
    more = True
    while more and len(found) < limit:
        after = found[-1]["request_id"] if found else None
        page = session.api.get("/api/usage/records", **query, limit=min(_PAGE, limit - len(found)), after=after)
        found += page["data"]
        more = bool(page.get("has_more")) and bool(page["data"])
    columns = ("request", "started", "org", "key", "model", "tier", "outcome", "took#", "queue#", "first token#", "prompt#", "completion#")
    session.out.table({"data": found, "has_more": more}, (*columns, "cost#", "currency"), [_record_row(session, one) for one in found])
    if more and not session.out.is_data:
        session.out.note("there are more: raise --limit, or narrow --since and --until")


def _record_row(session: Session, record: Mapping[str, Any]) -> tuple[Any, ...]:
    took = (record["finished_at"] - record["started_at"]) * 1000
    return (
        record["request_id"],
        session.out.time(record.get("started_at")),
        record.get("org_name") or record.get("org_id"),
        record.get("key_name") or record.get("key_id"),
        record.get("model"),
        record.get("service_tier"),
        record.get("outcome"),
        millis(took),
        millis(record.get("queue_ms")),
        millis(record.get("ttft_ms")),
        record.get("prompt_tokens"),
        record.get("completion_tokens"),
        currency_units(record.get("cost_micros")),
        record.get("currency"),
    )


def _print_record(session: Session, request_id: str) -> None:
    record = session.api.get(f"/api/usage/records/{segment(request_id)}")
    took = (record["finished_at"] - record["started_at"]) * 1000
    fields = [_record_field(name, value) for name, value in record.items()]
    session.out.item(record, [*fields, ("took", millis(took))])


def _record_field(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_at"):
        return name.replace("_", " "), date(value, seconds_too=True)
    if name == "cost_micros":
        return "cost", currency_units(value)
    if name.endswith("_ms"):
        return {"ttft_ms": "first token", "queue_ms": "queue"}.get(name, name), millis(value)
    return name.replace("_", " "), value
