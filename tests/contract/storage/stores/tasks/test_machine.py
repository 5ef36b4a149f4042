"""Random histories, against a plain reading of the rules: a task is in one state, moves as it may, and nothing is lost."""

import asyncio
import dataclasses
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule, run_state_machine_as_test

from penstock.domain.clock import ManualClock
from penstock.domain.durable.leases import LEASE_SECONDS, ExpiredLease, Lease, LeaseCompletion, LeaseRef
from penstock.domain.durable.task_search import TaskQuery
from penstock.domain.durable.tasks import LEGAL_MOVES, TERMINAL, CompletionKind, OnParentFailure, Parent, TaskStatus
from penstock.storage.stores import open_store
from tests.contract.storage.stores.conftest import EMPTY, SECRET_KEY
from tests.contract.storage.stores.tasks.task_store_client import ORG, START, TaskStoreClient

T = TypeVar("T")
RUNNERS = ("run_1", "run_2")


@dataclasses.dataclass
class Model:
    """What the rules say of one task."""

    status: TaskStatus
    parents: dict[str, OnParentFailure]
    run_at: float
    waits: set[str]
    holder: tuple[str, int] | None = None
    cancel: bool = False
    attempts: int = 0


class Machine(RuleBasedStateMachine):
    """The store under test is named by `url`, which a subclass sets."""

    url = ""
    submitted: Bundle[str] = Bundle("submitted")
    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(START)
        self.models: dict[str, Model] = {}
        self.client: TaskStoreClient

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        store = self.do(open_store(self.url, secret_key=SECRET_KEY, clock=self.clock, migrate=True))
        self.client = TaskStoreClient(store, self.clock)
        for runner in RUNNERS:
            self.do(self.client.runner(runner))

    def teardown(self) -> None:
        self.do(self.client.store.close())
        self.loop.close()
        if self.url.startswith("postgresql"):
            with psycopg.connect(self.url) as connection:
                connection.execute(EMPTY)

    @rule(
        target=submitted,
        parents=st.dictionaries(submitted, st.sampled_from(OnParentFailure), max_size=3),
        delay=st.sampled_from((0.0, 0.0, 5.0)),
    )
    def submit(self, parents: dict[str, OnParentFailure], delay: float) -> str:
        run_at = self.clock.time() + delay
        task = self.do(self.client.submit("t", [Parent(*parent) for parent in parents.items()], run_at=run_at))
        waits = {parent for parent in parents if self.models[parent].status not in TERMINAL}
        self.models[task] = Model(TaskStatus.BLOCKED, parents, run_at, waits)
        statuses = [self.status_after(parent, policy) for parent, policy in parents.items()]
        decided = next((status for status in statuses if status), None)  # in the order in which the parents are named
        if decided:
            self.end(task, decided)
        else:
            self.unblock(task)
        return task

    @rule(target=leases, runner=st.sampled_from(RUNNERS))
    def claim(self, runner: str) -> Any:
        ready = [task for task, model in self.models.items() if model.status is TaskStatus.READY]
        found = self.do(self.client.claim(1, runner))
        assert len(found) == min(1, len(ready))
        if not found:
            return multiple()
        model = self.models[found[0].task_id]
        self.move(model, TaskStatus.RUNNING)
        model.holder, model.attempts = (runner, found[0].lease_seq), model.attempts + 1
        assert found[0].attempt == model.attempts
        return found[0]

    @rule(lease=leases, runner=st.sampled_from(RUNNERS), kind=st.sampled_from(CompletionKind), delay=st.sampled_from((0.0, 3.0)))
    def finish(self, lease: Lease | ExpiredLease, runner: str, kind: CompletionKind, delay: float) -> None:
        """By its holder, by somebody else, again, long after."""
        (found,) = self.do(self.client.tasks.finish(runner, [_end(lease, kind, retry_at=self.clock.time() + delay)]))
        model = self.models.get(lease.task_id)
        if model is None or model.holder != (runner, lease.lease_seq):
            assert found is None
            return
        model.holder = None
        again = kind in (CompletionKind.RETRIED, CompletionKind.RELEASED)
        if again and not model.cancel:
            model.attempts -= kind is CompletionKind.RELEASED
            model.run_at = self.clock.time() + delay
            self.move(model, TaskStatus.SCHEDULED if delay else TaskStatus.READY)
        else:
            self.end(lease.task_id, TaskStatus.CANCELLED if again else TaskStatus(kind.value))
        assert found is model.status

    @rule(task=submitted)
    def cancel(self, task: str) -> None:
        model = self.models[task]
        if model.status is TaskStatus.RUNNING:
            model.cancel = True
        elif model.status not in TERMINAL:
            self.end(task, TaskStatus.CANCELLED)
        assert self.do(self.client.tasks.cancel(ORG, [task])) == {task: model.status}

    @rule(task=submitted)
    def retry(self, task: str) -> None:
        model = self.models[task]
        decided = any(self.status_after(parent, policy) for parent, policy in model.parents.items())
        if model.status not in TERMINAL or decided:
            assert self.do(self.client.tasks.retry(ORG, [task])) == {}
            return
        model.waits = {parent for parent in model.parents if self.models[parent].status not in TERMINAL}
        model.cancel, model.attempts, model.run_at = False, 0, self.clock.time()
        self.move(model, TaskStatus.BLOCKED if model.waits else TaskStatus.READY)
        assert self.do(self.client.tasks.retry(ORG, [task])) == {task: model.status}

    @rule(task=consumes(submitted))
    def delete(self, task: str) -> None:
        needed = any(task in model.parents and model.status not in TERMINAL for model in self.models.values())
        over = self.models[task].status in TERMINAL and not needed
        assert self.do(self.client.tasks.delete(ORG, [task])) == ([task] if over else [])
        if over:
            del self.models[task]
            for model in self.models.values():
                model.parents.pop(task, None)
                assert task not in model.waits or model.status is not TaskStatus.BLOCKED

    @rule(seconds=st.sampled_from((1.0, 6.0, LEASE_SECONDS + 1)), living=st.sets(st.sampled_from(RUNNERS)))
    def pass_time(self, seconds: float, living: set[str]) -> None:
        self.clock.advance(seconds)
        now = self.clock.time()
        for runner in living:
            held = [LeaseRef(task, m.holder[1]) for task, m in self.models.items() if m.holder and m.holder[0] == runner]
            beat = self.do(self.client.tasks.heartbeat(runner, held))
            assert (beat.known, beat.lost) == (True, ())
            assert {one.task_id for one in beat.cancelled} == {one.task_id for one in held if self.models[one.task_id].cancel}
        self.do(self.client.tasks.promote())
        for model in self.models.values():
            if model.status is TaskStatus.SCHEDULED and model.run_at <= now:
                self.move(model, TaskStatus.READY)

    @rule()
    def sweep(self) -> None:
        for lease in self.do(self.client.tasks.expired_leases(100)):
            model = self.models[lease.task_id]
            assert model.holder == (lease.runner_id, lease.lease_seq)
            self.finish(lease, lease.runner_id, CompletionKind.RETRIED, 3.0)

    @invariant()
    def the_store_says_the_same(self) -> None:
        if not hasattr(self, "client"):
            return
        page = self.do(self.client.tasks.tasks(ORG, TaskQuery(limit=1000)))
        told = {task.id: (task.status, task.attempt, task.cancel_requested) for task in page.tasks}
        wanted = {t: (m.status, m.attempts, m.cancel and m.status is TaskStatus.RUNNING) for t, m in self.models.items()}
        assert told == wanted
        pending = {task.id: task.pending_parents for task in page.tasks if task.status is TaskStatus.BLOCKED}
        assert pending == {task: len(m.waits) for task, m in self.models.items() if m.status is TaskStatus.BLOCKED}

    # The rules.

    def move(self, model: Model, status: TaskStatus) -> None:
        assert status in LEGAL_MOVES[model.status], (model.status, status)
        model.status = status

    def end(self, task: str, status: TaskStatus) -> None:
        """And tell its children, generation by generation; of two results failing is the worse."""
        self.move(self.models[task], status)
        generation = [task]
        while generation:
            statuses: dict[str, list[TaskStatus]] = {}
            for child, model in self.models.items():
                over = [parent for parent in generation if parent in model.waits]
                model.waits.difference_update(over)
                if over and model.status is TaskStatus.BLOCKED:
                    statuses[child] = [after for parent in over if (after := self.status_after(parent, model.parents[parent]))]
            for child, found in statuses.items():
                if not found:
                    self.unblock(child)
                else:
                    self.move(self.models[child], TaskStatus.FAILED if TaskStatus.FAILED in found else TaskStatus.SKIPPED)
            generation = [child for child, found in statuses.items() if found]

    def status_after(self, parent: str, policy: OnParentFailure) -> TaskStatus | None:
        status = self.models[parent].status
        if status not in TERMINAL or status is TaskStatus.SUCCEEDED or policy is OnParentFailure.RUN:
            return None
        return TaskStatus.FAILED if policy is OnParentFailure.FAIL else TaskStatus.SKIPPED

    def unblock(self, task: str) -> None:
        model = self.models[task]
        if not model.waits and model.status is TaskStatus.BLOCKED:
            self.move(model, TaskStatus.READY if model.run_at <= self.clock.time() else TaskStatus.SCHEDULED)


def _end(lease: Lease | ExpiredLease, kind: CompletionKind, retry_at: float) -> LeaseCompletion:
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=kind, retry_at=retry_at)


def test_random_task_histories_on_sqlite_match_the_model(tmp_path: Path) -> None:
    numbers = itertools.count()

    class OnSqlite(Machine):
        @property
        def url(self) -> str:  # type: ignore[override]
            return f"sqlite:///{tmp_path}/{next(numbers)}.db"

    run_state_machine_as_test(OnSqlite, settings=_some(40))


def test_random_task_histories_on_postgres_match_the_model(migrated_postgres: str) -> None:
    class OnPostgres(Machine):
        url = migrated_postgres

    run_state_machine_as_test(OnPostgres, settings=_some(15))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_long_random_task_histories_match_the_model(migrated_postgres: str) -> None:
    class Long(Machine):
        url = migrated_postgres

    run_state_machine_as_test(Long, settings=settings(_some(500), stateful_step_count=100))


def _some(examples: int) -> settings:
    return settings(max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
