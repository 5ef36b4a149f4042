"""A server that speaks OpenAI's API, as engines hold it: bodies pass untouched in both directions."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from penstock.compute.engines._probe import CHAT, Probe, ProbeFailed, probe, upstream_client
from penstock.domain.errors import BadRequest, DeadlineExceeded, InvalidJson, ModelNotFound, Overloaded, UpstreamFailed
from penstock.domain.inference import OPERATION_PATHS, Operation, api_path, short_base
from penstock.domain.ports.engine import Answer
from penstock.domain.workers import PLAIN_ACCESS, ModelOffer, UpstreamAccess, WorkerLoad
from penstock.wire.chat.unsupported import needed, with_older_names

_PASSED_HEADERS = frozenset(
    {"content-type", "retry-after", "retry-after-ms", "x-should-retry", "x-penstock-prompt-tokens", "cache-control"}
)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_log = structlog.get_logger()
MOST_MISSED = 2
"""So many looks in a row without an answer, and the server is taken to be away."""


class OpenAiRelay:
    """Implements `Engine` and `MayBeAway`: relays to one server, which it asks every few seconds for its models and load."""

    def __init__(
        self,
        base_url: str,
        *,
        secret: str = "",
        only: str = "",
        engine: str = "",
        slots: int = 64,
        probe_seconds: float = 2.0,
        connect_seconds: float = 5.0,
        read_seconds: float = 300.0,
        access: UpstreamAccess = PLAIN_ACCESS,
    ) -> None:
        """`only`: the one model to serve, empty for all that it lists; `engine`: its name in `load_signals.toml`, empty: found out."""
        self.slots = slots
        self._base_url = short_base(base_url)
        self._access = access
        self._secret = secret
        self._only = only
        self._engine = engine
        self._probe_seconds = probe_seconds
        self._timeout = httpx.Timeout(read_seconds, connect=connect_seconds)
        self._client: httpx.AsyncClient | None = None
        self._known: Probe | None = None
        self._watching: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._missed = 0
        """Looks in a row that found no server."""

    @property
    def is_away(self) -> bool:
        return self._missed >= MOST_MISSED

    async def open(self) -> None:
        """Raises ProbeFailed when the server does not answer."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        headers = {"authorization": f"Bearer {self._secret}"} if self._secret and not self._access.replaces_bearer else {}
        headers |= dict(self._access.all_headers)
        self._client = upstream_client(
            self._access,
            headers={**headers, "accept-encoding": "identity", "content-type": "application/json"},
            timeout=self._timeout,
            limits=limits,
        )
        try:
            self._known = await self._look()
        except ProbeFailed:
            await self._client.aclose()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._client is not None:
            await self._client.aclose()

    async def models(self) -> tuple[ModelOffer, ...]:
        offers = self._known.models if self._known is not None else ()
        return tuple(offer for offer in offers if not self._only or offer.id == self._only)

    def load(self) -> WorkerLoad:
        """The server's own figures; where it has none, what is in flight from here."""
        if self._known is not None and self._known.load is not None:
            return self._known.load
        return WorkerLoad(running=self._in_flight)

    def model_of(self, body: bytes) -> object:
        """The model that a body names. Raises InvalidJson."""
        return _value(_decoded(body), "model")

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        """Send the body to the server. An answer without a length is relayed while it arrives, any other is read whole.

        Raises BadRequest for tensors, InvalidJson, Overloaded when the server is away, DeadlineExceeded and UpstreamFailed when it
        is silent or breaks off.
        """
        if operation is Operation.INFER:
            raise BadRequest("This model takes text, not tensors.", param="model")
        body = self._checked(body)
        assert self._client is not None
        self._in_flight += 1
        try:
            request = self._client.build_request("POST", self._url(OPERATION_PATHS[operation]), content=body)
            response = await self._client.send(request, stream=True)
            if response.status_code in {401, 403}:
                await response.aclose()
                raise UpstreamFailed("The engine refused this worker's secret.")
            headers = [(name.encode(), value.encode()) for name, value in response.headers.items() if name in _PASSED_HEADERS]
            if "content-length" not in response.headers:
                if (encoding := response.headers.get("content-encoding")) is not None:
                    headers.append((b"content-encoding", encoding.encode()))
                return Answer(response.status_code, headers, self._relay(response))
            try:
                return Answer(response.status_code, headers, await response.aread())
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise DeadlineExceeded("The engine did not answer in time.") from error
        except httpx.ConnectError as error:
            self._missed = MOST_MISSED
            raise away() from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("The engine broke the connection.") from error
        finally:
            self._in_flight -= 1

    def _url(self, path: str) -> str:
        address = urlsplit(self._base_url)
        query = f"?{self._access.query}" if self._access.query else ""
        return f"{address.scheme}://{address.netloc}{api_path(address.path, path)}{query}"

    async def _relay(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The bytes as they come. Closing this closes the connection, which stops the generation behind it."""
        self._in_flight += 1
        try:
            async for chunk in response.aiter_raw():
                yield chunk
        except httpx.TimeoutException as error:
            raise DeadlineExceeded("The engine fell silent.") from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("The engine broke the connection.") from error
        finally:
            self._in_flight -= 1
            await response.aclose()

    def _checked(self, body: bytes) -> bytes:
        """As the server understands it. Raises for what it would get wrong without a word."""
        fields = _decoded(body)
        if self._only and _value(fields, "model") != self._only:
            raise ModelNotFound(f"The model '{_value(fields, 'model')}' does not exist on this worker.", param="model")
        if self._known is None or not self._known.unsupported:
            return body
        if (refusal := needed(body, self._known.unsupported)) is not None:
            raise refusal
        return with_older_names(body, self._known.unsupported)

    async def _look(self) -> Probe:
        timeout = min(5.0, self._timeout.connect or 5.0)
        found = await probe(
            self._base_url,
            self._secret,
            timeout,
            self._known,
            engine=self._engine,
            client=self._client,
            access=self._access,
            named=bool(self._only),
        )
        if self._only and not found.models:
            # It has no list of models, or is not asked for one: the operator knows what it serves.
            found = replace(found, models=(ModelOffer(self._only, capabilities=CHAT),))
        return found

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            try:
                self._known = await self._look()
                self._missed = 0
            except ProbeFailed as error:
                self._missed += 1
                _log.warning("engine_unreachable", reason=str(error))


def away() -> Overloaded:
    return Overloaded("The engine of this worker is away.", retry_after_seconds=2.0)


def _decoded(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidJson("The request body is not a JSON object.") from None


def _value(fields: dict[str, msgspec.Raw], name: str) -> object:
    raw = fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)
