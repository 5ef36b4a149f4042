"""`penstock migrate`: bring the store's schema up to date."""

from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock migrate --store postgresql://penstock@127.0.0.1/penstock")
@command
def migrate(
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    create: Annotated[bool, typer.Option("--create", help="Make a new installation when the database file is not there.")] = False,
    config: process.ConfigOption = None,
) -> int:
    """Create or update the schema of the store. Name the store as for the gateway."""
    settings = process.load_settings({"data_dir": data_dir, "store": store}, config)
    from penstock.app.offline import migrate as app

    return app.run(settings, create=create)
