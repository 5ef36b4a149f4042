"""The functions that runners offer, with the defaults that their authors wrote beside them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from penstock.domain.durable.leases import LEASE_SECONDS, RunnerRecord
from penstock.domain.durable.tasks import HIGHEST_PRIORITY, LOWEST_PRIORITY, ability
from penstock.domain.ports import TaskStore
from penstock.durable.tasks.policy import POLICIES, KindPolicy
from penstock.durable.tasks.submission import TaskSpec, policy_of_kind

log = structlog.get_logger("penstock.tasks")
_FRESH_SECONDS = 2.0
_MOST_NAMED = 20
ANY = "*"
"""A runner that names no kinds runs every kind."""


class FunctionDeclaration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`@penstock.task(...)`, as a runner tells of it."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)")]
    queue: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)")] | None = None
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=7 * 86_400)] | None = None
    backoff_seconds: Annotated[float, Meta(ge=0, le=366 * 86_400)] | None = None
    backoff_cap_seconds: Annotated[float, Meta(ge=0, le=366 * 86_400)] | None = None


class FunctionRegistry:
    """Asks the store which runners there are, at most every two seconds; a function that no runner offers gets its kind's defaults.

    An organisation gets the defaults of its own runners, then those of the platform's, and never another organisation's.
    """

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._fresh_until = 0.0
        self._policies: dict[tuple[str | None, str], KindPolicy] = {}
        self._offered: set[tuple[str | None, str]] = set()

    async def refresh(self) -> None:
        """Raises PortUnavailable."""
        now = self._store.now()
        if abs(self._fresh_until - now) < _FRESH_SECONDS and now < self._fresh_until:
            return
        functions: dict[tuple[str | None, str], FunctionDeclaration] = {}
        runners = await self._store.runners()
        self._offered = {(each.org_id, offer) for each in runners if _lives(each, now) for offer in each.kinds or (ANY,)}
        for runner in runners:
            functions.update({(runner.org_id, function.name): function for function in declared_functions(runner.functions)})
        self._fresh_until = now + _FRESH_SECONDS
        self._policies = {key: _with_defaults(POLICIES["function"], function) for key, function in functions.items()}

    def policy_for(self, org_id: str) -> Callable[[TaskSpec], KindPolicy]:
        """The defaults of a task of this organisation. What is returned raises Unprocessable for a kind that no runner can execute."""

        def policy(spec: TaskSpec) -> KindPolicy:
            of_kind = policy_of_kind(spec.kind)
            if spec.kind != "function":
                return of_kind
            return self._policies.get((org_id, spec.name)) or self._policies.get((None, spec.name)) or of_kind

        return policy

    def not_offered(self, org_id: str, names: Iterable[str]) -> list[str]:
        """A sentence for each function that no runner of the organisation or the platform offers, as far as `refresh` has seen."""
        wanted = [name for name in dict.fromkeys(names) if not self._is_offered(org_id, name)]
        known = sorted({offer.partition(":")[2] for owner, offer in self._offered if ":" in offer and owner in (None, org_id)})
        there_are = f"they offer: {', '.join(known[:_MOST_NAMED])}" if known else "none offers a function"
        waits = f"the task waits until one does ({there_are})"
        return [f"No runner offers the function '{name[:64]}'; {waits}." for name in wanted[:_MOST_NAMED]]

    def _is_offered(self, org_id: str, name: str) -> bool:
        return any((owner, offer) in self._offered for owner in (None, org_id) for offer in (ability("function", name), ANY))


def _lives(runner: RunnerRecord, now: float) -> bool:
    return runner.last_beat_at >= now - LEASE_SECONDS


def _with_defaults(policy: KindPolicy, function: FunctionDeclaration) -> KindPolicy:
    return replace(
        policy,
        queue=function.queue or policy.queue,
        priority=function.priority or policy.priority,
        max_attempts=function.max_attempts or policy.max_attempts,
        timeout_seconds=function.timeout_seconds or policy.timeout_seconds,
        backoff_seconds=policy.backoff_seconds if function.backoff_seconds is None else function.backoff_seconds,
        backoff_cap_seconds=_cap(policy, function),
    )


def _cap(policy: KindPolicy, function: FunctionDeclaration) -> float:
    """Its own, or the kind's; never less than the first pause."""
    if function.backoff_cap_seconds is not None:
        return function.backoff_cap_seconds
    return max(policy.backoff_cap_seconds, function.backoff_seconds or 0.0)


def declared_functions(text: str) -> list[FunctionDeclaration]:
    """An empty list for what is none: a runner of another version must not stop submissions."""
    try:
        return msgspec.json.decode(text, type=list[FunctionDeclaration])
    except msgspec.MsgspecError as error:
        log.warning("function_declarations_not_understood", reason=str(error))
        return []
