"""What the members of the family `kinds` have in common: how one is asked to run a task."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from penstock.base.family import Family
from penstock.domain.durable.leases import AttemptOutput, Lease
from penstock.durable.tasks.inference import CallResponse
from penstock.durable.tasks.outcome import TaskOutcome
from penstock.processes.runner.child_output import AttemptLog
from penstock.processes.runner.child_process import ChildOptions
from penstock.processes.runner.link import TaskAccess

ProgressCallback = Callable[[str], None]
"""Hears how far a task is, as JSON text."""


class RunningAttempt:
    """An attempt as its kind sees it. Called with a JSON text it reports progress."""

    def __init__(self, report: ProgressCallback, timeout_seconds: float | None) -> None:
        self._timeout_seconds = timeout_seconds
        self._limit: asyncio.Timeout | None = None
        self.report = report
        self.has_begun = False
        """Its time counts."""
        self.printed: AttemptLog | None = None
        """What the task prints, when its kind keeps that."""

    @property
    def output(self) -> AttemptOutput | None:
        """What was printed until now; None: nothing."""
        if self.printed is None or not (text := self.printed.text):
            return None
        return AttemptOutput(text, self.printed.left_out_bytes)

    def __call__(self, progress: str, /) -> None:
        self.report(progress)

    def timeout(self) -> asyncio.Timeout:
        """To be entered by the runner, around the kind's work: the clock runs."""
        self._limit = asyncio.timeout(self._timeout_seconds)
        self.has_begun = True
        return self._limit

    def hold_clock(self) -> None:
        """What the task needs is not there yet, for example a process: that time is not the task's."""
        self.has_begun = False
        if self._limit is not None:
            self._limit.reschedule(None)

    def start_clock(self) -> None:
        """The work begins now."""
        self.has_begun = True
        if self._limit is not None and self._timeout_seconds is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._timeout_seconds)


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

    async def run(self, lease: Lease, attempt: RunningAttempt, /) -> TaskOutcome:
        """Until it is done. Cancelling it stops the work at once. What it raises counts as an attempt that broke.

        `attempt` is called to report progress: a kind that needs no more of it declares a `ProgressCallback`.
        """
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

    processes: int = 4
    """Child processes for functions, at most."""
    children: ChildOptions = field(default_factory=ChildOptions)
    """The users' modules, and the bounds of a child process."""
    log_bytes: int = 65_536
    """Of what a function prints, for each attempt; 0: nothing is kept."""
    inferences: InferenceClient | None = None
    task_access: TaskAccess | None = None
    """None: the runner knows no gateway that functions could call."""
    allowed_networks: tuple[str, ...] = ()
    """Private networks to which webhooks may go."""


class KindFactory(Protocol):
    """`MEMBER` of the family `kinds`."""

    def __call__(self, options: KindOptions, /) -> TaskKind: ...


KINDS: Family[KindFactory] = Family("penstock.processes.runner.kinds")
