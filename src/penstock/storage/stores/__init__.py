"""Where things are kept for good (a family): sqlite, postgres.

A member is chosen by the scheme of the store's URL and imported only then.
"""

from penstock.base.family import Family, UnknownMember
from penstock.domain.clock import Clock
from penstock.domain.ports import Store, StoreFactory, StoreProblem

STORES: Family[StoreFactory] = Family(__name__)

_MEMBERS = {"postgresql": "postgres"}


def make_store(url: str, *, secret_key: bytes | None = None, clock: Clock | None = None) -> Store:
    """The store at `sqlite:///file`, `sqlite://` (in memory) or `postgresql://...`, not yet open. Raises StoreProblem.

    `secret_key` seals what the store must be able to read again; None: a secret that the store keeps itself. `clock` is what tasks
    go by; None: the database server's, or this machine's when there is no server.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    try:
        member = STORES.member(_MEMBERS.get(scheme, scheme))
    except UnknownMember as error:
        raise StoreProblem(f"The store's URL must begin with sqlite:// or postgresql://: {error}.") from error
    except ImportError as error:
        raise StoreProblem(f"The store needs a package that is not installed ({error.name}): pip install 'penstock[{scheme}]'.") from error
    return member(url, secret_key=secret_key, clock=clock)


async def open_store(url: str, *, secret_key: bytes | None = None, clock: Clock | None = None, migrate: bool = False) -> Store:
    """Make the store and open it. Raises as `make_store` and `Store.open` do."""
    store = make_store(url, secret_key=secret_key, clock=clock)
    await store.open(migrate=migrate)
    return store
