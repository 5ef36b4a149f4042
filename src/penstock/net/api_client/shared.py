"""The clients that decorated functions use when a program names none: made at their first use, with `penstock.Client()`'s defaults."""

import asyncio
import os
from threading import Lock
from weakref import WeakKeyDictionary

from penstock.net.api_client.async_client import AsyncClient
from penstock.net.api_client.client import Client

_lock = Lock()
_clients: dict[int, Client] = {}
"""By process: connections must not be shared over a fork."""
_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()


def shared_client() -> Client:
    """This process's own. Raises UnknownProfile, NotAnAddress, ProfileProblem."""
    with _lock:
        client = _clients.get(os.getpid())
        if client is None:
            _clients.clear()
            client = _clients[os.getpid()] = Client()
        return client


def shared_async_client() -> AsyncClient:
    """The running loop's own. Raises RuntimeError without a running loop, and as `shared_client`."""
    loop = asyncio.get_running_loop()
    client = _async_clients.get(loop)
    if client is None:
        client = _async_clients[loop] = AsyncClient()
    return client
