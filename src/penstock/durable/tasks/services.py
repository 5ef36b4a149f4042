"""Everything about tasks that a gateway needs, made of ports in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from penstock.accounts.standing import AccountLookup
from penstock.domain.clock import Clock
from penstock.domain.ids import TaskIds
from penstock.domain.ports import Inference, TaskStore
from penstock.domain.task_keys import TaskKeys
from penstock.durable.tasks.calendar import Calendar
from penstock.durable.tasks.grants import Grants, webhook_secret
from penstock.durable.tasks.inference import SubmitterCalls
from penstock.durable.tasks.lease_issuer import LeaseIssuer
from penstock.durable.tasks.service import TaskService
from penstock.durable.tasks.submitters import Submitters
from penstock.durable.tasks.sweeping import Sweeper


@dataclass(frozen=True, slots=True)
class TaskServices:
    store: TaskStore
    service: TaskService
    lease_issuer: LeaseIssuer
    submitter_calls: SubmitterCalls
    grants: Grants
    task_keys: TaskKeys
    sweeper: Sweeper
    webhook_secret: Callable[[str], str]
    """Of an organisation."""


def make_task_services(
    store: TaskStore,
    accounts: AccountLookup,
    inference: Inference,
    secret: bytes,
    clock: Clock,
    random: Random,
    new_id: Callable[[str], str],
    next_request_id: Callable[[float], str],
) -> TaskServices:
    """`secret`: the installation's, the same in every gateway."""
    submitters = Submitters(accounts, clock)
    service = TaskService(store, new_id)

    def signing_secret(org_id: str) -> str:
        return webhook_secret(secret, org_id)

    return TaskServices(
        store=store,
        service=service,
        lease_issuer=LeaseIssuer(store, submitters, signing_secret, random),
        submitter_calls=SubmitterCalls(inference, submitters, next_request_id, clock),
        grants=Grants(secret),
        sweeper=Sweeper(store, Calendar(store, service.functions, TaskIds().next), random),
        task_keys=TaskKeys(secret),
        webhook_secret=signing_secret,
    )
