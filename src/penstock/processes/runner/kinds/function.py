"""Tasks that are users' functions: always in a child process, so that none of them can stall or end the runner."""

import asyncio

from penstock.domain.durable.leases import Lease
from penstock.domain.durable.tasks import ability
from penstock.durable.tasks.function_registry import declared_functions
from penstock.durable.tasks.outcome import AttemptFailed, Succeeded, TaskOutcome
from penstock.processes.runner.children import CannotImport, Children, Crashed
from penstock.processes.runner.frames import Raised, Run, raw
from penstock.processes.runner.work import KindOptions, Report


class FunctionKind:
    def __init__(self, options: KindOptions) -> None:
        self._children = Children(options.modules, options.processes)

    @property
    def abilities(self) -> tuple[str, ...]:
        return tuple(ability("function", offer.name) for offer in declared_functions(self.offers))

    @property
    def offers(self) -> str:
        return self._children.offers.decode()

    async def open(self) -> None:
        """Raises CannotImport."""
        await self._children.open()

    async def run(self, lease: Lease, report: Report) -> TaskOutcome:
        try:
            work = Run(lease.task_id, lease.attempt, lease.name, raw(lease.payload.encode()))
            answer = await self._children.run(work, lambda value: report(value.decode()))
        except Crashed as error:
            return AttemptFailed("crashed", str(error))
        except CannotImport as error:
            return AttemptFailed("cannot_import", str(error))
        if isinstance(answer, Raised):
            return AttemptFailed(answer.code, answer.message, answer.final, answer.retry_seconds)
        return Succeeded(bytes(answer.result).decode())

    async def close(self) -> None:
        async with asyncio.timeout(10.0):
            await self._children.close()


MEMBER = FunctionKind
