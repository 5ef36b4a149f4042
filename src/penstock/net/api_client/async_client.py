"""`penstock.AsyncClient`: as `penstock.Client`, for programs with asyncio."""

import asyncio
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from penstock.net.api_client import calls, flows
from penstock.net.api_client.calls import ApiCall, TaskOptions, TaskRef, TaskRequest
from penstock.net.api_client.connection import ConnectionFlags, GatewayConnection, resolve_here
from penstock.net.api_client.sending import client_arguments, read_answer, request_arguments, unreachable
from penstock.net.api_client.values import TaskInfo

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")


class AsyncTaskHandle:
    """A task that this program has submitted, or names by its id."""

    __slots__ = ("_tasks", "id")

    def __init__(self, tasks: "AsyncTaskClient", task_id: str) -> None:
        self._tasks = tasks
        self.id = task_id

    def __repr__(self) -> str:
        return f"AsyncTaskHandle({self.id!r})"

    async def get(self) -> TaskInfo:
        """As it is now. Raises ApiError."""
        return await self._tasks.get(self)

    async def wait(self, timeout_seconds: float | None = None) -> TaskInfo:
        """Until it has ended, in whatever way. Raises TimeoutError, ApiError."""
        return await self._tasks.wait(self, timeout_seconds)

    async def result(self, timeout_seconds: float | None = None) -> Any:
        """What it returned, as soon as it has ended. Raises TaskFailed, TimeoutError, ApiError."""
        return await self._tasks.result(self, timeout_seconds)

    async def cancel(self) -> str:
        """Returns its status. Raises ApiError."""
        return await self._tasks.cancel(self)


class AsyncTaskClient:
    """`client.tasks`. Every method raises ApiError when the gateway refuses the call, GatewayUnreachable when it does not answer."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def submit(self, name: str, payload: Any = None, *, kind: str = "function", **options: Any) -> AsyncTaskHandle:
        """`options` are the fields of `TaskOptions`. Raises TypeError for another name."""
        return await self.submit_request(TaskRequest(name, payload, kind, TaskOptions(**options)))

    async def submit_request(self, request: TaskRequest) -> AsyncTaskHandle:
        return self.handle(await self._client.call(calls.submit(request)))

    async def submit_many(self, requests: Iterable[TaskRequest]) -> list[AsyncTaskHandle]:
        """In one transaction: all or none. They may name each other by `ref` in `parents`."""
        return [self.handle(task_id) for task_id in await self._client.call(calls.submit_many(list(requests)))]

    def handle(self, task_id: str) -> AsyncTaskHandle:
        """For a task whose id is known; asks nothing."""
        return AsyncTaskHandle(self, task_id)

    async def get(self, task: TaskRef) -> TaskInfo:
        return await self._client.call(calls.get(task))

    async def cancel(self, task: TaskRef) -> str:
        """Returns the status: a running task is asked to stop, and is `running` until it has."""
        return await self._client.call(calls.cancel(task))

    async def wait(self, task: TaskRef, timeout_seconds: float | None = None) -> TaskInfo:
        """Until it has ended, in whatever way. Raises TimeoutError."""
        return await self._client.drive(flows.wait(task, timeout_seconds))

    async def result(self, task: TaskRef, timeout_seconds: float | None = None) -> Any:
        """Raises TaskFailed, TimeoutError."""
        return await self._client.drive(flows.result(task, timeout_seconds))

    async def results(self, tasks: Sequence[TaskRef], timeout_seconds: float | None = None) -> list[Any]:
        """Of many tasks, in their order. Raises TaskFailed for the first one that did not succeed, TimeoutError."""
        return await self._client.drive(flows.results(tasks, timeout_seconds))


class AsyncClient:
    """A gateway and a key. `await close()` it, or use it with `async with`.

    What is not given comes from PENSTOCK_BASE_URL and PENSTOCK_API_KEY, else from the profile that `penstock up` wrote.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        profile: str | None = None,
        timeout_seconds: float = 30.0,
        ca_file: str | Path | None = None,
    ) -> None:
        """`timeout_seconds` is for one call; `ca_file` holds further certificate authorities to trust (PEM).

        Raises UnknownProfile, NotAnAddress, ProfileProblem.
        """
        self.connection: GatewayConnection = resolve_here(
            ConnectionFlags(profile, base_url, api_key, None if ca_file is None else Path(ca_file))
        )
        self.tasks = AsyncTaskClient(self)
        self._timeout_seconds = timeout_seconds
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def call(self, call: ApiCall[Answer]) -> Answer:
        """Send it, again where that is safe and may help. Raises ApiError, GatewayUnreachable."""
        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(**client_arguments(self.connection, self._timeout_seconds))
        tries = 0
        while True:
            tries += 1
            refusal, problem = None, None
            try:
                response = await self._http.request(**request_arguments(call))
            except httpx.HTTPError as error:
                problem = error
            else:
                refusal, answer = read_answer(call, response)
                if answer is not None:
                    return answer
            pause = flows.retry_pause(call, tries, refusal)
            if pause is None:
                raise unreachable(self.connection, problem, refusal)
            await asyncio.sleep(pause)

    async def drive(self, flow: Generator[flows.Step, Any, Answer]) -> Answer:
        """Do what the flow asks for until it has its answer."""
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                value: Answer = end.value
                return value
            if isinstance(step, float):
                await asyncio.sleep(step)
                answer = None
            else:
                answer = await self.call(step)
