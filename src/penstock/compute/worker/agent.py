"""Keeps a worker known to its gateway: joins, reports every few seconds, joins again when forgotten, says goodbye.

While the gateway is away it asks again and again, with growing pauses, for ever; only a refusal ends it.
"""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

import httpx
import structlog
from pydantic import ValidationError

from penstock.compute.worker.presence import Presence
from penstock.domain.workers import ModelOffer
from penstock.net.join_client import JoinClient, JoinRefused, connection_error, is_final, refusal_reason
from penstock.wire.fields import View
from penstock.wire.joining.workers import ENGINE_AWAY, Join, Joined, Offer, WorkerHeartbeatResponse, encode

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
"""Short, because a gateway that was restarted should have its workers back before anyone notices."""
TIMEOUT_SECONDS = 10.0

_Answer = TypeVar("_Answer", bound=View)
_log = structlog.get_logger()


class Agent:
    """Speaks to one gateway's control API for one worker."""

    def __init__(self, client: JoinClient, join: Join, presence: Presence, models: Callable[[], Awaitable[Sequence[ModelOffer]]]) -> None:
        """`models`: what the engine offers now; it joins again when that is not what it has told."""
        self._client = client
        self._gateway = client.gateway
        self._join_request = join
        self._models = models
        self._presence = presence
        self._random = Random()
        self._problem = ""
        """Why the gateway could not connect to this worker, at the last heartbeat."""

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def run(self) -> None:
        """Until cancelled. Raises JoinRefused."""
        while True:
            seconds = await self._join()
            await self._report_until_forgotten(seconds)

    async def send_heartbeat(self) -> bool:
        """One heartbeat now. False when the gateway does not know this worker; raises httpx.HTTPError when it is not reached."""
        response = await self._post(f"/api/workers/{self._presence.worker_id}/heartbeat", encode(self._presence.heartbeat()))
        if response.status_code == 404:
            return False
        response.raise_for_status()
        answer = _answer(WorkerHeartbeatResponse, response)
        self._tell_reached(answer.unreachable)
        asked = answer.draining
        if asked != self._presence.drained_by_operator:
            _log.info("drain_requested" if asked else "resume_requested")
            self._presence.change(drained_by_operator=asked)
        return True

    def _tell_reached(self, problem: str) -> None:
        if problem.endswith(ENGINE_AWAY):
            return  # which the engine has logged
        if problem and not self._problem:
            _log.warning("gateway_cannot_reach_this_worker", gateway=self._gateway, reason=problem, check="--advertise, --host, firewall")
        elif self._problem and not problem:
            _log.info("gateway_reaches_this_worker", gateway=self._gateway)
        self._problem = problem

    async def leave(self) -> None:
        """Say goodbye; a gateway that does not hear it finds out by itself."""
        if not self._presence.worker_id:
            return
        try:
            await self._post(f"/api/workers/{self._presence.worker_id}/leave", b"")
        except httpx.HTTPError as error:
            _log.info("leave_failed", reason=str(error))

    async def _join(self) -> float:
        """Ask until accepted. Returns the seconds between heartbeats."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                response = await self._post("/api/workers/join", encode(self._join_request))
                if response.is_success:
                    return self._accepted(response)
                reason = refusal_reason(response)
                if is_final(response.status_code):
                    raise JoinRefused(reason)
            except httpx.HTTPError as error:
                reason = connection_error(self._gateway, error)
            _log.warning("not_joined_yet", gateway=self._gateway, reason=reason)
            await self._presence.changed(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _accepted(self, response: httpx.Response) -> float:
        answer = _answer(Joined, response)
        self._presence.change(worker_id=answer.worker_id)
        _log.info("joined", gateway=self._gateway, worker_id=answer.worker_id)
        return answer.heartbeat_seconds

    async def _report_until_forgotten(self, seconds: float) -> None:
        reached = True
        while True:
            await self._presence.changed(seconds if reached else min(seconds, LONGEST_PAUSE_SECONDS * self._random.uniform(0.2, 0.5)))
            try:
                if not await self.send_heartbeat():
                    _log.warning("worker_forgotten_by_gateway", gateway=self._gateway)
                    return
                reached = True
                if await self._has_other_models():
                    return
            except httpx.HTTPError as error:
                if reached:
                    _log.warning("gateway_unreachable", gateway=self._gateway, reason=connection_error(self._gateway, error))
                reached = False

    async def _has_other_models(self) -> bool:
        """Whether the engine offers others than the gateway was told of. That it has none at all is not told: a worker has some."""
        told, offered = self._join_request.models, [Offer.of(offer) for offer in await self._models()]
        if not offered or self._presence.stopping or sorted(told, key=_id_of) == sorted(offered, key=_id_of):
            return False
        _log.info("models_changed", models=[offer.id for offer in offered])
        self._join_request = self._join_request.model_copy(update={"models": offered})
        return True

    async def _post(self, path: str, body: bytes) -> httpx.Response:
        return await self._client.post(path, body, TIMEOUT_SECONDS)


def _id_of(offer: Offer) -> str:
    return offer.id


def _answer(kind: type[_Answer], response: httpx.Response) -> _Answer:
    """Raises httpx.DecodingError for an answer that no gateway gives: something else is at its address."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise httpx.DecodingError(f"its answer is not understood: {error.errors()[0]['msg']}") from error
