"""The port that edge and tasks use: runs requests, wakes those that wait, and can be drained."""

import asyncio
from collections.abc import Mapping

from penstock.domain.call import Call
from penstock.domain.errors import DeadlineExceeded, Internal, Overloaded, PenstockError
from penstock.domain.ports import Reply
from penstock.domain.principal import Principal, ServiceClass
from penstock.serving.pipeline.flight import Flight, log
from penstock.serving.pipeline.phase import OVER
from penstock.serving.pipeline.queued import place, room
from penstock.serving.pipeline.rooms import Rooms
from penstock.serving.routing.fleet import ServingKey
from penstock.serving.scheduling.tally import ClassStanding

TICK_SECONDS = 0.25


class Pipeline:
    """Implements `domain.ports.Inference`."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        # Those that are over leave with the next tick: nothing has to be deregistered on the hot path.
        self._streams: list[Flight] = []
        self._timer: asyncio.TimerHandle | None = None
        self.draining = False
        rooms.fleet.on_change = self._fleet_changed

    def run(self, principal: Principal, call: Call, reply: Reply) -> Flight:
        flight = Flight(self._rooms, principal, call, reply)
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
        now = self._rooms.monotonic()
        for line in self._rooms.lines.values():
            for entry in line.overdue(now):
                assert isinstance(entry, Flight)
                entry.refuse(DeadlineExceeded("The request waited in the queue until its deadline.", retry_after_seconds=2.0))
            for entry, error in line.hopeless(now):
                assert isinstance(entry, Flight)
                entry.refuse(error)
        self._streams = [flight for flight in self._streams if flight.phase is not OVER]
        for flight in self._streams:
            flight.keep_alive(now)

    def _fleet_changed(self, keys: frozenset[ServingKey]) -> None:
        self._rooms.routes.clear()
        now = self._rooms.monotonic()
        for key in keys:
            serving = self._rooms.fleet.serving(*key)
            line = None if serving is None else self._rooms.lines.get(serving)
            if line:
                line.serve(place, now, room)

    # what an operator sees, and how it ends

    def queues(self) -> Mapping[str, int]:
        """Waiting requests by model."""
        lengths: dict[str, int] = {}
        for serving, line in self._rooms.lines.items():
            lengths[serving.model] = lengths.get(serving.model, 0) + len(line)
        return lengths

    def standings(self) -> list[ClassStanding]:
        """Each class that somebody has waited in, of each model's line."""
        return [
            ClassStanding(serving.model, each.name.lower(), line.waiting(each), line.tallies[each])
            for serving, line in self._rooms.lines.items()
            for each in ServiceClass
            if line.tallies[each].touched or line.waiting(each)
        ]

    @property
    def active(self) -> int:
        """Requests that were admitted and are not over."""
        return self._rooms.retries.active

    def turn_away_waiting(self) -> None:
        """The gateway stops: whoever still waits for a slot is told to come back, what runs goes on."""
        self.draining = True
        for line in self._rooms.lines.values():
            for entry in line.empty():
                assert isinstance(entry, Flight)
                entry.refuse(Overloaded("The gateway is restarting.", retry_after_seconds=1.0))
