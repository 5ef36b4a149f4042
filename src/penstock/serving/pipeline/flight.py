"""One request, from its body to its last byte: a state machine of plain callbacks."""

import re
from typing import Final

import structlog

from penstock.domain.call import Demand
from penstock.domain.errors import PenstockError
from penstock.domain.inference import OPERATION_PATHS, Operation
from penstock.domain.ports import Reply, UpstreamCall
from penstock.domain.principal import Pool, ServiceClass
from penstock.domain.tokens import NO_TOKENS, TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.admission.gate import Admission
from penstock.serving.admission.idempotency import Ticket
from penstock.serving.pipeline import ending, failing, heads, intake, leaving
from penstock.serving.pipeline.attempt import WorkerAttempt, edited_reply, settled_count, stream_relay
from penstock.serving.pipeline.collaborators import Collaborators, Route
from penstock.serving.pipeline.phase import ANSWERING, FINISHED, NEW, QUEUED, SENT, Phase
from penstock.serving.pipeline.queue_ticket import QueueTicket, Slot
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.pipeline.stages import StageRun
from penstock.serving.routing.attempt_load import AttemptLoad
from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import Prefix
from penstock.serving.scheduling.counters import ShedReason
from penstock.serving.usage.meter import Meter
from penstock.wire.chat import replies, requests
from penstock.wire.chat.bodies import AnyBody
from penstock.wire.chat.counting import estimate
from penstock.wire.chat.reasoning import normalised_reply
from penstock.wire.chat.relay import Relay
from penstock.wire.chat.unsupported import with_older_names
from penstock.wire.errors import error_event
from penstock.wire.sse import DONE
from penstock.wire.usage import usage_event

log = structlog.get_logger("penstock.pipeline")
_NOBODY: Final[frozenset[str]] = frozenset()
_PATHS: Final = OPERATION_PATHS
_ONLY_IDLE: Final = (Pool.OVERFLOW,)
_EMBEDDING: Final = Operation.EMBEDDING
_INFER: Final = Operation.INFER
_COMPLETED: Final = Outcome.COMPLETED
_BATCH: Final = ServiceClass.BATCH


class Flight:
    """A request that was admitted. Implements `domain.ports.InflightRequest`, `attempt.AttemptListener` and `queue_ticket.TicketHolder`."""

    # What most requests never change costs them nothing: it is looked up on the class.
    attempt: WorkerAttempt | None = None
    rename: tuple[re.Pattern[bytes], bytes] | None = None
    queue_ticket: QueueTicket | None = None
    """None: it does not wait, and owes the queue nothing."""
    preemptions = 0
    streaming = False
    """The client has its status line."""
    paused = False
    _active = True
    """Among the active requests of the retry budget."""

    def __init__(
        self,
        deps: Collaborators,
        record: RequestRecord,
        reply: Reply,
        request: AnyBody,
        route: Route,
        prefix: Prefix,
        demand: Demand,
        meter: Meter,
        admission: Admission,
        idempotency: Ticket | None,
        stages: StageRun | None,
    ) -> None:
        self.deps = deps
        self.record = record
        self.call = record.call
        self.reply = reply
        self.request = request
        self.model, self.serving, self.queue = route.model, route.serving, route.queue
        self.prefix = prefix
        self.demand = demand
        self.meter = meter
        self.admission = admission
        self.idempotency = idempotency
        self.stages = stages
        self.pools = record.pools
        self.pool = record.pools[0]  # until it is placed
        self.service_class = record.service_class
        self.phase: Phase = NEW
        self.excluded: frozenset[str] = _NOBODY
        self.upstream: UpstreamCall | None = None  # not on the class: mypyc leaves out a default whose type is a Protocol
        self.last_write = record.started
        self.budget = budget = route.budget
        budget.active += 1
        budget.begun += 1

    # scheduling and routing

    def begin(self) -> None:
        """Go to a worker at once, or wait. Raises the PenstockError that refuses the request."""
        if not self.queue.length and (slot := self.choose_slot()) is not None:
            self.send(slot[0], slot[1])
        else:
            self._wait(self.record.started)

    def choose_slot(self) -> Slot | None:
        return self.serving.choose_worker(self.pools, self.excluded, self.prefix)

    def has_capacity(self) -> bool:
        return self.serving.has_capacity(self.pools, self.excluded)

    def dispatch_from_queue(self, slot: Slot) -> None:
        self.meter.queue_seconds += self.deps.monotonic() - self.record.queued_at
        self.send(slot[0], slot[1])

    def _wait(self, now: float) -> None:
        """No slot is free for it, or others were there before."""
        queue = self.queue
        if not self.serving.available and not self.serving.elastic:
            raise intake.none_available(self.serving, self.model, now)
        if self.pools == _ONLY_IDLE:
            # A request that waits may not use what is idle now: a worker that is dedicated to this pool.
            if queue.length and (slot := self.choose_slot()) is not None:
                self.send(slot[0], slot[1])
                return
            queue.shed(self.ticket(now), ShedReason.NO_IDLE_SLOT)
            raise intake.no_idle_capacity()
        self.enqueue(now)
        if queue.length > 1:
            # Those before it may wait for slots that this one need not wait for: those that are kept for its pool.
            queue.serve(now)
        if self.phase is QUEUED and self.service_class is not _BATCH and self.deps.preempt_batch:
            self.deps.displace_batch(self.serving, self.pools, self.excluded, now)

    def enqueue(self, now: float) -> None:
        self.queue.enqueue(self.ticket(now), now)
        self.phase, self.record.waiting = QUEUED, self.queue.length

    def ticket(self, now: float) -> QueueTicket:
        """What the queue wants to know, as of now."""
        if (ticket := self.queue_ticket) is None:
            ticket = self.queue_ticket = QueueTicket(self, self.record.principal.org_id, self.service_class, self.demand)
        ticket.renew(self.pools, self.excluded, self.serving.cached_tokens(self.prefix), now, self.deps.rules.max_wait_seconds)
        self.record.queued_at = now
        return ticket

    def preempt_for(self, pools: tuple[Pool, ...], excluded: frozenset[str], now: float) -> bool:
        return leaving.preempt(self, pools, excluded, now)

    def send(self, member: Member, pool: Pool) -> None:
        deps, request = self.deps, self.request
        if self.stages is not None and (refused := self.stages.refusal(member.record)) is not None:
            self.refuse(refused)
            return
        engine_name = member.engine_name(self.model)
        body = requests.for_engine(request, self.call.body, engine_name)
        self.pool = self.record.pool = pool
        self.record.snapshot = self.serving.snapshot
        meter = self.meter
        meter.worker_id = member.id
        meter.tier = tier = self.admission.choice.names[pool]
        self.phase, demand, now = SENT, self.demand, deps.monotonic()
        load = AttemptLoad(deps.workers, self.serving, member, demand.prompt_tokens, demand.max_tokens, self.prefix, now)
        load.start()
        if member.rate is not None:
            deps.workers.count_sent(member, demand.prompt_tokens)
        self.rename = None if engine_name == self.model else deps.rename(engine_name, self.model)
        relay = stream_relay(request, tier, self.rename, deps.rules.largest_event_bytes, member) if demand.stream else None
        self.attempt = attempt = WorkerAttempt(self, member, load, relay, deps.rules.largest_reply_bytes)
        if member.unsupported or self.call.operation is _INFER:
            if (refusal := intake.incompatibility(member, self.call, self.model)) is not None:
                attempt.ended = True
                self.on_client_error(refusal)
                return
            body = with_older_names(body, member.unsupported)
        upstream = deps.transport.send(member.record, _PATHS[self.call.operation], self.call.request_id, body, attempt)
        if attempt.ended:
            # It failed at once, and what follows from that has happened already; or the client left at that moment.
            upstream.cancel()
            return
        self.upstream = upstream
        if self.service_class is _BATCH:
            deps.note_batch(self.serving, self)
        if self.paused:
            upstream.pause()

    # the worker's answer

    def on_response(self, body: bytes) -> None:
        attempt, deps, operation = self.attempt, self.deps, self.call.operation
        assert attempt is not None
        now = deps.monotonic()
        if operation is _INFER:
            body, count = replies.tensors(body, self.model), NO_TOKENS
        else:
            if attempt.member.normalises:
                body = normalised_reply(body)
            body, count = edited_reply(body, self.request, self.demand, self.meter.tier, self.rename, now - attempt.load.sent_at)
        self.phase = ANSWERING
        if operation is not _EMBEDDING and operation is not _INFER:
            self.meter.first_token_at = now
        attempt.load.complete(count.completion, now)
        if self.stages is not None:
            self.stages.on_chunk(body)
        self.settle(_COMPLETED, count, now)
        headers = heads.whole(attempt.member.id, self.pool)
        self.reply.send(200, headers + self._common_headers(now), body)
        if self.idempotency is not None:
            self.idempotency.finish(200, headers, body, now)
        self.free_slot(attempt)

    def on_chunk(self, data: bytes) -> None:
        attempt = self._attempt
        relay = attempt.relay
        assert relay is not None
        now = self.last_write = self.deps.monotonic()
        tokens = relay.tokens
        if self.meter.first_token_at is None and tokens:
            self.meter.first_token_at = now
            attempt.load.first_token(now)
        if self.phase is SENT:
            self._start_answering(attempt, now)
        if relay.done:
            self._complete(attempt, relay, data, now)
            return
        known = attempt.prompt_tokens
        if known is None:
            tokens = estimate(tokens, relay.size)
        self.meter.progress(self.demand.prompt_tokens if known is None else known, tokens, estimated=known is None)
        attempt.load.progress(tokens)
        if (ticket := self.queue_ticket) is not None and (debt := ticket.debt) is not None and tokens >= debt.due:
            debt.grow(tokens)
        if self.stages is not None:
            self.stages.on_chunk(data)
        self.reply.write(data)

    def _start_answering(self, attempt: WorkerAttempt, now: float) -> None:
        self.phase = ANSWERING
        self.meter.open_stream(settled_count(attempt, self.request, self.demand.prompt_tokens, now), now)
        if not self.streaming:
            self.start_stream(heads.placed(attempt.member.id, self.pool), now)

    def start_stream(self, placement: bytes, now: float) -> None:
        self.streaming, self.last_write = True, now
        self.reply.start(200, heads.EVENTS + placement + self._common_headers(now))

    def _complete(self, attempt: WorkerAttempt, relay: Relay, data: bytes, now: float) -> None:
        count = settled_count(attempt, self.request, self.demand.prompt_tokens, now)
        if relay.cut and self.upstream is not None:
            self.upstream.cancel()
        if (relay.usage is None or relay.usage_withheld or relay.cut) and requests.wants_usage(self.request):
            chat = self.call.operation is Operation.CHAT
            data += usage_event(self.call.request_id, int(self.meter.started_wall), self.model, self.meter.tier, count, chat=chat)
        attempt.load.complete(count.completion, now)
        if self.stages is not None and data:
            self.stages.on_chunk(data)
        self.settle(_COMPLETED, count, now)
        self.reply.write(data + DONE)
        self.reply.end()
        self.free_slot(attempt)

    def on_client_error(self, error: PenstockError) -> None:
        failing.refused(self, self._attempt, error)

    def on_failure(self, detail: str, *, busy: bool) -> None:
        failing.failed(self, self._attempt, detail, busy=busy)

    # the end

    def settle(self, outcome: Outcome, count: TokenCount, now: float) -> None:
        """Limits, journal and counters get the true number; before the last bytes leave."""
        self.phase = FINISHED
        self.admission.settle_tokens(count)
        attempt = self.attempt
        if attempt is not None and attempt.member.rate is not None:
            self.deps.workers.count_used(attempt.member, count.prompt + count.completion - self.demand.prompt_tokens)
        if not self.record.limits:
            self.record.limits = self.admission.header_block(now)
        if self.queue_ticket is not None:
            self.queue.settle_debt(self.queue_ticket, count.prompt - count.cached, count.completion)
            self.queue_ticket = None
        self.meter.close(outcome, count, now)
        if self.stages is not None:
            self.stages.end(count)
        ending.settled(self.deps, self.record, outcome, count, now)

    def refuse(self, error: PenstockError) -> None:
        """Refused; a request that waited has left the queue already."""
        self.deps.observer.record_refusal(error.code)
        self.fail(error)

    def fail(self, error: PenstockError) -> None:
        """Nothing was used: give everything back, tell the client in the form that it can still read."""
        if self.phase is FINISHED:
            return
        asked = self.attempt is not None
        self.phase = FINISHED
        self.release()
        now = self.deps.monotonic()
        if self.streaming:
            self.reply.write(error_event(error))
            self.reply.end()
        else:
            self.record.limits = self.deps.gate.header_block(self.record.principal, now)
            self.reply.refuse(error, ending.refusal_headers(self.record, error, now) + self.record.limits)
        ending.failed(self.deps, self.record, error, now, asked=asked)

    def release(self) -> None:
        self.admission.release()
        if self.stages is not None:
            self.stages.end(None)
        if self.queue_ticket is not None:
            self.queue.settle_debt(self.queue_ticket, 0, 0)
            self.queue_ticket = None
        if self.idempotency is not None:
            self.idempotency.abandon()
        self._leave_budget(answered=False)

    def _leave_budget(self, *, answered: bool) -> None:
        if self._active:
            self._active = False
            self.budget.active -= 1
            if self.meter.retries:
                self.budget.release(self.meter.retries, helped=answered)
            if self.service_class is _BATCH:
                self.deps.forget_batch(self.serving, self)

    def free_slot(self, attempt: WorkerAttempt) -> None:
        """The attempt is over: its slot goes to who waits for it."""
        attempt.ended = True
        attempt.load.release()
        if self.phase is FINISHED:
            # Without these the three hold each other, and only the garbage collector could free them.
            self.attempt = self.upstream = None
            self._leave_budget(answered=True)
            if self.idempotency is not None:
                self.idempotency.abandon()
        if self.queue.length:
            self.queue.serve(self.deps.monotonic())

    # of the client

    def cancel(self) -> None:
        leaving.cancel(self)

    def pause(self) -> None:
        self.paused = True
        if self.upstream is not None and self.phase in (SENT, ANSWERING):
            self.upstream.pause()

    def resume(self) -> None:
        self.paused = False
        if self.upstream is not None and self.phase in (SENT, ANSWERING):
            self.upstream.resume()

    @property
    def _attempt(self) -> WorkerAttempt:
        assert self.attempt is not None
        return self.attempt

    def _common_headers(self, now: float) -> bytes:
        call = self.call
        if not self.record.limits:
            self.record.limits = self.admission.header_block(now)
        return heads.answered(
            call.request_id, call.client_request_id, ending.decision_summary(self.record), self.record.started, now, self.record.limits
        )
