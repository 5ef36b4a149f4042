"""`penstock worker`: one worker, which joins a gateway."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command()
@command
def worker(
    join: Annotated[str | None, typer.Option(metavar="URL", help="Gateway to join.")] = None,
    token: Annotated[str | None, typer.Option(metavar="TOKEN", help="Join token; better in PENSTOCK_WORKER__TOKEN.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="NAME", help="What makes the tokens. [sim]")] = None,
    model: Annotated[str | None, typer.Option(metavar="PATH_OR_HUB_ID", help="Model to serve, as the engine understands it.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name that people see.")] = None,
    host: process.HostOption = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port to listen on; 0: any free one. [0]")] = None,
    advertise: Annotated[str | None, typer.Option(metavar="URL", help="URL that gateways dial.")] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Requests served at the same time.")] = None,
    pool: Annotated[str | None, typer.Option(metavar="POOL", help="Dedicate to one pool: priority, standard or overflow.")] = None,
    state_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the worker keeps its identity.")] = None,
    upstream_url: Annotated[str | None, typer.Option(metavar="URL", help="For the engine openai: the server to call.")] = None,
    upstream_secret: Annotated[str | None, typer.Option(metavar="SECRET", help="For the engine openai: its bearer token.")] = None,
    allow_faults: Annotated[bool, typer.Option("--allow-faults", help="Let requests ask for faults (tests only).")] = False,
    engine_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the engine; repeatable.")] = None,
    config: process.ConfigOption = None,
) -> int:
    """Start a worker that joins a gateway and makes tokens with an engine."""
    flags = {
        "join": join,
        "token": token,
        "engine": engine,
        "model": model,
        "name": name,
        "host": host,
        "port": port,
        "advertise": advertise,
        "slots": slots,
        "pool": pool,
        "state_dir": state_dir,
        "upstream_url": upstream_url,
        "upstream_secret": upstream_secret,
    }
    options = process.pairs(engine_option, "--engine-option")
    settings = process.load_settings({"worker": flags}, config)
    from penstock.app import worker as app

    return app.run(settings, allow_faults, options)
