"""`penstock migrate`: bring the store's schema up to date."""

from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command()
@command
def migrate(data_dir: process.DataDirOption = None, store: process.StoreOption = None, config: process.ConfigOption = None) -> int:
    """Bring the store's schema up to date (one process at a time; the others wait)."""
    settings = process.load_settings({"data_dir": data_dir, "store": store}, config)
    from penstock.app import migrate as app

    return app.run(settings)
