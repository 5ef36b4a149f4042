"""Tasks that notify a server: a signed POST, at least once, under an id that stays the same over all attempts.

Payload: `{"url": "https://...", "body": any JSON, "headers": {...}}`. Signed as https://www.standardwebhooks.com describes, so that the
OpenAI SDKs' `webhooks.unwrap()` and others verify it. Addresses of private networks are refused unless the operator allowed them; the
address that was checked is the one that is dialled, and no redirect is followed.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec

from penstock import __version__
from penstock.domain.durable.leases import Lease
from penstock.durable.tasks.outcome import AttemptFailed, Succeeded, TaskOutcome
from penstock.net.reach import AddressNotAllowed, Reach
from penstock.processes.runner.task_kind import KindFactory, KindOptions, ProgressCallback

_PORTS = {"http": 80, "https": 443}
_KEPT_BODY_BYTES = 2_000
_MAX_HEADERS = 20
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEADER_VALUE = re.compile(r"[ -~]{0,1024}")
_RESERVED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "user-agent"})
_PREFIX = "whsec_"


class WebhookPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    body: msgspec.Raw = msgspec.Raw(b"null")
    headers: dict[str, str] = {}
    secret: str = ""
    """Added when the lease is issued; a value from the submitter is replaced."""


class WebhookRefused(Exception):
    """The address may not be called, and another attempt would not change that."""


class WebhookKind:
    abilities = ("webhook",)
    functions = "[]"

    def __init__(self, options: KindOptions) -> None:
        self._reach = Reach(options.allowed_networks)
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        # Connections are not kept: one that was opened for another name at the same address was verified for that name.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=None, limits=limits)  # noqa: S113 - tasks have their own

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def run(self, lease: Lease, report: ProgressCallback, /) -> TaskOutcome:
        try:
            payload = msgspec.json.decode(lease.payload, type=WebhookPayload)
            url = checked_url(payload.url)
            headers = own_headers(payload.headers)
            address = await self._address(url)
        except (msgspec.MsgspecError, WebhookRefused) as error:
            return AttemptFailed("webhook_refused", str(error), final=True)
        except OSError as error:
            return AttemptFailed("unreachable", f"The name {url.hostname} is not known: {error.strerror or error}.")
        headers |= signed(payload.secret, lease.task_id, int(time.time()), bytes(payload.body))
        try:
            return await self._post(url, address, headers, bytes(payload.body))
        except httpx.HTTPError as error:
            return AttemptFailed("unreachable", f"The server did not answer: {str(error) or type(error).__name__}.")

    async def _address(self, url: SplitResult) -> str:
        """One address of the host, every one of which is allowed. Raises WebhookRefused, OSError."""
        assert url.hostname is not None
        try:
            return await self._reach.address_of(url.hostname, url.port or _PORTS[url.scheme])
        except AddressNotAllowed as error:
            raise WebhookRefused(f"The host {error}; an operator can allow it (runner.webhook_networks).") from None

    async def _post(self, url: SplitResult, address: str, headers: Mapping[str, str], body: bytes) -> TaskOutcome:
        assert self._client is not None
        host = f"[{address}]" if ":" in address else address
        port = f":{url.port}" if url.port else ""
        target = url._replace(netloc=f"{host}{port}", fragment="").geturl()
        request = self._client.build_request(
            "POST",
            target,
            content=body,
            headers={**headers, "host": url.netloc.rpartition("@")[2], "content-type": "application/json"},
            extensions={"sni_hostname": url.hostname},
        )
        response = await self._client.send(request, stream=True)
        try:
            text = await _first_bytes(response)
        finally:
            await response.aclose()
        if response.is_success:
            return Succeeded(msgspec.json.encode({"status_code": response.status_code, "body": text}).decode())
        message = (
            f"The server answered HTTP {response.status_code}: {text}" if text else f"The server answered HTTP {response.status_code}."
        )
        return AttemptFailed("webhook_failed", message, final=response.status_code == 410, retry_seconds=_retry_after(response))


def checked_url(text: str) -> SplitResult:
    """Raises WebhookRefused."""
    try:
        url = urlsplit(text)
        usable = url.scheme in _PORTS and bool(url.hostname) and (url.port is None or url.port > 0)
        (url.hostname or "").encode("idna")  # a host with an empty or a long label: no resolver takes it
    except ValueError:
        usable = False
    if not usable or url.username is not None or not text.isascii() or not text.isprintable():
        raise WebhookRefused("A webhook's url begins with http:// or https:// and has a host, no user and no password.")
    return url


def own_headers(given: Mapping[str, str]) -> dict[str, str]:
    """Raises WebhookRefused."""
    if len(given) > _MAX_HEADERS:
        raise WebhookRefused(f"A webhook has at most {_MAX_HEADERS} headers of its own.")
    for name, value in given.items():
        bad = name.lower() in _RESERVED_HEADERS or name.lower().startswith("webhook-")
        if bad or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise WebhookRefused(f"A webhook may not set the header '{name[:64]}' to that value.")
    return {"user-agent": f"penstock/{__version__}", "accept-encoding": "identity", **given}


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks; `secret` is `whsec_` and base64."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = secret.encode()
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


async def _first_bytes(response: httpx.Response) -> str:
    """The beginning of an answer, for the message; the rest is not read."""
    pieces: list[bytes] = []
    async for piece in response.aiter_raw(_KEPT_BODY_BYTES):
        pieces.append(piece)
        break
    return b"".join(pieces)[:_KEPT_BODY_BYTES].decode("utf-8", "replace")


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return min(float(text), 3_600.0) if text.isascii() and text.isdigit() else None


MEMBER: KindFactory = WebhookKind
