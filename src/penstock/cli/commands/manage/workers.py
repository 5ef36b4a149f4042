"""`penstock workers`: who makes the tokens, and how they are."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.command import Session, gateway_command, group
from penstock.cli.output.moments import age, date

app = group("Workers and upstreams: list, show, add, remove, drain, resume.")

WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="Id of the worker, the start of the id, or its name.")]


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
    worker = session.api.get(session.path("/api/workers", worker_id, "worker"))
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
    query: Annotated[str | None, typer.Option(metavar="QUERY", help="Sent with every call, for example api-version=2024-10-21.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Header of every call; repeatable.")] = None,
    secret_header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Header that is never shown, for example api-key; repeatable.")
    ] = None,
    authorities: Annotated[
        Path | None, typer.Option("--upstream-ca-file", metavar="FILE", help="PEM: further authorities to trust.")
    ] = None,
    client_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: certificate to present to the server.")] = None,
    client_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: key of the client certificate.")] = None,
    proxy: Annotated[str | None, typer.Option(metavar="URL", help="HTTP proxy to go through.")] = None,
    probe_path: Annotated[str | None, typer.Option(metavar="PATH", help="Ask this path for a sign of life. [the list of models]")] = None,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Ask the server nothing; needs --model.")] = False,
    rpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests a minute that the server allows.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens a minute that the server allows.")] = None,
    normalise_reasoning: Annotated[
        bool, typer.Option("--normalise-reasoning", help="Put its reasoning under the one name reasoning_content.")
    ] = False,
) -> None:
    """Add an upstream: a server that the gateway calls directly."""
    url, _, in_url = address.partition("?")
    body: dict[str, Any] = {
        "name": name,
        "base_url": url,
        "models": [{"id": model_id} for model_id in model] if model else None,
        "slots": slots,
        "secret": secret,
        "pool": pool,
        "query": query or in_url or None,
        "headers": _headers(header),
        "secret_headers": _headers(secret_header),
        "ca": _text(authorities),
        "client_certificate": _text(client_cert),
        "client_key": _text(client_key),
        "proxy": proxy,
        "probe_path": "" if no_probe else probe_path,
        "requests_per_minute": rpm,
        "tokens_per_minute": tpm,
        "normalise_reasoning": normalise_reasoning or None,
    }
    worker = session.api.post("/api/workers", body)
    session.out.item(worker, _fields(worker))


def _headers(given: list[str] | None) -> dict[str, str] | None:
    """Raises typer.BadParameter, which does not repeat the value."""
    pairs = [text.partition(":") for text in given or ()]
    if not all(name.strip() and colon and value.strip() for name, colon, value in pairs):
        raise typer.BadParameter("a header is written 'NAME: VALUE'")
    return {name.strip(): value.strip() for name, _, value in pairs} or None


def _text(path: Path | None) -> str | None:
    """Raises typer.BadParameter."""
    try:
        return None if path is None else path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {getattr(error, 'strerror', None) or 'this is no text'}") from error


@app.command(epilog="Example: penstock workers remove wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def remove(session: Session, worker_id: WorkerId) -> None:
    """Delete a worker or upstream. A worker needs a token to join again."""
    session.api.delete(session.path("/api/workers", worker_id, "worker"))
    session.out.done(f"removed {worker_id}")


@app.command(epilog="Example: penstock workers drain wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def drain(session: Session, worker_id: WorkerId) -> None:
    """Send no new requests to a worker. It finishes the requests that it has."""
    session.api.post(session.path("/api/workers", worker_id, "worker") + "/drain")
    session.out.done(f"draining {worker_id}")


@app.command(epilog="Example: penstock workers resume wrk_01m8natt5r8j21jyrcmd85a2tw")
@gateway_command
def resume(session: Session, worker_id: WorkerId) -> None:
    """Send requests to a drained worker again."""
    session.api.post(session.path("/api/workers", worker_id, "worker") + "/resume")
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
        *_access(worker.get("access") or {}),
        ("from", {"gateway": "settings of the gateway"}.get(worker.get("source") or "")),
        ("version", worker.get("version")),
        ("joined", date(worker.get("joined_at"))),
        ("last seen", date(worker.get("last_seen_at"))),
    ]


def _model_ids(worker: Mapping[str, Any]) -> list[str]:
    return [model["id"] if isinstance(model, Mapping) else str(model) for model in worker.get("models") or ()]


def _state(worker: Mapping[str, Any]) -> str:
    state = str(worker.get("state") or "")
    if worker.get("ejected"):
        return f"{state}, ejected"
    return f"{state}, resting" if worker.get("resting_until") else state


def _access(access: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """How an upstream is called; a line that is None is not shown."""
    has = [word for word in ("ca", "client_certificate", "proxy") if access.get(f"has_{word}")]
    return [
        ("query", access.get("query") or None),
        ("headers", [f"{name}: {value}" for name, value in (access.get("headers") or {}).items()] or None),
        ("secret headers", access.get("secret_headers") or None),
        ("has", [word.replace("_", " ") for word in has] or None),
        ("probe", {None: None, "": "none"}.get(access.get("probe_path"), access.get("probe_path"))),
        ("requests per minute", access.get("requests_per_minute")),
        ("tokens per minute", access.get("tokens_per_minute")),
        ("reasoning", "normalised" if access.get("normalise_reasoning") else None),
    ]


def _kv_usage(worker: Mapping[str, Any]) -> str:
    usage = (worker.get("load") or {}).get("kv_usage")
    return "" if usage is None else f"{usage:.0%}"
