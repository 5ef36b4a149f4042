"""`penstock restore`: an installation from a backup."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock restore penstock-2026-11-30.tar.gz --data-dir copy")
@command
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `penstock backup` wrote.")],
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move an installation that is there aside; nothing is deleted.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="It takes the place of the original: use its workers, and run its tasks and schedules.")
    ] = False,
    config: process.ConfigOption = None,
) -> int:
    """Make an installation from a backup. It is held: it calls no worker of the original until `penstock admin release`."""
    settings = process.load_settings({"data_dir": data_dir, "store": store}, config)
    from penstock.app.offline import restore as app

    return app.run(settings, source, replace=replace, hold=not release)
