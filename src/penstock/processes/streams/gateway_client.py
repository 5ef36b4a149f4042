"""The gateway as a bridge sees it: tasks in, finished tasks out, over HTTP with an API key."""

import ssl
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import httpx
import msgspec

from penstock.domain.durable.tasks import TERMINAL, TaskError, TaskStatus
from penstock.net.failures import unreachable

T = TypeVar("T")
_TIMEOUT_SECONDS = 30.0
_TERMINAL_STATUSES = sorted(status.value for status in TERMINAL)
_CONTENT_ERRORS = frozenset({400, 404, 409, 413, 422})
"""Refusals of what was sent, which would be refused again."""


class GatewayUnavailable(Exception):
    """The gateway is not reached, or is overloaded: the call is to be repeated."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SubmissionRejected(Exception):
    """The submission will never be accepted. All of it was refused: a submission is accepted as a whole."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotAllowed(Exception):
    """The key is wrong, or may not do this."""


class SubmittedTask(msgspec.Struct, frozen=True):
    id: str
    created: bool
    """False: its idempotency key was known."""


class FinishedTask(msgspec.Struct, frozen=True):
    """A task that has ended, as lists show it."""

    id: str
    status: TaskStatus
    finished_at: float | None
    attempt: int
    kind: str
    name: str
    idempotency_key: str | None = None
    error: TaskError | None = None


class FinishedPage(msgspec.Struct, frozen=True):
    data: list[FinishedTask]
    after: str | None
    """Where the next page begins; None: there is none."""


class TaskResult(msgspec.Struct, frozen=True):
    id: str
    status: TaskStatus
    result: msgspec.Raw


class TaskApi(Protocol):
    """What a bridge asks of a gateway. Every method may raise GatewayUnavailable and NotAllowed."""

    async def submit(self, tasks: Sequence[msgspec.Raw]) -> list[SubmittedTask]:
        """Raises SubmissionRejected; then none was taken."""
        ...

    async def finished_tasks(self, tag: str, since: float, limit: int, after: str | None) -> tuple[FinishedPage, float]:
        """Tasks with that tag which ended then or later, the earliest first; and the gateway's time, good to a second."""
        ...

    async def results(self, ids: Sequence[str]) -> list[TaskResult]:
        """Of those that are there and over; at most 1,000 at once."""
        ...


class _SubmittedTasks(msgspec.Struct):
    data: list[SubmittedTask]


class _Results(msgspec.Struct):
    data: list[TaskResult]
    left: list[str]


class _Problem(msgspec.Struct):
    code: str
    detail: str = ""


class GatewayClient:
    """Implements TaskApi."""

    def __init__(self, root: str, api_key: str, *, trust_env: bool, verify: ssl.SSLContext | bool = True) -> None:
        self._root = root
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._trust_env = trust_env
        self._verify = verify
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._client = httpx.AsyncClient(
            base_url=self._root,
            headers=self._headers,
            timeout=_TIMEOUT_SECONDS,
            trust_env=self._trust_env,
            verify=self._verify,
            limits=httpx.Limits(),
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def submit(self, tasks: Sequence[msgspec.Raw]) -> list[SubmittedTask]:
        response = await self._send("POST", "/api/tasks", content=msgspec.json.encode({"tasks": tasks}))
        return _decoded(response, _SubmittedTasks).data

    async def finished_tasks(self, tag: str, since: float, limit: int, after: str | None) -> tuple[FinishedPage, float]:
        params: dict[str, Any] = {"tag": tag, "status": _TERMINAL_STATUSES, "sort": "finished", "order": "asc", "limit": limit}
        params |= {"finished_from": since} if since > 0 else {}
        params |= {"after": after} if after is not None else {}
        response = await self._send("GET", "/api/tasks", params=params)
        return _decoded(response, FinishedPage), _date(response)

    async def results(self, ids: Sequence[str]) -> list[TaskResult]:
        found: list[TaskResult] = []
        left = list(ids)
        while left:
            response = await self._send("POST", "/api/tasks/results", content=msgspec.json.encode({"ids": left}))
            answer = _decoded(response, _Results)
            found += answer.data
            left = answer.left
        return found

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        assert self._client is not None
        try:
            response = await self._client.request(method, path, headers={"content-type": "application/json"}, **arguments)
        except httpx.HTTPError as error:
            raise GatewayUnavailable(unreachable("the gateway", self._root, error)) from error
        if not response.is_success:
            raise _refusal(response)
        return response


def _refusal(response: httpx.Response) -> Exception:
    status = response.status_code
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.MsgspecError:
        # A proxy's page, say: nothing that could be known about the tasks.
        return GatewayUnavailable(f"the gateway's address answers HTTP {status}, and not like Penstock", _retry_after(response))
    if status in (401, 403):
        return NotAllowed(problem.detail)
    if status in _CONTENT_ERRORS:
        return SubmissionRejected(problem.code, problem.detail)
    return GatewayUnavailable(f"HTTP {status}: {problem.detail}", _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from `retry-after-ms` or `retry-after`."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(response.headers[name]) / divisor)
        except (KeyError, ValueError):
            continue
    return None


def _decoded(response: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        raise GatewayUnavailable(f"the gateway's answer is not understood: {error}") from error


def _date(response: httpx.Response) -> float:
    """0 when it says none."""
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return 0.0
