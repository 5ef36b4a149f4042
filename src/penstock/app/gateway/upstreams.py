"""Servers that the gateway calls directly: those of its settings, and those found on this machine."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from penstock.app.settings import SettingsError, UpstreamSettings
from penstock.compute.engines import ProbeFailed, probe
from penstock.domain.workers import ModelOffer, UpstreamAccess, WorkerKind, WorkerRecord
from penstock.net.upstream_tls import TlsProblem, upstream_tls
from penstock.wire.upstream_access import proxy_of

log = structlog.get_logger("penstock.upstreams")
_DISCOVERY_SLOTS = 64
_DISCOVER_EVERY_SECONDS = 30.0
_DISCOVERY_TIMEOUT_SECONDS = 1.0


def configured(upstreams: Iterable[UpstreamSettings]) -> list[WorkerRecord]:
    """One record a server of the settings; its id stays the same over restarts. Raises SettingsError for a file that cannot be used."""
    return [
        WorkerRecord(
            id=_stable_id(f"{','.join(upstream.named)}={upstream.url}"),
            name=upstream.model or upstream.url,
            kind=WorkerKind.UPSTREAM,
            engine="openai",
            base_url=upstream.url,
            models=tuple(ModelOffer(name) for name in upstream.named),
            slots=upstream.slots,
            pool=None if upstream.pool is None else upstream.pool.value,
            secret=upstream.secret.get_secret_value(),
            access=_access(upstream),
        )
        for upstream in upstreams
    ]


def _access(upstream: UpstreamSettings) -> UpstreamAccess:
    access = UpstreamAccess(
        query=upstream.query,
        headers=tuple(upstream.headers.items()),
        secret_headers=tuple((name, value.get_secret_value()) for name, value in upstream.secret_headers.items()),
        ca=_text(upstream.ca_file, "ca_file"),
        client_certificate=_text(upstream.client_cert_file, "client_cert_file"),
        client_key=_text(upstream.client_key_file, "client_key_file"),
        proxy=proxy_of(upstream.proxy.get_secret_value()),
        probe_path=upstream.probe_path,
        requests_per_minute=upstream.requests_per_minute,
        tokens_per_minute=upstream.tokens_per_minute,
        normalise_reasoning=upstream.normalise_reasoning,
    )
    try:
        if access.ca or access.client_certificate:
            upstream_tls(access.ca, access.client_certificate, access.client_key)
    except TlsProblem as error:
        raise SettingsError(f"upstream {upstream.url}: {error}") from error
    return access


def _text(path: Path | None, setting: str) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"upstreams: {setting} {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from error


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
