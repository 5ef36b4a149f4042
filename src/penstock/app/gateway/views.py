"""What the edge is shown of the rooms behind it."""

from collections.abc import Collection, Mapping, Sequence

from penstock.app.gateway import worker_logs
from penstock.app.gateway.changes import ChangePoll
from penstock.app.gateway.worker_watch import WorkerWatch
from penstock.compute.engines import ProbeFailed, probe
from penstock.domain.clock import Clock
from penstock.domain.errors import UpstreamFailed
from penstock.domain.models import ModelRecord, Price
from penstock.domain.principal import Principal
from penstock.domain.workers import ModelOffer, WorkerLoad, WorkerRecord, WorkerState
from penstock.edge.layers.services import LiveWorker, ServedModel
from penstock.serving.admission.gate import Gate
from penstock.serving.pipeline import Collaborators, Pipeline
from penstock.serving.pipeline.arrival import FREE_BODY_BYTES
from penstock.storage.journal.journal import Journal

_PROBE_SECONDS = 5.0
_RECENT_SECONDS = 15.0
"""Three heartbeats."""


class LiveWorkers:
    """Implements the control API's `WorkerDirectory`."""

    def __init__(self, deps: Collaborators, pipeline: Pipeline, watch: WorkerWatch, clock: Clock) -> None:
        self._deps = deps
        self._pipeline = pipeline
        self._watch = watch
        self._clock = clock
        self._since = clock.time()

    def snapshot(self) -> Sequence[LiveWorker]:
        now, wall = self._clock.monotonic(), self._clock.time()
        records = {record.id: record for record in self._watch.records()}
        return [
            LiveWorker(
                member.id,
                member.state,
                member.load,
                member.in_flight,
                member.outstanding_tokens,
                wall + member.ejected_until - now if member.ejected_until > now else None,
                member.limit,
                wall + member.state_since - now,
                member.last_sign >= member.state_since and now - member.last_sign < _RECENT_SECONDS,
                self._watch.error(member.id),
                wall + member.resting_until - now if member.resting_until > now else None,
                records.get(member.id),
            )
            for member in self._deps.workers.members()
        ]

    def models(self, org_id: str | None) -> Sequence[ServedModel]:
        offers = self._deps.workers.offers(org_id)
        ready = [member for member in self._deps.workers.members() if member.state is WorkerState.READY]
        served = []
        for model_id, offer in sorted(offers.items()):
            record = self._deps.catalogue.record(model_id) or ModelRecord(model_id, Price(), created_at=self._since)
            count = sum(any(each.id == model_id for each in member.record.models) for member in ready)
            served.append(ServedModel(record, count, record.context_length or offer.context_length, offer.capabilities))
        return served

    def queues(self, sees: Collection[str] = ()) -> Mapping[str, int]:
        return self._pipeline.queues(sees)

    def in_flight(self) -> int:
        return self._pipeline.active

    def worker_joined(self, record: WorkerRecord) -> None:
        self._watch.admit(record)

    def worker_left(self, worker_id: str) -> None:
        self._watch.remove(worker_id)

    def beat(self, worker_id: str, load: WorkerLoad, draining: bool) -> str:
        self._deps.workers.heard(worker_id, load, draining=draining)
        return self._watch.error(worker_id)

    def is_held(self, worker_id: str) -> bool:
        return worker_id in self._watch.held

    async def log_tail(self, record: WorkerRecord, lines: int) -> Sequence[str]:
        return await worker_logs.tail(record, lines, self._watch.reach_of(record))

    async def probe_upstream(self, upstream: WorkerRecord) -> Sequence[ModelOffer]:
        """Raises UpstreamFailed."""
        try:
            return (await probe(upstream.base_url, upstream.secret, _PROBE_SECONDS, access=upstream.access)).models
        except ProbeFailed as error:
            raise UpstreamFailed(f"The server does not answer as an OpenAI-compatible one: {error}") from error


class PlanLimits:
    """Implements the edge's `Entrance`."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._now = clock.monotonic

    def enter(self, principal: Principal) -> None:
        self._gate.enter(principal, self._now())

    def headers(self, principal: Principal) -> Mapping[str, str]:
        lines = self._gate.header_block(principal, self._now()).decode("ascii").splitlines()
        return {name: value for name, _, value in (line.partition(": ") for line in lines)}

    def leave(self, principal: Principal) -> None:
        self._gate.leave(principal)

    def count_bytes(self, principal: Principal, body_bytes: int) -> None:
        if body_bytes > FREE_BODY_BYTES:
            self._gate.limits_of(principal).bytes.take(body_bytes, self._now())


class GatewayReadiness:
    """Implements the edge's `Readiness`."""

    def __init__(self, changes: ChangePoll, pipeline: Pipeline, journal: Journal, deps: Collaborators, *, held: bool = False) -> None:
        self._changes = changes
        self._pipeline = pipeline
        self._journal = journal
        self._deps = deps
        self._held = held

    def shortcomings(self) -> list[str]:
        """Models that are configured and have no worker, unless they may sleep; that the installation is held."""
        found = ["this installation was restored and is held: `penstock admin release` ends that"] if self._held else []
        workers = self._deps.workers
        ready = set(workers.offers(None))
        configured = {record.id for record in self._deps.catalogue}
        for member in workers.members():
            if member.record.org_id is None:
                configured.update(offer.id for offer in member.record.models)
        for model in sorted(configured - ready):
            serving = workers.serving(model, None)
            if serving is None or not serving.elastic:
                found.append(f"no worker serves the model {model}")
        return found

    def problems(self) -> list[str]:
        found = []
        if self._pipeline.draining:
            found.append("the gateway is draining")
        if not self._changes.reachable:
            found.append("the store cannot be reached")
        if self._journal.failing:
            found.append("the usage journal cannot be written")
        if stalled := self._journal.stalled():
            found.append(f"usage does not reach the ledger: {stalled}")
        return found
