"""What the members of the family `kinds` have in common: how one is asked to run a task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.base.family import Family
from penstock.domain.durable.leases import Lease
from penstock.durable.tasks.inference import CallResponse
from penstock.durable.tasks.outcome import TaskOutcome

ProgressCallback = Callable[[str], None]
"""Hears how far a task is, as JSON text."""


class TaskKind(Protocol):
    """A kind of task. Constructing does nothing."""

    @property
    def abilities(self) -> tuple[str, ...]:
        """What a task must ask for to be run here (`domain.tasks.ability`); known once it is open."""
        ...

    @property
    def functions(self) -> str:
        """JSON text of the functions with their own defaults; `[]` for a kind that has none."""
        ...

    async def open(self) -> None: ...

    async def run(self, lease: Lease, report: ProgressCallback) -> TaskOutcome:
        """Until it is done. Cancelling it stops the work at once. What it raises counts as an attempt that broke."""
        ...

    async def close(self) -> None: ...


class InferenceClient(Protocol):
    """Makes `/v1` calls on behalf of a task's submitter: through the pipeline of this process, or through a gateway's."""

    async def call(self, lease: Lease, url: str, body: bytes, *, own_class: bool) -> CallResponse:
        """`own_class`: at the class of the submitter's plan instead of batch. Raises Unreachable."""
        ...


class Unreachable(Exception):
    """No gateway could be asked; the task is not to blame."""


@dataclass(frozen=True, slots=True)
class KindOptions:
    """What a member may need; each takes its own."""

    modules: tuple[str, ...] = ()
    processes: int = 4
    """Child processes for functions, at most."""
    inferences: InferenceClient | None = None
    allowed_networks: tuple[str, ...] = ()
    """Private networks to which webhooks may go."""


class KindFactory(Protocol):
    """`MEMBER` of the family `kinds`."""

    def __call__(self, options: KindOptions, /) -> TaskKind: ...


KINDS: Family[KindFactory] = Family("penstock.processes.runner.kinds")
