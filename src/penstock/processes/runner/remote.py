"""A runner that is joined to a gateway over HTTP: no credentials but its own key, every call signed with it."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from penstock.base.identity import Identity
from penstock.base.task_connection import TaskConnection
from penstock.domain.clock import Clock
from penstock.domain.durable.leases import HEARTBEAT_SECONDS, HeartbeatReply, Lease, LeaseCompletion, LeaseRef, ProgressReport
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.errors import PortUnavailable
from penstock.durable.tasks.inference import CallResponse
from penstock.net.join_client import JoinClient, JoinRefused, connection_error, is_final, refusal_reason
from penstock.net.trust import Trust
from penstock.processes.runner.link import CompletionsRefused, RunnerInfo
from penstock.processes.runner.task_kind import Unreachable
from penstock.wire.joining import runners as wire

T = TypeVar("T")
_TIMEOUT_SECONDS = 15.0
_CALL_SECONDS = 3_600.0
_UNKNOWN_RUNNER = HeartbeatReply(False, False, (), ())
_REFUSALS = frozenset({400, 413, 422, 500})
"""Statuses that say something about the body; the others are about the gateway, the way to it, or the signature."""
_encoder = msgspec.json.Encoder()


class _BodyRefused(PortUnavailable):
    """This body is refused, and would be refused again."""


class RemoteLink:
    """Implements `link.Link`, and `task_kind.InferenceClient` for its runner's inference tasks."""

    def __init__(self, gateway: str, token: str | None, identity: Identity, clock: Clock, trust: Trust | None = None) -> None:
        self._client = JoinClient(gateway, identity, clock, trust)
        self._token = token
        self._id = ""
        self._ticket = 0
        self._grants: dict[str, str] = {}
        self._task_keys: dict[str, str] = {}
        self._trust = trust or Trust()

    def now(self) -> float:
        """Times in a finish count from its arrival at the gateway."""
        return 0.0

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def join(self, info: RunnerInfo) -> str:
        """Raises JoinRefused, PortUnavailable."""
        body = wire.RunnerJoin(
            public_key=self._client.public_key,
            token=self._token,
            name=info.name,
            queues=info.queues,
            slots=info.slots,
            kinds=info.kinds,
            functions=info.functions,
            version=info.version,
        )
        response = await self._send("/api/runners/join", body, _TIMEOUT_SECONDS)
        if not response.is_success:
            if is_final(response.status_code):
                raise JoinRefused(refusal_reason(response))
            raise PortUnavailable(f"the gateway does not take this runner yet: {refusal_reason(response)}")
        self._id = msgspec.json.decode(response.content, type=wire.RunnerJoined).runner_id
        self._grants.clear()
        self._task_keys.clear()
        return self._id

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        body = wire.RunnerClaim(min(limit, wire.MOST_LEASES), tuple(queues), tuple(kinds), wait_seconds)
        claimed = await self._post("claim", body, wire.RunnerClaimed, wait_seconds)
        if claimed is None:
            return []
        self._grants |= claimed.grants
        self._task_keys |= claimed.task_keys
        return claimed.leases

    async def news(self, wait_seconds: float) -> bool:
        reply = await self._post("news", wire.RunnerNewsRequest(self._ticket, wait_seconds), wire.RunnerNewsResponse, wait_seconds)
        return reply is None or reply.news

    async def heartbeat(self, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef]) -> HeartbeatReply:
        body = wire.RunnerHeartbeatRequest(tuple(held), tuple(waiting))
        reply = await self._post("beat", body, wire.RunnerHeartbeatResponse, 0.0, HEARTBEAT_SECONDS)
        if reply is None:
            return _UNKNOWN_RUNNER
        self._ticket = reply.ticket
        return reply.beat

    async def finish(self, completions: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        try:
            finished = await self._post("finish", wire.RunnerFinishRequest(list(completions)), wire.RunnerFinishResponse)
        except _BodyRefused as error:
            raise CompletionsRefused(str(error)) from error
        for completion in completions:
            self._grants.pop(completion.task_id, None)
            self._task_keys.pop(completion.task_id, None)
        return [None] * len(completions) if finished is None else finished.statuses

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        await self._post("progress", wire.RunnerProgressRequest(list(reports)), wire.RunnerNewsResponse)

    async def leave(self) -> None:
        await self._post("leave", None, wire.RunnerNewsResponse)

    async def call(self, lease: Lease, url: str, body: bytes, *, own_class: bool) -> CallResponse:
        """Raises Unreachable."""
        request = wire.RunnerCallRequest(self._grants.get(lease.task_id, ""), url, body.decode(), own_class)
        try:
            asked = await self._post("call", request, wire.RunnerCallResponse, _CALL_SECONDS)
        except PortUnavailable as error:
            raise Unreachable(str(error)) from error
        if asked is None:
            raise Unreachable("the gateway does not know this runner any more")
        return CallResponse(asked.status, asked.request_id, asked.body.encode(), asked.retry_after_seconds, asked.worth_retrying)

    def task_connection(self, lease: Lease) -> TaskConnection | None:
        """For the code of the task; None: the gateway gave no key."""
        key = self._task_keys.get(lease.task_id)
        return None if key is None else TaskConnection(f"{self._client.gateway}/v1", key, *self._trust.files)

    async def _post(
        self, what: str, body: Any, answer: type[T], wait_seconds: float = 0.0, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> T | None:
        """None when the gateway does not know this runner. Raises PortUnavailable."""
        response = await self._send(f"/api/runners/{self._id}/{what}", body, wait_seconds + timeout_seconds)
        if response.status_code == 404:
            return None
        if not response.is_success:
            error = _BodyRefused if response.status_code in _REFUSALS else PortUnavailable
            raise error(f"the gateway refused {what}: {refusal_reason(response)}")
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.MsgspecError as error:
            raise PortUnavailable(f"the gateway's answer to {what} is not understood: {error}") from error

    async def _send(self, path: str, body: Any, timeout_seconds: float) -> httpx.Response:
        try:
            return await self._client.post(path, b"" if body is None else _encoder.encode(body), timeout_seconds)
        except httpx.HTTPError as error:
            raise PortUnavailable(connection_error(self._client.gateway, error)) from error
