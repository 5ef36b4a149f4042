"""`penstock workers`: who makes the tokens, and how they are."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import age, date

app = group("Workers and upstreams: list, show, add, remove, drain, resume.")

WorkerId = Annotated[str, typer.Argument(metavar="WORKER_ID", help="Id of the worker, from `penstock workers list`.")]


@app.command("list", epilog="Example: penstock workers list")
@gateway_command
def list_workers(session: Session) -> None:
    """List all workers with their state and load."""
    answer = session.api.listed("/api/workers")
    now = time.time()
    rows = [
        (
            worker["id"],
            worker["name"],
            worker.get("engine"),
            _model_ids(worker),
            _state(worker),
            age(worker.get("state_since"), now),
            worker.get("host"),
            worker.get("in_flight"),
            worker.get("slots"),
            _kv_usage(worker),
            worker.get("pool") or "shared",
            worker.get("last_error"),
        )
        for worker in answer["data"]
    ]
    columns = ("id", "name", "engine", "models", "state", "since", "host", "in flight#", "slots#", "KV#", "pool", "last error")
    session.out.table(answer, columns, rows)


@app.command(epilog="Example: penstock workers show wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def show(session: Session, worker_id: WorkerId) -> None:
    """Show one worker."""
    worker = session.api.get(f"/api/workers/{segment(worker_id)}")
    session.out.item(worker, _fields(worker))


@app.command(epilog="Example: penstock workers add lab http://192.0.2.11:8000 --slots 64")
@gateway_command
def add(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the server, for people.")],
    address: Annotated[str, typer.Argument(metavar="URL", help="Address of an OpenAI-compatible server.")],
    model: Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Serve only this model; repeatable. [all that it lists]")] = None,
    slots: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests at the same time.")] = None,
    secret: Annotated[
        str | None,
        typer.Option(envvar="PENSTOCK_UPSTREAM_SECRET", metavar="SECRET", help="Bearer token that the server expects.", show_envvar=True),
    ] = None,
    pool: Annotated[str | None, typer.Option(metavar="POOL", help="Use it only for one pool: priority, standard or overflow.")] = None,
) -> None:
    """Add an upstream: a server that the gateway calls directly."""
    models = [{"id": model_id} for model_id in model] if model else None
    body = {"name": name, "base_url": address, "models": models, "slots": slots, "secret": secret, "pool": pool}
    worker = session.api.post("/api/workers", body)
    session.out.item(worker, _fields(worker))


@app.command(epilog="Example: penstock workers remove wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def remove(session: Session, worker_id: WorkerId) -> None:
    """Delete a worker or upstream. A worker needs a token to join again."""
    session.api.delete(f"/api/workers/{segment(worker_id)}")
    session.out.done(f"removed {worker_id}")


@app.command(epilog="Example: penstock workers drain wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def drain(session: Session, worker_id: WorkerId) -> None:
    """Send no new requests to a worker. It finishes the requests that it has."""
    session.api.post(f"/api/workers/{segment(worker_id)}/drain")
    session.out.done(f"draining {worker_id}")


@app.command(epilog="Example: penstock workers resume wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def resume(session: Session, worker_id: WorkerId) -> None:
    """Send requests to a drained worker again."""
    session.api.post(f"/api/workers/{segment(worker_id)}/resume")
    session.out.done(f"resumed {worker_id}")


def _fields(worker: Mapping[str, Any]) -> list[tuple[str, Any]]:
    load = worker.get("load") or {}
    return [
        ("id", worker["id"]),
        ("name", worker.get("name")),
        ("kind", worker.get("kind")),
        ("engine", worker.get("engine")),
        ("address", worker.get("base_url")),
        ("models", _model_ids(worker)),
        ("state", _state(worker)),
        ("since", date(worker.get("state_since"))),
        ("last error", worker.get("last_error")),
        ("host", worker.get("host")),
        ("slots", worker.get("slots")),
        ("pool", worker.get("pool") or "shared"),
        ("organisation", worker.get("org_id")),
        ("in flight", worker.get("in_flight")),
        ("limit", worker.get("limit")),
        ("outstanding tokens", worker.get("outstanding_tokens")),
        ("running / waiting", f"{load.get('running', 0)} / {load.get('waiting', 0)}" if load else None),
        ("KV cache", _kv_usage(worker)),
        ("version", worker.get("version")),
        ("joined", date(worker.get("joined_at"))),
        ("last seen", date(worker.get("last_seen_at"))),
    ]


def _model_ids(worker: Mapping[str, Any]) -> list[str]:
    return [model["id"] if isinstance(model, Mapping) else str(model) for model in worker.get("models") or ()]


def _state(worker: Mapping[str, Any]) -> str:
    state = str(worker.get("state") or "")
    return f"{state}, ejected" if worker.get("ejected") else state


def _kv_usage(worker: Mapping[str, Any]) -> str:
    usage = (worker.get("load") or {}).get("kv_usage")
    return "" if usage is None else f"{usage:.0%}"
