"""One request, from its body to its last byte: a state machine of plain callbacks."""

from typing import Final

import structlog

from penstock.domain.call import Call
from penstock.domain.decisions import FailedTry
from penstock.domain.errors import PenstockError, UnsupportedParameter
from penstock.domain.inference import NO_TOKENS, OPERATION_PATHS, Operation, TokenCount
from penstock.domain.ports import Reply, UpstreamCall
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.domain.usage import Outcome
from penstock.serving.admission.gate import Admission
from penstock.serving.admission.idempotency import Ticket
from penstock.serving.pipeline import ending, heads, intake
from penstock.serving.pipeline.attempt import WorkerAttempt, settled_count
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.phase import ANSWERING, NEW, OVER, QUEUED, SENT, Phase
from penstock.serving.pipeline.queued import Queued, place, room
from penstock.serving.routing.attempt_load import AttemptLoad
from penstock.serving.routing.member import Member
from penstock.serving.usage.meter import Meter
from penstock.wire.chat import replies, requests
from penstock.wire.chat.bodies import EmbeddingBody
from penstock.wire.chat.relay import Relay
from penstock.wire.errors import error_event
from penstock.wire.sse import DONE, KEEPALIVE
from penstock.wire.usage import usage_event

log = structlog.get_logger("penstock.pipeline")
_NOBODY: Final[frozenset[str]] = frozenset()
_PATHS: Final = OPERATION_PATHS
_EMBEDDING: Final = Operation.EMBEDDING
_INFER: Final = Operation.INFER
_COMPLETED: Final = Outcome.COMPLETED
_LONGEST_REASON: Final = 200
_BATCH: Final = ServiceClass.BATCH


class Flight(Queued):
    """Implements `domain.ports.InflightRequest`, `scheduling.queue_entry.QueuedRequest` and `attempt.AttemptListener`."""

    # What most requests never change costs them nothing: it is looked up on the class.
    admission: Admission | None = None
    attempt: WorkerAttempt | None = None
    exchange: UpstreamCall | None = None
    ticket: Ticket | None = None
    preemptions = 0
    _stood = False
    streaming = False
    """The client has its status line."""
    _counted = False
    """Among the active requests of the retry budget."""
    _retries_taken = 0
    _paused = False

    def __init__(self, deps: Collaborators, principal: Principal, call: Call, reply: Reply) -> None:
        self.deps = deps
        self.principal = principal
        self.call = call
        self.reply = reply
        self.started = self.last_write = deps.monotonic()
        self.phase: Phase = NEW
        self.excluded: frozenset[str] = _NOBODY
        self.debt = None  # not on the class: mypyc leaves out a default whose type is a Protocol

    # admission

    def begin(self) -> None:
        """Raises the PenstockError that refuses the request."""
        deps, call, principal, now = self.deps, self.call, self.principal, self.started
        self.request = request = requests.decode(call.operation, call.body, deps.rules.max_json_depth)
        route = deps.routes.get((request.model, principal.org_id)) or deps.route(request.model, principal.org_id)
        if route is None:
            raise intake.unknown_model(deps.catalogue, request.model)
        self.model = route.model
        self.serving = route.serving
        self.queue = route.queue
        if route.serving.wants_prefix:
            self.prefix = intake.prefix_of(request, principal.org_id, route.model)
        self.demand = intake.demand_of(call, request, self.model, now, deps.rules.default_max_tokens)
        if call.idempotency_key is not None and self._replayed(call.idempotency_key, now):
            return
        self.meter = Meter(deps.journal, principal, call, route.model, route.price, now, deps.time())
        self.admission = admission = deps.gate.admit(principal, self.demand, now)
        deps.retries.active += 1
        deps.retries.begun += 1
        self._counted = True
        self.pools = admission.choice.pools
        self.service_class = principal.plan.service_class if call.service_class is None else call.service_class
        self.cost = self.demand.prompt_tokens + self.demand.max_tokens
        if not self.queue.length and (found := self.serving.place(self.pools, self.excluded, self.prefix)) is not None:
            self._send(found[0], found[1])
        else:
            self._wait(now)

    def _replayed(self, name: str, now: float) -> bool:
        call = self.call
        answer = self.deps.answers.begin(self.principal.actor_id, name, _PATHS[call.operation], call.body, now)
        if isinstance(answer, Ticket):
            self.ticket = answer
            return False
        self.phase = OVER
        ending.replayed(self, answer.status, now)
        decision = heads.otherwise(self.principal.plan.service_class, ending.REPLAYED)
        own = heads.identity(call.request_id, call.client_request_id, decision) + self.deps.gate.header_block(self.principal, now)
        self.reply.send(answer.status, answer.headers + own, answer.body)
        return True

    # scheduling and routing

    def _send(self, member: Member, pool: Pool) -> None:
        deps, request = self.deps, self.request
        assert self.admission is not None
        engine_name = member.engine_name(self.model)
        body = requests.for_engine(request, self.call.body, engine_name)
        self.pool, self.snapshot = pool, self.serving.snapshot
        meter = self.meter
        meter.worker_id = member.id
        meter.tier = tier = self.admission.choice.names[pool]
        self.phase, demand, now = SENT, self.demand, deps.monotonic()
        load = AttemptLoad(deps.workers, self.serving, member, demand.prompt_tokens, demand.max_tokens, self.prefix, now)
        self.rename = None if engine_name == self.model else deps.rename(engine_name, self.model)
        relay = None
        if self.demand.stream:
            relay = Relay(
                usage_wanted=requests.wants_usage(request),
                service_tier=tier,
                rename=self.rename,
                largest_event_bytes=deps.rules.largest_event_bytes,
            )
        self.attempt = attempt = WorkerAttempt(self, member, load, relay, deps.rules.largest_reply_bytes)
        may_lack = member.unsupported or self.call.operation is _INFER
        if may_lack and (refusal := intake.incompatibility(member, self.call, self.model)) is not None:
            attempt.over = True
            self.on_client_error(refusal)
            return
        exchange = deps.transport.send(member.record, _PATHS[self.call.operation], self.call.request_id, body, attempt)
        if attempt.over:
            # It failed at once, and what follows from that has happened already; or the client left at that moment.
            exchange.cancel()
            return
        self.exchange = exchange
        if self.service_class is _BATCH:
            deps.note_batch(self.serving, self)
        if self._paused:
            exchange.pause()

    # the worker's answer

    def on_response(self, body: bytes) -> None:
        attempt, deps, operation = self.attempt, self.deps, self.call.operation
        assert attempt is not None
        if operation is _INFER:
            body, count = replies.tensors(body, self.model), NO_TOKENS
        else:
            reply = replies.read(body)
            count = replies.token_count(reply, self.demand.prompt_tokens)
            if operation is _EMBEDDING and isinstance(self.request, EmbeddingBody):
                body = replies.embeddings_as(body, self.request.encoding_format)
            body = replies.edited(body, reply, self.meter.tier, self.rename, count)
        self.phase = ANSWERING
        now = deps.monotonic()
        if operation is not _EMBEDDING and operation is not _INFER:
            self.meter.first_token_at = now
        attempt.load.complete(count.completion, now)
        self._settle(_COMPLETED, count, now)
        headers = heads.whole(attempt.member.id, self.pool)
        self.reply.send(200, headers + self._common_headers(now), body)
        if self.ticket is not None:
            self.ticket.finish(200, headers, body, now)
        self._free(attempt)

    def on_chunk(self, data: bytes) -> None:
        attempt = self._attempt
        relay = attempt.relay
        assert relay is not None
        now = self.last_write = self.deps.monotonic()
        if self.meter.first_token_at is None and relay.tokens:
            self.meter.first_token_at = now
            attempt.load.first_token(now)
        if self.phase is SENT:
            self._start_answering(attempt, now)
        if relay.done:
            self._complete(attempt, relay, data, now)
            return
        attempt.load.progress(relay.tokens)
        known = attempt.prompt_tokens
        self.meter.progress(self.demand.prompt_tokens if known is None else known, relay.tokens, estimated=known is None)
        if (debt := self.debt) is not None and relay.tokens >= debt.due:
            debt.grow(relay.tokens)
        self.reply.write(data)

    def _start_answering(self, attempt: WorkerAttempt, now: float) -> None:
        self.phase = ANSWERING
        self.meter.open_stream(settled_count(attempt, self.demand.prompt_tokens), now)
        if not self.streaming:
            self._start_stream(heads.placed(attempt.member.id, self.pool), now)

    def _start_stream(self, placement: bytes, now: float) -> None:
        self.streaming, self.last_write = True, now
        self.reply.start(200, heads.EVENTS + placement + self._common_headers(now))

    def _complete(self, attempt: WorkerAttempt, relay: Relay, data: bytes, now: float) -> None:
        count = settled_count(attempt, self.demand.prompt_tokens)
        if relay.usage is None and requests.wants_usage(self.request):
            chat = self.call.operation is Operation.CHAT
            data += usage_event(self.call.request_id, int(self.meter.started_wall), self.model, self.meter.tier, count, chat=chat)
        attempt.load.complete(count.completion, now)
        self._settle(_COMPLETED, count, now)
        self.reply.write(data + DONE)
        self.reply.end()
        self._free(attempt)

    def on_client_error(self, error: PenstockError) -> None:
        attempt = self._attempt
        self.deps.workers.succeeded(attempt.member)
        if not (self.phase is SENT and isinstance(error, UnsupportedParameter) and self._asked_elsewhere(attempt, error)):
            self._fail(error)
        self._free(attempt)

    def _asked_elsewhere(self, attempt: WorkerAttempt, error: UnsupportedParameter) -> bool:
        """Another worker of the model may have an engine that can; nothing has failed, so no retry is spent on it."""
        excluded, now = self.excluded | {attempt.member.id}, self.deps.monotonic()
        if not self.serving.has_others(self.pools, excluded):
            return False
        self.excluded = excluded
        self.tries += (FailedTry(attempt.member.id, error.message[:_LONGEST_REASON], now - self.started, False),)
        if (found := self.serving.place(self.pools, excluded, self.prefix)) is not None:
            self._send(found[0], found[1])
        else:
            self._queue(now)
        return True

    def on_failure(self, detail: str, *, busy: bool) -> None:
        attempt, deps = self._attempt, self.deps
        if self.exchange is not None:
            self.exchange.cancel()
        known = {"request_id": self.call.request_id, "worker_id": attempt.member.id, "model": self.model, "phase": self.phase.value}
        log.warning("attempt_failed", reason=detail, **known)
        deps.workers.failed(attempt.member, busy=busy)
        self.tries += (FailedTry(attempt.member.id, detail[:_LONGEST_REASON], deps.monotonic() - self.started, busy),)
        if self.phase is ANSWERING:
            self._settle(Outcome.FAILED, settled_count(attempt, self.demand.prompt_tokens), deps.monotonic())
            self.reply.write(error_event(intake.broke_off()))
            self.reply.end()
            self._free(attempt)
            return
        # The slot goes back only after the retry: whoever is next in line must not overtake a request that was there before.
        self._retry(attempt, busy=busy)
        self._free(attempt)

    def _retry(self, attempt: WorkerAttempt, *, busy: bool) -> None:
        deps = self.deps
        self.excluded |= {attempt.member.id}
        try:
            if self.meter.retries + 1 < deps.rules.most_attempts and deps.retries.take(deps.monotonic()):
                self._retries_taken += 1
                self.meter.retries += 1
                if (place := self.serving.place(self.pools, self.excluded, self.prefix)) is not None:
                    self._send(place[0], place[1])
                    return
                if self.serving.has_others(self.pools, self.excluded):
                    self._queue(deps.monotonic())
                    return
            raise intake.exhausted(busy=busy)
        except PenstockError as error:
            self._fail(error)

    # the end

    def _settle(self, outcome: Outcome, count: TokenCount, now: float) -> None:
        """Limits, journal and counters get the true number; before the last bytes leave."""
        self.phase = OVER
        assert self.admission is not None
        self.admission.settle(count.prompt + count.completion)
        if not self.limits:
            self.limits = self.admission.header_block(now)
        if self._stood:
            self.queue.settle_debt(self, count.prompt - count.cached, count.completion)
        self.meter.close(outcome, count, now)
        ending.settled(self, outcome, count, now)

    def refuse(self, error: PenstockError) -> None:
        """Turned away; whoever waited in line has been let go already."""
        self.deps.observer.record_refusal(error.code)
        self._fail(error)

    def _fail(self, error: PenstockError) -> None:
        """Nothing was used: give everything back, tell the client in the form that it can still read."""
        if self.phase is OVER:
            return
        asked = self.attempt is not None
        self.phase = OVER
        self._give_back()
        now = self.deps.monotonic()
        if self.streaming:
            self.reply.write(error_event(error))
            self.reply.end()
        else:
            self.limits = self.deps.gate.header_block(self.principal, now)
            self.reply.refuse(error, ending.turned_away(self, error, now) + self.limits)
        ending.failed(self, error, now, asked=asked)

    def _give_back(self) -> None:
        if self.admission is not None:
            self.admission.release()
            if self._stood:
                self.queue.settle_debt(self, 0, 0)
        if self.ticket is not None:
            self.ticket.abandon()
        self._leave_budget(answered=False)

    def _leave_budget(self, *, answered: bool) -> None:
        if self._counted:
            self._counted = False
            self.deps.retries.active -= 1
            if self._retries_taken:
                self.deps.retries.give_back(self._retries_taken, helped=answered)
            if self.service_class is _BATCH:
                self.deps.forget_batch(self.serving, self)

    def _free(self, attempt: WorkerAttempt) -> None:
        """The attempt is over: its slot goes to who waits for it."""
        attempt.over = True
        deps = self.deps
        attempt.load.release()
        if self.phase is OVER:
            # Without these the three hold each other, and only the garbage collector could free them.
            self.attempt = self.exchange = None
            self._leave_budget(answered=True)
            if self.ticket is not None:
                self.ticket.abandon()
        if self.queue.length:
            self.queue.serve(place, deps.monotonic(), room)

    # the reply's owner

    def cancel(self) -> None:
        phase, attempt = self.phase, self.attempt
        if phase is OVER:
            return
        if phase is QUEUED:
            self.queue.withdraw(self)
            self.phase = OVER
            self._give_back()
            ending.left(self, self.deps.monotonic())
            return
        if attempt is None or self.exchange is None:
            self.phase = OVER
            self._give_back()
            if attempt is not None:
                self._free(attempt)
            return
        self.exchange.cancel()
        now = self.deps.monotonic()
        if attempt.relay is not None:
            count = settled_count(attempt, self.demand.prompt_tokens)
        else:
            # The engine has worked on it, but how far nobody can tell: the prompt, as we estimate it.
            count = TokenCount(self.demand.prompt_tokens, 0, estimated=True)
        self._settle(Outcome.CLIENT_LEFT, count, now)
        self._free(attempt)

    def pause(self) -> None:
        self._paused = True
        if self.exchange is not None and self.phase in (SENT, ANSWERING):
            self.exchange.pause()

    def resume(self) -> None:
        self._paused = False
        if self.exchange is not None and self.phase in (SENT, ANSWERING):
            self.exchange.resume()

    # time

    def keep_alive(self, now: float) -> None:
        """Called now and then while the client waits for a stream: show it that we are there."""
        rules = self.deps.rules
        if self.phase is OVER or self._paused:
            return
        if now - self.last_write < (rules.keepalive_every_seconds if self.streaming else rules.keepalive_after_seconds):
            return
        self.last_write = now
        if not self.streaming:
            self._start_stream(b"", now)
        self.reply.write(KEEPALIVE)

    @property
    def _attempt(self) -> WorkerAttempt:
        assert self.attempt is not None
        return self.attempt

    def _common_headers(self, now: float) -> bytes:
        assert self.admission is not None
        call = self.call
        if not self.limits:
            self.limits = self.admission.header_block(now)
        return heads.answered(call.request_id, call.client_request_id, ending.in_short(self), self.started, now, self.limits)
