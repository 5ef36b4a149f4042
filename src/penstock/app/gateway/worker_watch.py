"""Keeps the gateway's view of its workers true: a link to every worker, a probe of every upstream, a sweep once a second."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import httpx
import structlog

from penstock.compute.engines import Probe, ProbeFailed, probe, upstream_client
from penstock.compute.transport import WorkerLink
from penstock.compute.transport.http import HttpTransport
from penstock.domain.workers import ModelOffer, UpstreamAccess, WorkerKind, WorkerLoad, WorkerRecord
from penstock.net.reach import Reach
from penstock.serving.routing.worker_set import WorkerSet

log = structlog.get_logger("penstock.workers")
_SWEEP_SECONDS = 1.0
_SILENCE_SECONDS = 15.0
_REFUSED = "Errno 111"
_MOST_CLIENTS = 64


class WorkerWatch:
    """Told of records by `put` and `remove`; everything else it finds out by itself."""

    def __init__(self, fleet: WorkerSet, transport: HttpTransport, connect_seconds: float, probe_seconds: float) -> None:
        self._fleet = fleet
        self._transport = transport
        self._connect_seconds = connect_seconds
        self._probe_seconds = probe_seconds
        self._records: dict[str, WorkerRecord] = {}
        self._links: dict[str, WorkerLink] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, tuple[ModelOffer, ...]] = {}
        """What the operator named of an upstream; what it lists may change under us."""
        self._errors: dict[str, str] = {}
        self.held: set[str] = set()
        """Stored workers of an installation that was restored: not called before they join, or an operator changes them."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._clients: dict[UpstreamAccess, httpx.AsyncClient] = {}
        """One for all probes that are alike: making one loads the machine's certificates, which takes 20 ms."""

    def open(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = list(self._probes.values())
        for worker_id in list(self._records):
            self._disconnect(worker_id)
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        self._fleet.sweep()

    def admit(self, record: WorkerRecord) -> None:
        """As `put`, for a worker that has joined here or was changed here."""
        self.held.discard(record.id)
        self.put(record)

    def put(self, record: WorkerRecord) -> None:
        """A worker is there, or its record was edited."""
        before = self._records.get(record.id)
        if record.kind is WorkerKind.UPSTREAM:
            self._wanted[record.id] = record.models
            if before is not None:
                record = replace(record, models=before.models if before.models and not record.models else record.models)
        self._records[record.id] = record
        self._fleet.put(record)
        if before is None or _address(before) != _address(record):
            self._disconnect(record.id)
            self._connect(record)

    def error(self, worker_id: str) -> str:
        """Why it was not reached the last time; empty when it was."""
        return self._errors.get(worker_id, "")

    def remove(self, worker_id: str) -> None:
        self._disconnect(worker_id)
        self._errors.pop(worker_id, None)
        self._records.pop(worker_id, None)
        self._wanted.pop(worker_id, None)
        self._transport.forget(worker_id)
        self._fleet.remove(worker_id)

    def replace_all(self, records: Sequence[WorkerRecord], keep: frozenset[str]) -> None:
        """What the store has now; `keep` are workers that only this process knows (from its flags)."""
        for worker_id in set(self._records) - {record.id for record in records if not record.left_at} - keep:
            self.remove(worker_id)
        for record in records:
            if record.id not in self.held and not record.left_at:
                self.put(record)

    def reach_of(self, record: WorkerRecord) -> Reach | None:
        """Where this worker may be; None: anywhere."""
        return self._transport.reach_of(record)

    def _connect(self, record: WorkerRecord) -> None:
        if record.kind is WorkerKind.UPSTREAM:
            self._probes[record.id] = asyncio.get_running_loop().create_task(self._keep_probing(record.id))
            return
        worker_id = record.id

        def sign(load: WorkerLoad | None, draining: bool) -> None:
            self._errors.pop(worker_id, None)
            self._fleet.alive(worker_id, load, draining=draining)

        def lost(reason: str) -> None:
            said = "connection refused" if "refused" in reason.lower() or _REFUSED in reason else reason
            self._errors[worker_id] = f"the worker at {record.base_url}: {said}"
            self._fleet.lost(worker_id, refused=said != reason)

        link = WorkerLink(record, sign, lost, self._connect_seconds, _SILENCE_SECONDS, self.reach_of(record))
        self._links[worker_id] = link
        link.open()

    def _disconnect(self, worker_id: str) -> None:
        if (link := self._links.pop(worker_id, None)) is not None:
            link.close()
        if (task := self._probes.pop(worker_id, None)) is not None:
            task.cancel()

    async def _keep_probing(self, worker_id: str) -> None:
        before: Probe | None = None
        while True:
            record = self._records[worker_id]
            try:
                before = await self._probe(record, before)
            except (ProbeFailed, ValueError, OSError) as error:  # a name that no resolver takes is a ValueError
                log.info("upstream_unreachable", worker=record.name, reason=str(error))
                self._errors[worker_id] = str(error)
            else:
                self._errors.pop(worker_id, None)
                self._answered(record, before)
            await asyncio.sleep(self._probe_seconds)

    async def _probe(self, record: WorkerRecord, before: Probe | None) -> Probe:
        """Raises ProbeFailed."""
        access, named = record.access, bool(self._wanted.get(record.id))
        client = self._clients.get(access)
        if client is None:
            if len(self._clients) >= _MOST_CLIENTS:  # addresses and keys were edited again and again
                await self._clients.pop(next(iter(self._clients))).aclose()
            client = self._clients[access] = upstream_client(access)
        return await probe(record.base_url, record.secret, self._connect_seconds, before, client=client, access=access, named=named)

    # what an operator is told

    def records(self) -> list[WorkerRecord]:
        return list(self._records.values())

    def _answered(self, record: WorkerRecord, found: Probe) -> None:
        wanted = self._wanted.setdefault(record.id, record.models)
        if (offers := matching(wanted, found.models)) != record.models:
            record = replace(record, models=offers)
            self._records[record.id] = record
            self._fleet.put(record)
        self._fleet.set_unsupported_parameters(record.id, found.unsupported)
        self._fleet.alive(record.id, found.load)


def _address(record: WorkerRecord) -> tuple[object, ...]:
    return record.base_url, record.secret, record.access, record.kind


def matching(wanted: tuple[ModelOffer, ...], listed: Sequence[ModelOffer]) -> tuple[ModelOffer, ...]:
    """The offers of an upstream, filled in with what it lists. Empty `wanted`: everything listed.

    A wanted model is the listed one of its name; when the server lists a single other model, that one under the wanted name.
    """
    if not wanted:
        return tuple(listed)
    by_name = {offer.id: offer for offer in listed}
    result = []
    for offer in wanted:
        engine_name = offer.engine_name or (offer.id if offer.id in by_name or len(listed) != 1 else listed[0].id)
        known = by_name.get(engine_name)
        if known is None:
            result.append(offer)
        else:
            result.append(ModelOffer(offer.id, engine_name if engine_name != offer.id else "", known.context_length, known.capabilities))
    return tuple(result)
