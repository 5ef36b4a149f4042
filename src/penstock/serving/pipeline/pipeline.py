"""The port that edge and tasks use: runs requests, wakes those that wait, and can be drained."""

import asyncio
from collections.abc import Mapping

from penstock.domain.call import Call
from penstock.domain.errors import DeadlineExceeded, Internal, Overloaded, PenstockError
from penstock.domain.ports import Reply
from penstock.domain.principal import Principal, ServiceClass
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.flight import Flight, log
from penstock.serving.pipeline.phase import OVER
from penstock.serving.pipeline.queued import place, room
from penstock.serving.routing.worker_set import ServingKey
from penstock.serving.scheduling.counters import ClassQueueStatus

TICK_SECONDS = 0.25


class Pipeline:
    """Implements `domain.ports.Inference`."""

    def __init__(self, deps: Collaborators) -> None:
        self._deps = deps
        # Those that are over leave with the next tick: nothing has to be deregistered on the hot path.
        self._streams: list[Flight] = []
        self._timer: asyncio.TimerHandle | None = None
        self.draining = False
        deps.workers.on_change = self._fleet_changed

    def run(self, principal: Principal, call: Call, reply: Reply) -> Flight:
        flight = Flight(self._deps, principal, call, reply)
        try:
            flight.begin()
        except PenstockError as error:
            flight.refuse(error)
        except Exception:
            log.exception("request_failed", request_id=call.request_id)
            flight.refuse(Internal("The server had an error while processing your request."))
        else:
            if flight.phase is not OVER and flight.demand.stream:
                self._streams.append(flight)
        return flight

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
                assert isinstance(entry, Flight)
                entry.refuse(DeadlineExceeded("The request waited in the queue until its deadline.", retry_after_seconds=2.0))
            for entry, error in queue.drop_unreachable_deadlines(now):
                assert isinstance(entry, Flight)
                entry.refuse(error)
        self._streams = [flight for flight in self._streams if flight.phase is not OVER]
        for flight in self._streams:
            flight.keep_alive(now)

    def _fleet_changed(self, keys: frozenset[ServingKey]) -> None:
        self._deps.routes.clear()
        now = self._deps.monotonic()
        for key in keys:
            serving = self._deps.workers.serving(*key)
            queue = None if serving is None else self._deps.queues.get(serving)
            if queue:
                queue.serve(place, now, room)

    # what an operator sees, and how it ends

    def queues(self) -> Mapping[str, int]:
        """Waiting requests by model."""
        lengths: dict[str, int] = {}
        for serving, queue in self._deps.queues.items():
            lengths[serving.model] = lengths.get(serving.model, 0) + len(queue)
        return lengths

    def queue_status(self) -> list[ClassQueueStatus]:
        """Each class that somebody has waited in, of each model's line."""
        return [
            ClassQueueStatus(serving.model, each.name.lower(), queue.waiting(each), queue.class_counters[each])
            for serving, queue in self._deps.queues.items()
            for each in ServiceClass
            if queue.class_counters[each].touched or queue.waiting(each)
        ]

    @property
    def active(self) -> int:
        """Requests that were admitted and are not over."""
        return self._deps.retries.active

    def turn_away_waiting(self) -> None:
        """The gateway stops: whoever still waits for a slot is told to come back, what runs goes on."""
        self.draining = True
        for queue in self._deps.queues.values():
            for entry in queue.drain():
                assert isinstance(entry, Flight)
                entry.refuse(Overloaded("The gateway is restarting.", retry_after_seconds=1.0))
