"""The functions that runners offer, with the defaults that their authors wrote beside them."""

from dataclasses import replace

import msgspec
import structlog

from penstock.domain.ports import TaskStore
from penstock.durable.tasks.policy import POLICIES, KindPolicy
from penstock.durable.tasks.submission import TaskSpec, policy_of_kind

log = structlog.get_logger("penstock.tasks")
_FRESH_SECONDS = 2.0


class FunctionDeclaration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`@penstock.task(...)`, as a runner tells of it."""

    name: str
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None


class FunctionRegistry:
    """Asks the store which runners there are, at most every two seconds; a function that no runner offers gets its kind's defaults."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._fresh_until = 0.0
        self._policies: dict[str, KindPolicy] = {}

    async def refresh(self) -> None:
        """Raises PortUnavailable."""
        now = self._store.now()
        if abs(self._fresh_until - now) < _FRESH_SECONDS and now < self._fresh_until:
            return
        functions: dict[str, FunctionDeclaration] = {}
        for runner in await self._store.runners():
            functions.update({function.name: function for function in declared_functions(runner.functions)})
        self._fresh_until = now + _FRESH_SECONDS
        self._policies = {name: _with_defaults(POLICIES["function"], function) for name, function in functions.items()}

    def policy(self, spec: TaskSpec) -> KindPolicy:
        """Raises Unprocessable for a kind that no runner can execute."""
        policy = policy_of_kind(spec.kind)
        return self._policies.get(spec.name, policy) if spec.kind == "function" else policy


def _with_defaults(policy: KindPolicy, function: FunctionDeclaration) -> KindPolicy:
    return replace(
        policy,
        queue=function.queue or policy.queue,
        priority=function.priority or policy.priority,
        max_attempts=function.max_attempts or policy.max_attempts,
        timeout_seconds=function.timeout_seconds or policy.timeout_seconds,
    )


def declared_functions(text: str) -> list[FunctionDeclaration]:
    """An empty list for what is none: a runner of another version must not stop submissions."""
    try:
        return msgspec.json.decode(text, type=list[FunctionDeclaration])
    except msgspec.MsgspecError as error:
        log.warning("function_declarations_not_understood", reason=str(error))
        return []
