"""From what is asked for to what is kept: defaults filled in, local names resolved, parents before children."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from penstock.domain.durable.queues import DEFAULT_QUEUE
from penstock.domain.durable.tasks import NewTask, Parent
from penstock.domain.errors import BadRequest, PenstockError, Unprocessable
from penstock.domain.principal import Actor, stored_id
from penstock.durable.tasks.limits import MOST_PARENTS, MOST_TASKS, TooManyTasks, check_payload, check_webhook_pace
from penstock.durable.tasks.policy import POLICIES, RESERVED, KindPolicy
from penstock.durable.tasks.specs import graph, inference_payload, references
from penstock.durable.tasks.specs.fingerprints import Fingerprints
from penstock.durable.tasks.specs.task_spec import ParentSpec, TaskSpec

__all__ = ["ParentSpec", "Submitter", "TaskSpec", "new_tasks", "policy_of_kind"]

LONGEST_DELAY_SECONDS = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Submitter:
    """On whose behalf, and what goes into every task."""

    org_id: str
    actor: Actor
    next_id: Callable[[float], str]
    traceparent: str = ""
    dag_id: str | None = None
    """A graph that the tasks belong to, also without common parents; None: the first one's id when there are dependencies."""


PolicyOf = Callable[[TaskSpec], KindPolicy]


def policy_of_kind(kind: str) -> KindPolicy:
    """Raises Unprocessable for a kind that no runner can execute."""
    policy = POLICIES.get(kind)
    if policy is not None:
        return policy
    if kind in RESERVED:
        raise Unprocessable(
            f"The kind '{kind}' is reserved: no runner can execute it yet. Use one of: {', '.join(POLICIES)}.", param="kind"
        )
    raise Unprocessable(f"There is no kind '{kind[:64]}'; there are: {', '.join(POLICIES)}.", param="kind")


def _policy_of(spec: TaskSpec) -> KindPolicy:
    return policy_of_kind(spec.kind)


def new_tasks(specs: Sequence[TaskSpec], submitter: Submitter, now: float, policy_of: PolicyOf = _policy_of) -> Iterator[NewTask]:
    """In an order in which parents come before children; the first item is made after everything between the tasks was checked.

    Raises TooManyTasks for a submission above the limit; BadRequest, Unprocessable and PayloadTooLarge with the task's index in `param`.
    """
    if not specs:
        raise BadRequest("There is no task in this submission.", param="tasks")
    if len(specs) > MOST_TASKS:
        raise TooManyTasks(f"One submission has at most {MOST_TASKS} tasks, this one has {len(specs)}.", param="tasks")
    refs = [spec.ref for spec in specs]
    index_of = graph.index_by_ref(refs)
    inner = {index: _parents_in_submission(spec, index, index_of) for index, spec in enumerate(specs) if spec.parents}
    order = graph.topological_order(inner, len(specs), refs) if inner else range(len(specs))
    ids = [submitter.next_id(now) for _ in specs]
    named = {ref: ids[index] for ref, index in index_of.items()}
    dag_id = submitter.dag_id or (ids[0] if inner else None)
    fingerprints = Fingerprints(specs, index_of)
    for index in order:
        spec = specs[index]
        try:
            task = _new_task(spec, ids[index], submitter, named, dag_id, now, policy_of(spec))
            yield msgspec.structs.replace(task, payload_hash=fingerprint) if (fingerprint := fingerprints.of(index)) else task
        except PenstockError as error:
            raise _with_index(error, index, len(specs)) from None


def _parents_in_submission(spec: TaskSpec, index: int, index_of: Mapping[str, int]) -> list[int]:
    """The parents inside the submission. Raises UnknownParent for what is neither one nor looks like a task's id."""
    if len(spec.parents) > MOST_PARENTS:
        raise Unprocessable(f"A task has at most {MOST_PARENTS} parents.", param=f"tasks.{index}.parents")
    found = []
    for parent in spec.parents:
        if parent.task in index_of:
            found.append(index_of[parent.task])
        elif not parent.task.startswith("task_"):
            raise graph.UnknownParent(
                f"Task {spec.ref or index} waits for '{parent.task[:64]}', which is neither a ref of this submission nor a task's id.",
                param=f"tasks.{index}.parents",
            )
    return found


def _new_task(
    spec: TaskSpec, task_id: str, submitter: Submitter, named: Mapping[str, str], dag_id: str | None, now: float, policy: KindPolicy
) -> NewTask:
    if spec.max_running_per_key is not None and spec.concurrency_key is None:
        raise Unprocessable("max_running_per_key needs a concurrency_key.", param="max_running_per_key")
    if spec.kind == "function" and not spec.name:
        raise Unprocessable("A function is called by its name.", param="name")
    if spec.kind == "webhook":
        check_webhook_pace(spec.max_attempts, spec.backoff_seconds, spec.backoff_cap_seconds)
    payload = check_payload(bytes(spec.payload).decode())
    if spec.kind == "inference":
        payload = inference_payload.with_url(payload)
    parents = tuple(Parent(named.get(each.task, each.task), each.on_failure or spec.on_parent_failure) for each in spec.parents)
    if references.mentions(payload):
        known = {each.task: parent.id for each, parent in zip(spec.parents, parents, strict=True)}
        payload = check_payload(references.bind(payload, known | {parent.id: parent.id for parent in parents}))
    return NewTask(
        id=task_id,
        org_id=submitter.org_id,
        key_id=stored_id(submitter.actor),
        queue=spec.queue or policy.queue or DEFAULT_QUEUE,
        kind=spec.kind,
        name=spec.name,
        priority=spec.priority or policy.priority,
        payload=payload,
        idempotency_key=spec.idempotency_key,
        tags=spec.tags,
        parents=_each_once(parents),
        dag_id=dag_id,
        run_at=_run_at(spec, now),
        expires_at=None if spec.expires_in_seconds is None else now + spec.expires_in_seconds,
        keep_seconds=spec.keep_seconds,
        max_attempts=spec.max_attempts or policy.max_attempts,
        timeout_seconds=spec.timeout_seconds or policy.timeout_seconds,
        backoff_seconds=policy.backoff_seconds if spec.backoff_seconds is None else spec.backoff_seconds,
        backoff_cap_seconds=policy.backoff_cap_seconds if spec.backoff_cap_seconds is None else spec.backoff_cap_seconds,
        traceparent=submitter.traceparent,
        concurrency_key=spec.concurrency_key,
        max_running_per_key=spec.max_running_per_key or 1,
        unique_key=spec.unique_key,
    )


def _run_at(spec: TaskSpec, now: float) -> float | None:
    if spec.run_at is not None and spec.delay_seconds is not None:
        raise Unprocessable("Give run_at or delay_seconds, not both.", param="run_at")
    wanted = spec.run_at if spec.delay_seconds is None else now + spec.delay_seconds
    if wanted is not None and wanted > now + LONGEST_DELAY_SECONDS:
        raise Unprocessable("A task cannot wait for longer than ten years.", param="run_at")
    return wanted


def _each_once(parents: Sequence[Parent]) -> tuple[Parent, ...]:
    return tuple({parent.id: parent for parent in parents}.values())


def _with_index(error: PenstockError, index: int, count: int) -> PenstockError:
    """The same error with the task's index before the field's name."""
    if count > 1 and error.param is not None:
        error.param = f"tasks.{index}.{error.param}"
    return error
