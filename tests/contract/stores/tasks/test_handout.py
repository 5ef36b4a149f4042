"""What stands between a store and its runners: who may not run any more is in nobody's way."""

from random import Random

from penstock.domain.principal import Organisation
from penstock.domain.tasks import TaskStatus
from penstock.tasks.handout import Handout
from penstock.tasks.principals import Principals
from tests.contract.stores import values
from tests.contract.stores.tasks.desk import ORG, START, Desk


async def test_tasks_that_may_not_run_do_not_hold_up_those_behind_them(desk: Desk) -> None:
    plan = values.plan()
    await desk.store.save_plan(plan)
    await desk.store.create_organisation(Organisation(ORG, "one", plan.name, START))
    await desk.runner()
    refused = [await desk.submit("noop", key_id="key_gone") for _ in range(7)]
    good = await desk.submit("noop")
    handout = Handout(desk.tasks, Principals(desk.store, desk.clock), lambda org_id: org_id, Random(1))
    (lease,) = await handout.claim("run_1", 3, (), (), None)
    assert lease.task_id == good
    assert {await desk.status(task) for task in refused} == {TaskStatus.FAILED}
