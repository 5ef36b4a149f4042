"""Keeps a worker known to its gateway: joins, reports every few seconds, joins again when forgotten, says goodbye.

While the gateway is away it asks again and again, with growing pauses, for ever; only a refusal ends it.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

import httpx
import msgspec
import structlog

from penstock.base.identity import Identity
from penstock.compute.worker.presence import Presence
from penstock.domain.clock import Clock
from penstock.net.join_client import JoinClient, JoinRefused, connection_error, is_final, refusal_reason

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
"""Short, because a gateway that was restarted should have its workers back before anyone notices."""
TIMEOUT_SECONDS = 10.0

_log = structlog.get_logger()


class Agent:
    """Speaks to one gateway's control API for one worker."""

    def __init__(
        self, gateway: str, token: str | None, card: Mapping[str, Any], identity: Identity, presence: Presence, clock: Clock
    ) -> None:
        self._client = JoinClient(gateway, identity, clock)
        self._gateway = self._client.gateway
        self._card = {**card, "token": token, "public_key": self._client.public_key, "secret": identity.secret}
        self._presence = presence
        self._random = Random()  # noqa: S311 - spreads retries, guards nothing

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def run(self) -> None:
        """Until cancelled. Raises JoinRefused."""
        while True:
            seconds = await self._join()
            await self._report_until_forgotten(seconds)

    async def tell(self) -> bool:
        """One heartbeat now. False when the gateway does not know this worker; raises httpx.HTTPError when it is not reached."""
        response = await self._post(f"/api/workers/{self._presence.worker_id}/heartbeat", self._presence.report())
        if response.status_code == 404:
            return False
        response.raise_for_status()
        asked = bool(response.json().get("draining"))
        if asked != self._presence.drained_by_operator:
            _log.info("an operator asked to drain" if asked else "an operator asked to resume")
            self._presence.change(drained_by_operator=asked)
        return True

    async def leave(self) -> None:
        """Say goodbye; a gateway that does not hear it finds out by itself."""
        if not self._presence.worker_id:
            return
        try:
            await self._post(f"/api/workers/{self._presence.worker_id}/leave", None)
        except httpx.HTTPError as error:
            _log.info("could not say goodbye to the gateway", reason=str(error))

    async def _join(self) -> float:
        """Ask until accepted. Returns the seconds between heartbeats."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                response = await self._post("/api/workers/join", self._card)
                if response.is_success:
                    return self._accepted(response)
                reason = refusal_reason(response)
                if is_final(response.status_code):
                    raise JoinRefused(reason)
            except httpx.HTTPError as error:
                reason = connection_error(error)
            _log.warning("the gateway does not take this worker yet", gateway=self._gateway, reason=reason)
            await self._presence.changed(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _accepted(self, response: httpx.Response) -> float:
        answer = response.json()
        self._presence.change(worker_id=answer["worker_id"])
        _log.info("joined", gateway=self._gateway, worker_id=answer["worker_id"])
        return float(answer.get("heartbeat_seconds", 5.0))

    async def _report_until_forgotten(self, seconds: float) -> None:
        reached = True
        while True:
            await self._presence.changed(seconds if reached else min(seconds, LONGEST_PAUSE_SECONDS * self._random.uniform(0.2, 0.5)))
            try:
                if not await self.tell():
                    _log.warning("the gateway has forgotten this worker; joining again", gateway=self._gateway)
                    return
                reached = True
            except httpx.HTTPError as error:
                if reached:
                    _log.warning("the gateway is not reached", gateway=self._gateway, reason=str(error))
                reached = False

    async def _post(self, path: str, content: Mapping[str, Any] | None) -> httpx.Response:
        return await self._client.post(path, b"" if content is None else msgspec.json.encode(content), TIMEOUT_SECONDS)
