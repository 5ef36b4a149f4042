"""The clients that decorated functions use when a program names none: made at their first use, with `penstock.Client()`'s defaults."""

import asyncio
import os
from threading import Lock
from weakref import WeakKeyDictionary

from penstock.base.task_connection import TaskConnection, task_connection
from penstock.net.api_client.async_client import AsyncClient
from penstock.net.api_client.client import Client

_Owner = tuple[int, TaskConnection | None]
"""Connections must not be shared over a fork, nor keys between tasks."""
_lock = Lock()
_clients: dict[_Owner, Client] = {}
_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Owner, AsyncClient]] = WeakKeyDictionary()


def shared_client() -> Client:
    """That of this process, and inside a task that of the task. Raises UnknownProfile, NotAnAddress, ProfileProblem."""
    owner = (os.getpid(), task_connection())
    with _lock:
        client = _clients.get(owner)
        if client is None:
            for earlier in [each for each in _clients if each[0] == owner[0]]:
                _clients.pop(earlier).close()
            client = _clients[owner] = Client()
        return client


def shared_async_client() -> AsyncClient:
    """As `shared_client`, for the running loop. Raises RuntimeError without a running loop."""
    loop, owner = asyncio.get_running_loop(), (os.getpid(), task_connection())
    known = _async_clients.get(loop)
    if known is not None and known[0] == owner:
        return known[1]
    client = AsyncClient()
    _async_clients[loop] = (owner, client)
    return client
