"""The workers that have joined, as the store keeps them. Asynchronous; may raise PortUnavailable."""

from typing import Protocol

from penstock.domain.workers import WorkerLoad, WorkerRecord


class WorkerStore(Protocol):
    """Workers and upstreams by id."""

    async def save(self, worker: WorkerRecord) -> None:
        """Insert, or replace the one of that id."""
        ...

    async def get(self, worker_id: str) -> WorkerRecord | None: ...
    async def by_public_key(self, public_key: bytes) -> WorkerRecord | None: ...
    async def all(self) -> list[WorkerRecord]:
        """In the order in which they joined."""
        ...

    async def remove(self, worker_id: str) -> bool:
        """False when there is none of that id."""
        ...

    async def beat(self, worker_id: str, load: WorkerLoad, at: float) -> bool:
        """Note a heartbeat; not a change that other gateways are told of. False: no such worker."""
        ...
