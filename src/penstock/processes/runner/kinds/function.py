"""Tasks that are users' functions: always in a child process, so that none of them can stall or end the runner."""

import asyncio

from penstock.domain.durable.leases import Lease
from penstock.domain.durable.tasks import ability
from penstock.durable.tasks.function_registry import declared_functions
from penstock.durable.tasks.outcome import AttemptFailed, Succeeded, TaskOutcome
from penstock.processes.runner.child_output import AttemptLog
from penstock.processes.runner.child_pool import ChildPool
from penstock.processes.runner.child_process import CannotImport, Crashed
from penstock.processes.runner.frames import RaisedFrame, RunFrame, raw
from penstock.processes.runner.task_kind import KindFactory, KindOptions, RunningAttempt


class FunctionKind:
    def __init__(self, options: KindOptions) -> None:
        self._pool = ChildPool(options.children, options.processes)
        self._log_bytes = options.log_bytes
        self._task_access = options.task_access

    @property
    def abilities(self) -> tuple[str, ...]:
        return tuple(ability("function", each.name) for each in declared_functions(self.functions))

    @property
    def functions(self) -> str:
        return self._pool.functions.decode()

    async def open(self) -> None:
        """Raises CannotImport."""
        await self._pool.open()

    async def run(self, lease: Lease, attempt: RunningAttempt, /) -> TaskOutcome:
        printed = attempt.printed = AttemptLog(self._log_bytes)
        connection = None if self._task_access is None else self._task_access(lease)
        work = RunFrame(lease.task_id, lease.attempt, lease.name, raw(lease.payload.encode()), connection=connection)
        try:
            answer = await self._pool.run(work, attempt, printed)
        except Crashed as error:
            return AttemptFailed("crashed", str(error))
        except CannotImport as error:
            return AttemptFailed("cannot_import", str(error))
        if isinstance(answer, RaisedFrame):
            return AttemptFailed(answer.code, answer.message, answer.final, answer.retry_seconds)
        return Succeeded(bytes(answer.result).decode())

    async def close(self) -> None:
        async with asyncio.timeout(10.0):
            await self._pool.close()


MEMBER: KindFactory = FunctionKind
