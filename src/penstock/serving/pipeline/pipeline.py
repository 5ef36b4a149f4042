"""The port that edge and tasks use: runs requests, wakes those that wait, and can be drained."""

import asyncio
from collections.abc import Collection, Mapping

from penstock.domain.call import Call
from penstock.domain.errors import DeadlineExceeded, Internal, Overloaded, PenstockError
from penstock.domain.ports import InflightRequest, Reply
from penstock.domain.principal import Principal, ServiceClass
from penstock.serving.pipeline.arrival import arrive, turn_away
from penstock.serving.pipeline.collaborators import Collaborators, PipelineRules
from penstock.serving.pipeline.flight import Flight, log
from penstock.serving.pipeline.phase import FINISHED
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.routing.serving import Serving
from penstock.serving.routing.worker_set import PRIVATE, ServingKey
from penstock.serving.scheduling.counters import ClassQueueStatus
from penstock.wire.sse import KEEPALIVE

TICK_SECONDS = 0.25


class EndedRequest:
    """Implements `domain.ports.InflightRequest` for a request that was answered when it arrived: there is nothing left to do."""

    def cancel(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


ENDED = EndedRequest()


class Pipeline:
    """Implements `domain.ports.Inference`."""

    def __init__(self, deps: Collaborators) -> None:
        self._deps = deps
        # Those that are over leave with the next tick: nothing has to be deregistered on the hot path.
        self._streams: list[Flight] = []
        self._timer: asyncio.TimerHandle | None = None
        self.draining = False
        deps.workers.on_change = self._fleet_changed

    def run(self, principal: Principal, call: Call, reply: Reply) -> InflightRequest:
        deps, flight = self._deps, None
        record = RequestRecord(principal, call, deps.monotonic())
        try:
            flight = arrive(deps, record, reply)
            if flight is None:
                return ENDED
            flight.begin()
        except PenstockError as error:
            self._refuse(record, reply, flight, error)
        except Exception:
            log.exception("request_failed", request_id=call.request_id)
            self._refuse(record, reply, flight, Internal("The server had an error while processing your request."))
        if flight is None:
            return ENDED
        if flight.phase is not FINISHED and flight.demand.stream:
            self._streams.append(flight)
        return flight

    def _refuse(self, record: RequestRecord, reply: Reply, flight: Flight | None, error: PenstockError) -> None:
        if flight is None:
            turn_away(self._deps, record, reply, error)
        else:
            flight.refuse(error)

    # time

    def open(self) -> None:
        """Begin to keep time; needs a running loop."""
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        self.expire_and_keep_alive()

    def expire_and_keep_alive(self) -> None:
        """Called by the pipeline's own timer; tests with a clock of their own call it themselves."""
        now = self._deps.monotonic()
        for queue in self._deps.queues.values():
            for entry in queue.drop_expired(now):
                entry.refuse(DeadlineExceeded("The request waited in the queue until its deadline.", retry_after_seconds=2.0))
            for entry, error in queue.drop_unreachable_deadlines(now):
                entry.refuse(error)
        self._streams = [flight for flight in self._streams if flight.phase is not FINISHED]
        for flight in self._streams:
            _keep_alive(flight, now, self._deps.rules)

    def _fleet_changed(self, keys: frozenset[ServingKey]) -> None:
        self._deps.routes.clear()
        now = self._deps.monotonic()
        for key in keys:
            serving = self._deps.workers.exact(key)
            queue = None if serving is None else self._deps.queues.get(serving)
            if queue:
                queue.serve(now)

    # what an operator sees, and how it ends

    def queues(self, sees: Collection[str] = ()) -> Mapping[str, int]:
        """Waiting requests by model. Of models that only organisations have, by name for the organisations in `sees`, else together."""
        lengths: dict[str, int] = {}
        for serving, queue in self._deps.queues.items():
            name = serving.model if serving.owner in sees else self._public_name(serving)
            lengths[name] = lengths.get(name, 0) + len(queue)
        return lengths

    def _public_name(self, serving: Serving) -> str:
        return serving.model if serving.owner is None or self._deps.workers.is_public(serving.model) else PRIVATE

    def forget_unused(self) -> None:
        """What models of organisations leave behind when their workers are gone."""
        deps = self._deps

        def in_use(serving: Serving) -> bool:
            queue, budget = deps.queues.get(serving), deps.budgets.get(serving)
            return bool(queue) or (budget is not None and bool(budget.active)) or serving in deps.batch

        for serving in deps.workers.forget_unused(in_use):
            deps.queues.pop(serving, None)
            deps.budgets.pop(serving, None)
        deps.routes.clear()

    def queue_status(self) -> list[ClassQueueStatus]:
        """Each class that a request has waited in, of each model's queue."""
        return [
            ClassQueueStatus(self._public_name(serving), each.name.lower(), queue.waiting(each), queue.class_counters[each])
            for serving, queue in self._deps.queues.items()
            for each in ServiceClass
            if queue.class_counters[each].touched or queue.waiting(each)
        ]

    @property
    def active(self) -> int:
        """Requests that were admitted and are not over."""
        return self._deps.active

    def turn_away_waiting(self) -> None:
        """The gateway stops: requests that still wait for a slot are told to come back, what runs goes on."""
        self.draining = True
        for queue in self._deps.queues.values():
            for entry in queue.drain():
                entry.refuse(Overloaded("The gateway is restarting.", retry_after_seconds=1.0))


def _keep_alive(flight: Flight, now: float, rules: PipelineRules) -> None:
    """Show a client that waits for its stream that we are there."""
    if flight.paused or now - flight.last_write < (rules.keepalive_every_seconds if flight.streaming else rules.keepalive_after_seconds):
        return
    flight.last_write = now
    if not flight.streaming:
        flight.start_stream(b"", now)
    flight.reply.write(KEEPALIVE)
