"""`penstock worker`: one worker, which joins a gateway."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock worker --join http://192.0.2.10:8080 --token pjt-... --engine ollama --model qwen3:8b")
@command
def worker(
    join: Annotated[str | None, typer.Option(metavar="URL", help="Address of the gateway to join.")] = None,
    token: Annotated[str | None, typer.Option(metavar="TOKEN", help="Join token; prefer PENSTOCK_WORKER__TOKEN.")] = None,
    ca_file: process.CaFileOption = None,
    engine: Annotated[str | None, typer.Option(metavar="NAME", help="Inference engine. [sim]")] = None,
    model: Annotated[str | None, typer.Option(metavar="PATH_OR_HUB_ID", help="Model to serve, as the engine names it.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the worker, for people.")] = None,
    host: process.HostOption = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port to listen on; 0 means any free port. [0]")] = None,
    advertise: Annotated[str | None, typer.Option(metavar="URL", help="Address under which gateways reach this worker.")] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Requests at the same time.")] = None,
    pool: Annotated[str | None, typer.Option(metavar="POOL", help="Use it only for one pool: priority, standard or overflow.")] = None,
    state_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Directory for the worker's identity.")] = None,
    upstream_url: Annotated[str | None, typer.Option(metavar="URL", help="Engine openai: address of the server.")] = None,
    upstream_secret: Annotated[str | None, typer.Option(metavar="SECRET", help="Engine openai: bearer token of the server.")] = None,
    allow_faults: Annotated[bool, typer.Option("--allow-faults", help="Let requests ask for faults (only for tests).")] = False,
    engine_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the engine; repeatable.")] = None,
    config: process.ConfigOption = None,
) -> int:
    """Start a worker: it runs an inference engine and joins a gateway."""
    flags = {
        "join": join,
        "token": token,
        "ca_file": ca_file,
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
