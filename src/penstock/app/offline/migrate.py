"""`penstock migrate`: bring the store's schema up to date."""

from penstock.app import process
from penstock.app.offline import place
from penstock.app.settings import Settings
from penstock.domain.ports import StoreProblem
from penstock.storage.stores import open_store


def run(settings: Settings, *, create: bool) -> int:
    """0 when the schema is current afterwards.

    A database file that nothing names and that is not there is a mistake: it becomes a new installation only with `create`.
    """
    return process.run(lambda: _migrate(settings, create))


async def _migrate(settings: Settings, create: bool) -> int:
    file = place.sqlite_file(settings)
    named = bool(place.flags(settings))
    if file is not None and not file.exists() and not create and not named:
        raise StoreProblem(
            f"There is no store {file}. Name the one to migrate with --data-dir or --store, "
            "or add --create to make a new, empty installation there."
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = await open_store(settings.store_url, secret_key=settings.secret_key.get_secret_value().encode() or None, migrate=True)
    await store.close()
    process.say(f"The store {place.spoken(settings)} is up to date.")
    return 0
