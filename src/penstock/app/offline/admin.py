"""`penstock admin`: what only an operator who can read the store may do."""

import os
import secrets
from dataclasses import replace

from penstock.accounts.bootstrap import ADMIN_EMAIL
from penstock.accounts.passwords import Passwords
from penstock.app import process
from penstock.app.offline import place
from penstock.app.settings import Settings
from penstock.domain import keys
from penstock.domain.clock import SystemClock
from penstock.domain.ids import new_id
from penstock.domain.ports import Store, StoreProblem
from penstock.domain.principal import KeyRecord, Scope, User
from penstock.storage.stores import open_store

_SECRET_BYTES = 32
_KEY_NAME = "made by penstock admin reset"


def reset(settings: Settings, email: str, *, json_line: bool) -> int:
    """A new key with all rights and a new password; nothing that exists is revoked."""
    return process.run(lambda: _reset(settings, email or ADMIN_EMAIL, json_line))


def release(settings: Settings) -> int:
    """A restored copy takes the place of the original."""
    if not settings.hold_file.exists():
        process.say(f"{settings.data_dir} is not held.")
        return 0
    settings.hold_file.unlink()
    process.say("It is released. A gateway that runs on it must be restarted.")
    return 0


async def _reset(settings: Settings, email: str, json_line: bool) -> int:
    file = place.sqlite_file(settings)
    if file is not None and not file.exists():
        raise StoreProblem(f"There is no store {file}. Name the installation with --data-dir or --store.")
    own_key = settings.secret_key.get_secret_value().encode() or None
    store = await open_store(settings.store_url, secret_key=own_key)
    try:
        secret_key = own_key or await store.secret("api_keys", os.urandom(_SECRET_BYTES))
        facts = await _make(store, secret_key, email)
    finally:
        await store.close()
    if json_line:
        process.announce(facts)
        return 0
    lines = [
        f"{place.spoken(settings)} has a new key and a new password. They are shown once:",
        f"  API key         {facts['api_key']}",
        f"  administrator   {facts['admin_email']}  {facts['admin_password']}",
        "Save the key: `penstock profiles save NAME --base-url URL`. Other keys stay valid; `penstock keys list` shows them.",
    ]
    process.say("\n".join(lines))
    return 0


async def _make(store: Store, secret_key: bytes, email: str) -> dict[str, str]:
    """Raises StoreProblem when the installation was never started."""
    organisations = await store.accounts.organisations()
    if not organisations:
        raise StoreProblem("This store was never used: start a gateway on it, which prints the first key.")
    now = SystemClock().time()
    password, secret = secrets.token_urlsafe(18), keys.new_secret(keys.API_KEY)
    password_hash = await Passwords().hash(password)
    user = await store.accounts.user_by_email(email)
    if user is None:
        user = User(new_id("usr"), organisations[0].id, email, password_hash, admin=True, created_at=now)
        await store.accounts.create_user(user)
    else:
        await store.accounts.update_user(replace(user, password_hash=password_hash, admin=True))
    digest = keys.digest(secret_key, secret)
    await store.accounts.create_key(KeyRecord(new_id("key"), user.org_id, _KEY_NAME, digest, keys.hint(secret), frozenset(Scope), now))
    organisation = await store.accounts.organisation(user.org_id)
    if organisation is not None and organisation.disabled:
        await store.accounts.update_organisation(replace(organisation, disabled=False))
    return {"api_key": secret, "admin_email": user.email, "admin_password": password}
