"""`penstock bench`: a small closed-loop load on the endpoint, and what came of it."""

from typing import Annotated

import typer

from penstock.cli.client.load import Load, Summary
from penstock.cli.client.served_models import first_model
from penstock.cli.command import Session, gateway_command, single
from penstock.cli.exits import ExitCode

app = single()


@app.command(epilog="Example: penstock bench --requests 200 --concurrency 16")
@gateway_command
def bench(
    session: Session,
    requests: Annotated[int, typer.Option("--requests", "-n", min=1, max=100_000, metavar="N", help="Requests in total.")] = 100,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=512, metavar="N", help="Requests at the same time.")] = 8,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Stream the answers, to measure the time to the first token.")
    ] = True,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="Model. [the first that the gateway lists]")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Length limit of an answer, in tokens.")] = 32,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="The prompt.")] = "Count from one to one hundred in words.",
    max_seconds: Annotated[float, typer.Option(min=0.1, max=3600, metavar="S", help="Send no new request after this time.")] = 300.0,
) -> int:
    """Measure requests/s, time to first token, total time and tokens/s. Each client waits for its answer before it sends again.

    The load generator is simple and shares the machine. Use `make bench` to find the limits of the gateway.
    """
    import asyncio

    body = {"model": model or first_model(session.api), "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
    load = Load(session.api.connection, body, stream=stream, requests=requests, concurrency=concurrency, max_seconds=max_seconds)
    session.out.note(f"{requests} requests, {concurrency} at a time, to {session.api.connection.base_url}, model {body['model']}")
    summary = asyncio.run(load.run())
    session.out.item(summary.as_dict(), _lines(summary))
    return ExitCode.OK if summary.succeeded else ExitCode.FAILURE


def _lines(summary: Summary) -> list[tuple[str, str]]:
    times = [("first token", summary.first_token_ms), ("total", summary.total_ms)]
    return [
        ("requests", f"{summary.succeeded:,} answered, {summary.failed:,} failed, in {summary.seconds:.2f} s"),
        ("requests/s", f"{summary.requests_per_second:,.1f}"),
        ("tokens/s", f"{summary.tokens_per_second:,.1f}"),
        *((name, f"p50 {q['p50']:,.1f}  p95 {q['p95']:,.1f}  p99 {q['p99']:,.1f} ms") for name, q in times if q),
        *((f"error {code}", f"{count:,}") for code, count in summary.errors.items()),
    ]
