"""The kind `report`: earlier versions accepted it, and no runner executes it."""

import pytest

from penstock.accounts.bootstrap import PLANS
from penstock.domain.durable.schedules import MissedRuns
from penstock.domain.durable.tasks import NewTask
from penstock.domain.errors import Unprocessable
from penstock.domain.ids import new_id
from penstock.domain.principal import KeyActor, Organisation, Principal, Scope
from penstock.durable.tasks.service import TaskService
from penstock.durable.tasks.submission import TaskSpec
from penstock.storage.stores import open_store

CALLER = Principal("org_a", KeyActor("key_a"), PLANS[0], frozenset({Scope.TASKS_WRITE}))
REPORT = TaskSpec(kind="report", name="nightly")


async def test_a_reserved_kind_is_refused_at_submission_schedule_and_clone() -> None:
    store = await open_store("sqlite://", secret_key=b"k" * 32, migrate=True)
    try:
        await store.accounts.save_plan(PLANS[0])
        await store.accounts.create_organisation(Organisation("org_a", "a", PLANS[0].name, 1.0))
        service = TaskService(store.tasks, new_id)
        (stored,) = await store.tasks.enqueue([NewTask(id="task_0000000000000001", org_id="org_a", key_id="key_a", kind="report")])
        with pytest.raises(Unprocessable, match="'report' is reserved") as submitted:
            await service.submit(CALLER, [REPORT])
        assert submitted.value.param == "kind"
        with pytest.raises(Unprocessable, match="'report' is reserved"):
            await service.create_schedule(
                CALLER, name="nightly", cron="@daily", time_zone="UTC", missed=MissedRuns.ONE, task=REPORT, paused=False
            )
        with pytest.raises(Unprocessable, match="'report' is reserved"):
            await service.clone(CALLER, stored.id)
    finally:
        await store.close()
