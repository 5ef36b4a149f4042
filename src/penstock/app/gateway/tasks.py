"""Tasks in a gateway: what the control API needs of them, and the work in the background."""

from random import Random

from penstock.app.gateway.chores import Chore, Chores
from penstock.domain.clock import Clock
from penstock.domain.ids import RequestIds, new_id
from penstock.domain.ports import Inference, Store
from penstock.durable.tasks import sweeping
from penstock.durable.tasks.services import TaskServices, make_task_services
from penstock.durable.tasks.sweeping import Sweeper


def task_services(store: Store, inference: Inference, secret: bytes, clock: Clock, ids: RequestIds) -> TaskServices:
    return make_task_services(store.tasks, store.accounts, inference, secret, clock, Random(), new_id, ids.next)


def start_sweeping(sweeper: Sweeper, chores: Chores) -> None:
    """In every gateway: each step is safe beside others, so that nothing waits for a leader to be found."""
    chores.start(Chore("promote tasks", sweeping.PROMOTE_SECONDS, sweeper.promote))
    chores.start(Chore("end lost leases", sweeping.SWEEP_SECONDS, sweeper.end_lost_leases))
    chores.start(Chore("sum up tasks", sweeping.ROLL_UP_SECONDS, sweeper.roll_up))
    chores.start(Chore("tidy tasks", sweeping.TIDY_SECONDS, sweeper.tidy))
