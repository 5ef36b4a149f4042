"""`penstock explain`: why a request went where it went."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.exits import ExitCode, Failed, RequestRefused
from penstock.cli.output.moments import date
from penstock.cli.output.tables import safe

app = single()


@app.command(epilog="Example: penstock explain --last")
@gateway_command
def explain(
    session: Session,
    request_id: Annotated[str | None, typer.Argument(metavar="ID", help="Our id, or the x-request-id that the client sent.")] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest request of your organisation.")] = False,
) -> None:
    """Explain a request: which worker got it and why, where the time went, which setting would have changed the outcome."""
    if (request_id is None) is not last:
        raise Failed("name a request's id, or --last", ExitCode.USAGE)
    if request_id is not None:
        decision = _decision(session, request_id.partition(";")[0])
    else:
        newest = session.api.get("/api/decisions", last=1)["data"]
        if not newest:
            raise Failed("there is no decision yet", ExitCode.NOT_FOUND, hint="send a request first, for example with `penstock chat`")
        decision = newest[0]
    if session.out.json:
        session.out.data(decision)
        return
    for line in lines(decision):
        print(safe(line))


def _decision(session: Session, request_id: str) -> Mapping[str, Any]:
    """By our id of the request; else by the `x-request-id` that the client sent, which the ledger knows."""
    try:
        found: Mapping[str, Any] = session.api.get(f"/api/decisions/{segment(request_id)}")
    except RequestRefused as refused:
        if refused.status != 404:
            raise
        try:
            record = session.api.get(f"/api/usage/records/{segment(request_id)}")
        except Failed:
            raise refused from None
        if record["request_id"] == request_id:
            raise refused from None
        found = session.api.get(f"/api/decisions/{segment(record['request_id'])}")
    return found


def lines(decision: Mapping[str, Any]) -> list[str]:
    """As a person reads it: who and what, the timeline, the candidates, the limits, what would have changed it."""
    text = [_headline(decision), _who(decision), ""]
    text += ["timeline", *(f"  {step['at_seconds']:9.3f} s  {step['what']}" for step in decision["timeline"])]
    text += _candidates(decision) + _limits(decision)
    if advice := decision["advice"]:
        text += ["", "what would have changed it"]
        text += [f"  {each['setting']}: {each['effect']}" for each in advice]
    else:
        text += ["", "no setting would have changed the outcome"]
    return text


def _headline(decision: Mapping[str, Any]) -> str:
    what = decision["outcome"].replace("_", " ")
    reason = f" ({decision['status']} {decision['code']})" if decision["outcome"] == "refused" else ""
    where = f" by {decision['worker_id']}" if decision["worker_id"] and decision["outcome"] != "refused" else ""
    return f"{decision['id']}  {what}{reason}{where} in {decision['seconds']:.3f} s"


def _who(decision: Mapping[str, Any]) -> str:
    parts = [date(decision["started_at"]), decision["model"], f"class {decision['service_class']}", f"plan {decision['plan']}"]
    if decision["pools"]:
        parts.append(f"pool {decision['pool'] or '-'} of {', '.join(decision['pools'])}")
    if decision["asked_tier"] or decision["tier"]:
        parts.append(f"tier {decision['tier'] or '-'} (asked: {decision['asked_tier'] or 'auto'})")
    return "  ".join(part for part in parts if part)


def _candidates(decision: Mapping[str, Any]) -> list[str]:
    if not decision["candidates"]:
        return []
    text = ["", f"candidates, as {decision['policy']} saw them ({len(decision['candidates'])} of {decision['available']})"]
    text.append("    worker                            in flight  tokens to do  cached  score")
    for each in decision["candidates"]:
        mark = "*" if each["chosen"] else " " if each["usable"] else "x"
        score = "-" if each["score"] is None else f"{each['score']:g}"
        busy = f"{each['in_flight']}/{each['limit']}"
        text.append(f"  {mark} {each['worker_id']:<32} {busy:>10} {each['outstanding_tokens']:>13} {each['cached_tokens']:>7}  {score}")
    if shadow := decision["shadow"]:
        verdict = "the same" if shadow["agreed"] else shadow["worker_id"] or "none"
        text.append(f"  {shadow['policy']} (shadow policy) would have chosen {verdict}")
    return text


def _limits(decision: Mapping[str, Any]) -> list[str]:
    if not decision["limits"]:
        return []
    text = ["", "limits, as reported to the client"]
    left = ((each["name"], each["remaining"], each["limit"]) for each in decision["limits"])
    return text + [f"  {name:<9} {remaining:>12,} of {limit:,} per minute left" for name, remaining, limit in left]
