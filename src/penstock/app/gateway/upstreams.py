"""Servers that the gateway calls directly: those of its settings, and those found on this machine."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable

import structlog

from penstock.app.settings import UpstreamSettings
from penstock.compute.engines import ProbeFailed, probe
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord

log = structlog.get_logger("penstock.upstreams")
_DISCOVERY_SLOTS = 64
_DISCOVER_EVERY_SECONDS = 30.0
_DISCOVERY_TIMEOUT_SECONDS = 1.0


def configured(upstreams: Iterable[UpstreamSettings]) -> list[WorkerRecord]:
    """One record a server of the settings; its id stays the same over restarts."""
    return [
        WorkerRecord(
            id=_stable_id(f"{upstream.model}={upstream.url}"),
            name=upstream.model or upstream.url,
            kind=WorkerKind.UPSTREAM,
            engine="openai",
            base_url=upstream.url,
            models=(ModelOffer(upstream.model),) if upstream.model else (),
            slots=upstream.slots,
            pool=None if upstream.pool is None else upstream.pool.value,
            secret=upstream.secret.get_secret_value(),
        )
        for upstream in upstreams
    ]


def _stable_id(text: str) -> str:
    return f"ups_{hashlib.sha256(text.encode()).hexdigest()[:26]}"


class Discovery:
    """Looks at a few loopback ports now and then; what answers there as an OpenAI-compatible server is added with its models."""

    def __init__(self, ports: Iterable[int], found: Callable[[WorkerRecord], None]) -> None:
        self._ports = tuple(ports)
        self._found = found
        self._known: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """One look now, further ones beside everything else."""
        await self.look()
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        await asyncio.gather(*(self._look_at(port) for port in self._ports if port not in self._known))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_DISCOVER_EVERY_SECONDS)
            await self.look()

    async def _look_at(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        try:
            answer = await probe(url, "", _DISCOVERY_TIMEOUT_SECONDS)
        except ProbeFailed:
            return
        if not answer.models:
            return
        self._known.add(port)
        log.info("server_found", port=port, engine=answer.engine, models=[offer.id for offer in answer.models])
        record = WorkerRecord(
            id=_stable_id(url),
            name=f"{answer.engine}-{port}",
            kind=WorkerKind.UPSTREAM,
            engine=answer.engine,
            base_url=url,
            models=(),
            slots=_DISCOVERY_SLOTS,
        )
        self._found(record)
