"""How long who waits will wait: from the pace at which the queue moves, what weights give to others, and who else comes."""

from collections.abc import Mapping, Sequence

from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.drain import Drain, Inflow
from penstock.serving.scheduling.tenants import Tenants

_ENOUGH_TO_TELL = 8
"""Requests that went to workers, before a pace is believed."""
_INFLOW_SECONDS = 2.0
_BELIEVED_SECONDS = 10.0
"""What came in the last two seconds says little about the next minute."""
_NEVER = float("inf")
Rival = tuple[float, float, float, float]
"""When what goes of another class before has reached its share, in seconds; that share; what of it waits already, and comes a second."""


class Outlook:
    """Of one queue. 0 seconds: not known, so that no one is refused on a guess."""

    def __init__(self, window_seconds: float, classes: Sequence[Tenants]) -> None:
        self._classes = classes
        self._drain = Drain(window_seconds, _ENOUGH_TO_TELL)
        """The pace of all while the queue was never empty: before that, slots were idle and say nothing."""
        self._class_drains = [Drain(window_seconds, _ENOUGH_TO_TELL) for _ in ServiceClass]
        """The pace of each class while it was never empty: what it gets beside the others."""
        self._inflows = [Inflow(_INFLOW_SECONDS) for _ in ServiceClass]

    # what happens

    def note_arrival(self, service_class: ServiceClass, tokens: int, now: float) -> None:
        self._inflows[service_class].note(tokens, now)

    def note_departure(self, service_class: ServiceClass, tokens: int, now: float) -> None:
        """To a worker, while others still wait."""
        self._drain.note(tokens, now)
        if self._classes[service_class].length:
            self._class_drains[service_class].note(tokens, now)

    def emptied(self, service_class: ServiceClass) -> None:
        """No request of the class waits any more."""
        self._class_drains[service_class].clear()

    def queue_empty(self) -> None:
        """No request waits any more."""
        self._drain.clear()

    # what will happen

    def all(self, tokens: int, now: float) -> float:
        """Seconds until so many tokens of any class have gone."""
        return self._drain.seconds_for(tokens, now)

    def behind(self, own: ServiceClass, ahead: float, now: float, weights: Mapping[ServiceClass, int]) -> float:
        """Seconds until so many tokens of a class have gone.

        Of each other class goes before them what its weight gives it, as far as it has so many in the queue or they come while one waits.
        """
        by_class = self._class_drains[own].seconds_for(ahead, now)
        pace = self._drain.seconds_for(1.0, now)
        if not pace:
            return by_class
        found = wait(ahead, 1.0 / pace, self._rivals(own, ahead, now, weights))
        # Weights are not all: of the heavier classes there may be more than that. It shows in its own class's pace.
        return max(found, by_class)

    def _rivals(self, own: ServiceClass, ahead: float, now: float, weights: Mapping[ServiceClass, int]) -> list[Rival]:
        found: list[Rival] = []
        for each, tenants in zip(ServiceClass, self._classes, strict=True):
            rate = self._inflows[each].rate(now)
            if each is own or not (tenants.tokens or rate):
                continue
            waiting = float(tenants.tokens)
            share = min(ahead * weights[each] / weights[own], waiting + rate * _BELIEVED_SECONDS)
            if share <= waiting:
                found.append((0.0, share, share, 0.0))
            else:
                found.append(((share - waiting) / rate if rate else _NEVER, share, waiting, rate))
        found.sort()
        return found


def wait(ahead: float, pace: float, rivals: Sequence[Rival]) -> float:
    """The moment when everything that goes before has gone, at so much a second."""
    before, rate = ahead + sum(waiting for _, _, waiting, _ in rivals), sum(rate for _, _, _, rate in rivals)
    for full_at, share, waiting, own_rate in rivals:
        if rate < pace and before <= full_at * (pace - rate):
            break
        before += share - waiting
        rate -= own_rate
    return before / (pace - rate)
