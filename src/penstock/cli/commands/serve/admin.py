"""`penstock admin`: for an operator who can read the data directory."""

from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, group

app = group("The way back in: reset the administrator, release a restored copy.")


@app.command(epilog="Example: penstock admin reset --data-dir copy")
@command
def reset(
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="The administrator. [the first one]")] = "",
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    config: process.ConfigOption = None,
    json_line: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Make a new API key with all rights and a new password, when the old ones are lost. On SQLite, stop the gateway first."""
    settings = process.load_settings({"data_dir": data_dir, "store": store}, config)
    from penstock.app.offline import admin as app

    return app.reset(settings, email, json_line=json_line)


@app.command(epilog="Example: penstock admin release --data-dir copy")
@command
def release(data_dir: process.DataDirOption = None, config: process.ConfigOption = None) -> int:
    """Let a restored copy use the workers that are stored in it, and run its tasks and schedules."""
    settings = process.load_settings({"data_dir": data_dir}, config)
    from penstock.app.offline import admin as app

    return app.release(settings)
