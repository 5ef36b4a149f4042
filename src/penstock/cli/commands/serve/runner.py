"""`penstock runner`: a process that executes tasks."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock runner --join http://192.0.2.10:8080 --token pjt-... --import chores")
@command
def runner(
    join: Annotated[str | None, typer.Option(metavar="URL", help="Address of the gateway to join.")] = None,
    token: Annotated[str | None, typer.Option(metavar="TOKEN", help="Join token; prefer PENSTOCK_RUNNER__TOKEN.")] = None,
    ca_file: process.CaFileOption = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="PostgreSQL store to work on, instead of a gateway.")] = None,
    imports: Annotated[list[str] | None, typer.Option("--import", metavar="MODULE", help="Module with task functions; repeatable.")] = None,
    queue: Annotated[list[str] | None, typer.Option(metavar="NAME[=SLOTS]", help="Run tasks only of this queue; repeatable. [all]")] = None,
    slots: Annotated[int | None, typer.Option(min=1, metavar="N", help="Inferences and webhooks at the same time. [32]")] = None,
    processes: Annotated[int | None, typer.Option(min=1, metavar="N", help="Functions at the same time. [4]")] = None,
    max_tasks_per_child: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Replace a process after so many functions; 0: never. [0]")
    ] = None,
    child_memory_mb: Annotated[
        int | None, typer.Option("--child-memory-mb", min=0, metavar="MB", help="Memory of a process for functions; 0: no limit. [0]")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the runner, for people.")] = None,
    state_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Directory for the runner's identity.")] = None,
    config: process.ConfigOption = None,
) -> int:
    """Start a runner: it takes tasks from a gateway or a PostgreSQL store and executes them."""
    flags = {
        "join": join,
        "token": token,
        "ca_file": ca_file,
        "store": store,
        "queues": queue or None,
        "slots": slots,
        "processes": processes,
        "max_tasks_per_child": max_tasks_per_child,
        "child_memory_mb": child_memory_mb,
        "name": name,
        "state_dir": state_dir,
    }
    settings = process.load_settings({"runner": flags, "imports": imports or None}, config)
    from penstock.app import runner as app

    return app.run(settings)
