"""Everything about tasks that a gateway needs, made of ports in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from penstock.accounts.standing import AccountLookup
from penstock.domain.clock import Clock
from penstock.domain.ids import TaskIds
from penstock.domain.ports import Inference, TaskStore
from penstock.durable.tasks.calendar import Calendar
from penstock.durable.tasks.grants import Grants, webhook_secret
from penstock.durable.tasks.handout import Handout
from penstock.durable.tasks.inference import OnBehalf
from penstock.durable.tasks.service import TaskService
from penstock.durable.tasks.submitters import Submitters
from penstock.durable.tasks.sweeping import Sweeper


@dataclass(frozen=True, slots=True)
class Desk:
    store: TaskStore
    service: TaskService
    handout: Handout
    on_behalf: OnBehalf
    grants: Grants
    sweeper: Sweeper
    webhook_secret: Callable[[str], str]
    """Of an organisation."""


def make_desk(
    store: TaskStore,
    accounts: AccountLookup,
    inference: Inference,
    secret: bytes,
    clock: Clock,
    random: Random,
    new_id: Callable[[str], str],
    next_request_id: Callable[[float], str],
) -> Desk:
    """`secret`: the installation's, the same in every gateway."""
    submitters = Submitters(accounts, clock)

    def signing_secret(org_id: str) -> str:
        return webhook_secret(secret, org_id)

    return Desk(
        store=store,
        service=TaskService(store, new_id),
        handout=Handout(store, submitters, signing_secret, random),
        on_behalf=OnBehalf(inference, submitters, next_request_id, clock),
        grants=Grants(secret),
        sweeper=Sweeper(store, Calendar(store, TaskIds().next), random),
        webhook_secret=signing_secret,
    )
