"""`penstock migrate`: bring the store's schema up to date."""

from penstock.app import process
from penstock.app.settings import Settings
from penstock.storage.stores import open_store


def run(settings: Settings) -> int:
    """0 when the schema is current afterwards."""
    return process.run(lambda: _migrate(settings))


async def _migrate(settings: Settings) -> int:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = await open_store(settings.store_url, migrate=True)
    await store.close()
    process.say("The store is up to date.")
    return 0
