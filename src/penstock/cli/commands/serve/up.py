"""`penstock up`: everything on this machine."""

from typing import Annotated

import typer

from penstock.base import lean
from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock up --port 18080")
@command
def up(
    host: process.HostOption = None,
    port: process.PortOption = None,
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Number of simulated workers. [2; 0 with --model or --upstream]")] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="PATH_OR_HUB_ID", help="Start a worker for this Hugging Face model; repeatable.")
    ] = None,
    upstream: process.UpstreamOption = None,
    imports: Annotated[list[str] | None, typer.Option("--import", metavar="MODULE", help="Module with task functions; repeatable.")] = None,
    discover: Annotated[bool | None, typer.Option("--discover/--no-discover", help="Find inference servers on this machine.")] = None,
    tls_cert: process.TlsCertOption = None,
    tls_key: process.TlsKeyOption = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the profile to write. [from the data directory]")] = None,
    chaos: Annotated[bool, typer.Option("--chaos", help="Break a worker from time to time, and report what follows.")] = False,
    chaos_every: Annotated[float | None, typer.Option(metavar="SECONDS", help="Mean time between two faults. [10]")] = None,
    chaos_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed; the same seed gives the same faults in the same order.")
    ] = None,
    config: process.ConfigOption = None,
    json_line: process.JsonLineOption = False,
) -> int:
    """Start a gateway with workers on this machine. The first start prints the keys."""
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "store": store,
        "workers": workers,
        "models": model or None,
        "upstreams": upstream or None,
        "imports": imports or None,
        "discover": discover,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "profile_name": profile,
        "chaos": {"on": chaos or None, "every_seconds": chaos_every, "seed": chaos_seed},
    }
    settings = process.load_settings(flags, config)
    with lean.imports():
        from penstock.app.up import platform as app

    return app.run(settings, json_line)
