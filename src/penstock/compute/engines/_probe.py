"""Who is at the other end of a URL: its models, its load, which engine it is."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from penstock.compute.engines import _signals
from penstock.domain.inference import names_version
from penstock.domain.workers import PLAIN_ACCESS, ModelOffer, UpstreamAccess, WorkerLoad
from penstock.net.failures import unreachable
from penstock.net.upstream_tls import TlsProblem, upstream_tls

CHAT = ("chat", "completions")
"""What is believed of a model of which its server says nothing."""


_LONGEST_ID = 256
_LONGEST_CAPABILITY = 64
_MOST_CAPABILITIES = 16
_NO_LIST = frozenset({404, 405, 501})
"""How a server answers that has no list of models, which it need not have when they are named."""


class ProbeFailed(Exception):
    """Nothing that speaks OpenAI's API answered. The message says what happened, for the log and the operator."""


@dataclass(frozen=True, slots=True)
class Probe:
    models: tuple[ModelOffer, ...]
    engine: str
    """A name of `load_signals.toml`, or `openai`."""
    load: WorkerLoad | None
    """None: it does not say; the caller counts what is in flight."""
    unsupported: frozenset[str]
    reading: _signals.EngineMetrics | None = field(default=None, repr=False)
    """To be given back to the next probe, which then knows the mean time to first token since this one."""


async def probe(
    base_url: str,
    secret: str = "",
    timeout: float = 5.0,
    before: Probe | None = None,
    *,
    engine: str = "",
    client: httpx.AsyncClient | None = None,
    access: UpstreamAccess = PLAIN_ACCESS,
    named: bool = False,
) -> Probe:
    """Ask a server (URL without `/v1`); `timeout` is seconds for each question, `engine` what the operator says that it is.

    `access`: how it wants to be called; `client` follows it already. `named`: its models are known, so that it need not list any.
    Raises ProbeFailed. Redirects are not followed: a secret goes where it was meant to go and nowhere else.
    """
    if access.probe_path == "":
        return Probe((), engine or "openai", None, _signals.unsupported(engine))
    async with contextlib.AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(upstream_client(access))
        ask = _Asker(client, base_url.rstrip("/"), secret, timeout, access)
        if access.probe_path is not None:
            await ask.sign_of_life(access.probe_path)
            return Probe((), engine or "openai", None, _signals.unsupported(engine))
        return await _probe(ask, before, engine, named=named)


def upstream_client(access: UpstreamAccess = PLAIN_ACCESS, **options: Any) -> httpx.AsyncClient:
    """A client that reaches an upstream as the gateway does. Raises ProbeFailed when its certificates cannot be used."""
    try:
        tls = upstream_tls(access.ca, access.client_certificate, access.client_key)
    except TlsProblem as error:
        raise ProbeFailed(str(error)) from error
    return httpx.AsyncClient(trust_env=False, verify=tls, proxy=access.proxy or None, **options)


async def _probe(ask: "_Asker", before: Probe | None, engine: str, *, named: bool) -> Probe:
    listed = await ask.models(named=named)
    page = "" if ask.versioned else await ask.text("/metrics")
    engine = engine or _signals.engine_of_metrics(page) or await _said_engine(ask, listed, before)
    signals = _signals.table().get(engine)
    reading = None
    if signals is not None and signals.metrics and page:
        reading = _signals.read(signals, page, before.reading if before is not None and before.engine == engine else None)
    known = {offer.id: offer for offer in before.models} if before is not None else {}
    context = await _context_lengths(ask, engine, [str(one["id"]) for one in listed if str(one["id"]) not in known])
    return Probe(
        models=tuple(known.get(str(one["id"])) or _offer(one, context.get(str(one["id"]))) for one in listed),
        engine=engine,
        load=reading.load if reading is not None else None,
        unsupported=_signals.unsupported(engine),
        reading=reading,
    )


async def _said_engine(ask: "_Asker", listed: list[dict[str, Any]], before: Probe | None) -> str:
    """The engine that the list of models names, where a page of that engine agrees."""
    engine = _signals.engine_of(str(one.get("owned_by", "")) for one in listed)
    signals = _signals.table().get(engine)
    if signals is None and not ask.versioned:
        return await _proven_engine(ask, listed, before)
    if signals is None or not signals.proof_path or (before is not None and before.engine == engine):
        return engine
    page = "" if ask.versioned else await ask.text(signals.proof_path)
    return engine if signals.proof in page else "openai"


async def _proven_engine(ask: "_Asker", listed: list[dict[str, Any]], before: Probe | None) -> str:
    """One that a page tells of, where the list of models does not; asked again when there are other models."""
    candidates = _signals.proven_by_page()
    if before is not None and {one["id"] for one in listed} <= {offer.id for offer in before.models}:
        return before.engine if before.engine in {row.engine for row in candidates} else "openai"
    for row in candidates:
        if row.proof in await ask.text(row.proof_path):
            return row.engine
    return "openai"


class _Asker:
    """Questions to one server."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, secret: str, timeout: float, access: UpstreamAccess) -> None:
        self._client = client
        self._base_url = base_url
        try:
            self._base_path = urlsplit(base_url).path
        except ValueError as error:
            raise ProbeFailed(f"{base_url} is not a URL") from error
        self._timeout = timeout
        self._query = access.query
        self._headers = {"authorization": f"Bearer {secret}"} if secret and not access.replaces_bearer else {}
        self._headers |= dict(access.all_headers)
        self.versioned = names_version(self._base_path)
        """Only the API is below this address, none of the engine's own pages."""

    async def models(self, *, named: bool) -> list[dict[str, Any]]:
        path = "/models" if self.versioned else "/v1/models"
        try:
            response = await self.get(path)
            if named and response.status_code in _NO_LIST:
                return []
            if response.status_code != 200:
                raise ProbeFailed(f"{self._base_path}{path} answered {response.status_code}{_hint(response.status_code)}")
            body = response.json()
            data = body if isinstance(body, list) and body else body["data"]
            return [one for one in data if _is_usable(one["id"], _LONGEST_ID)]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProbeFailed(unreachable("the inference server", self._base_url, error)) from error
        except (ValueError, LookupError, TypeError) as error:
            if named:
                return []
            raise ProbeFailed(f"{self._base_path}{path} did not answer with a list of models; name them") from error

    async def sign_of_life(self, path: str) -> None:
        """Raises ProbeFailed."""
        try:
            response = await self.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProbeFailed(unreachable("the inference server", self._base_url, error)) from error
        if not 200 <= response.status_code < 400:
            raise ProbeFailed(f"{path} answered {response.status_code}")

    async def text(self, path: str) -> str:
        """A page, or nothing where there is none."""
        try:
            response = await self.get(path)
        except httpx.HTTPError:
            return ""
        return response.text if response.status_code == 200 else ""

    async def json(self, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An object, or an empty one where there is none."""
        try:
            response = await self.get(path) if content is None else await self._send("POST", path, content)
            found = response.json() if response.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    async def get(self, path: str) -> httpx.Response:
        return await self._send("GET", path, None)

    async def _send(self, method: str, path: str, content: Mapping[str, Any] | None) -> httpx.Response:
        url = self._base_url + path
        if self._query:
            url += f"{'&' if '?' in path else '?'}{self._query}"
        return await self._client.request(method, url, json=content, headers=self._headers, timeout=self._timeout, follow_redirects=False)


def _hint(status: int) -> str:
    return {401: ": it wants another secret", 403: ": it wants another secret", 404: ": name its models, or look at its address"}.get(
        status, ""
    )


async def _context_lengths(ask: _Asker, engine: str, models: list[str]) -> dict[str, int]:
    """Where /v1/models does not say it, the engine's own pages do."""
    if engine == "llamacpp" and models:
        props = await ask.json("/props")
        length = props.get("default_generation_settings", {}).get("n_ctx") or props.get("n_ctx")
        return dict.fromkeys(models, length) if isinstance(length, int) else {}
    if engine == "ollama":
        shown = {model: (await ask.json("/api/show", {"model": model})).get("model_info") or {} for model in models}
        return {
            model: value
            for model, info in shown.items()
            for name, value in info.items()
            if name.endswith(".context_length") and isinstance(value, int)
        }
    return {}


def _offer(listed: Mapping[str, Any], context: int | None) -> ModelOffer:
    meta = listed.get("meta") if isinstance(listed.get("meta"), dict) else None
    reported = next(
        (listed[name] for name in ("max_model_len", "context_length", "max_context_length") if isinstance(listed.get(name), int)), None
    )
    trained = meta.get("n_ctx_train") if meta is not None else None
    capabilities = listed.get("capabilities")
    return ModelOffer(
        id=str(listed["id"]),
        context_length=reported or context or (trained if isinstance(trained, int) else None),
        capabilities=_capabilities(capabilities) if isinstance(capabilities, list) else CHAT,
    )


def _capabilities(listed: list[Any]) -> tuple[str, ...]:
    return tuple(each for each in listed if _is_usable(each, _LONGEST_CAPABILITY))[:_MOST_CAPABILITIES]


def _is_usable(text: Any, longest: int) -> bool:
    """What a server says of itself is shown to operators and tenants: only what a worker might say when it joins."""
    return isinstance(text, str) and 0 < len(text) <= longest and text.isprintable()
