"""What is known of a request so far, for its headers while it runs and for its outcome when it has ended."""

from penstock.domain.call import Call, Demand
from penstock.domain.decisions import FailedTry
from penstock.domain.outcome import RoutingSnapshot
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.serving.usage.meter import Meter


class RequestRecord:
    """Filled as the request passes its stages: a refused request leaves the later fields as they are here."""

    # Most requests never change most of these: looked up on the class, they cost nothing.
    model = ""
    """The catalogue's id."""
    demand: Demand | None = None
    meter: Meter | None = None
    pools: tuple[Pool, ...] = ()
    """Where it may be placed, in order of preference."""
    pool: Pool | None = None
    snapshot: RoutingSnapshot | None = None
    """What its worker was chosen from."""
    waiting = 0
    """Requests in the queue, itself included, when it was queued; 0: it was not."""
    queued_at = 0.0
    tries: tuple[FailedTry, ...] = ()
    limits = b""
    """The rate-limit lines of its answer."""

    def __init__(self, principal: Principal, call: Call, started: float) -> None:
        self.principal = principal
        self.call = call
        self.started = started
        """Monotonic seconds."""
        asked = call.service_class
        self.service_class: ServiceClass = principal.plan.service_class if asked is None else asked
