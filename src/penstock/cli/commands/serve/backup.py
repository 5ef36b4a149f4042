"""`penstock backup`: one file with everything."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock backup penstock-2026-11-30.tar.gz")
@command
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="New file to write; compressed when its name ends in .gz or .tgz.")],
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    config: process.ConfigOption = None,
) -> int:
    """Save the database, the stored files and the usage journal in one file. Penstock may run meanwhile."""
    settings = process.load_settings({"data_dir": data_dir, "store": store}, config)
    from penstock.app.offline import backup as app

    return app.run(settings, target)
