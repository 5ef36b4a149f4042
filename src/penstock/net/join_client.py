"""What workers and runners share as clients of the gateway that they join: signed calls, and which refusals are final."""

import base64

import httpx

from penstock.base.identity import Identity
from penstock.domain.clock import Clock
from penstock.net.failures import unreachable
from penstock.net.trust import Trust

_RETRYABLE = frozenset({404, 408, 409, 425, 429})
"""A time-out, a conflict, a limit, or a gateway that has not finished starting (404 behind a proxy)."""


class JoinRefused(Exception):
    """The gateway does not accept this worker or runner; asking again will not help. The message is the gateway's."""


class JoinClient:
    """POSTs to one gateway, each signed with the identity's own key. Environment variables for proxies are ignored."""

    def __init__(self, gateway: str, identity: Identity, clock: Clock, trust: Trust | None = None) -> None:
        self.gateway = gateway.rstrip("/")
        self._identity = identity
        self._clock = clock
        self._trust = trust or Trust()
        self._client: httpx.AsyncClient | None = None

    @property
    def public_key(self) -> str:
        """Base64, as a join has it."""
        return base64.b64encode(self._identity.public_key).decode("ascii")

    async def open(self) -> None:
        """Raises TrustProblem."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        verify = self._trust.context() if self.gateway.startswith("https:") else True
        self._client = httpx.AsyncClient(base_url=self.gateway, trust_env=False, limits=limits, verify=verify)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def post(self, path: str, body: bytes, timeout_seconds: float) -> httpx.Response:
        """Raises httpx.HTTPError when the gateway is not reached."""
        assert self._client is not None
        headers = {"content-type": "application/json", **self._identity.sign("POST", path, body, self._clock.time())}
        return await self._client.post(path, content=body, headers=headers, timeout=timeout_seconds)


def is_final(status: int) -> bool:
    """Whether a status is a refusal that asking again will not change."""
    return 400 <= status < 500 and status not in _RETRYABLE


def refusal_reason(response: httpx.Response) -> str:
    """The sentence of a gateway's problem document, or the status of anything else."""
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return str(detail or f"HTTP {response.status_code}")


def connection_error(gateway: str, error: httpx.HTTPError) -> str:
    """Why a gateway was not reached."""
    return unreachable("the gateway", gateway, error)
