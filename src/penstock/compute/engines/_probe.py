"""Who is at the other end of a URL: its models, its load, which engine it is."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from penstock.compute.engines import _signals
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.net.failures import unreachable

CHAT = ("chat", "completions")
"""What is believed of a model of which its server says nothing."""


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
) -> Probe:
    """Ask a server (URL without `/v1`); `timeout` is seconds for each question, `engine` what the operator says that it is.

    Raises ProbeFailed. Redirects are not followed: a secret goes where it was meant to go and nowhere else.
    """
    async with contextlib.AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        return await _probe(_Asker(client, base_url.rstrip("/"), secret, timeout), before, engine)


async def _probe(ask: "_Asker", before: Probe | None, engine: str) -> Probe:
    listed = await ask.models()
    page = await ask.text("/metrics")
    engine = engine or _signals.engine_of_metrics(page) or _signals.engine_of(str(one.get("owned_by", "")) for one in listed)
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


class _Asker:
    """Questions to one server."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, secret: str, timeout: float) -> None:
        self._client = client
        self._base_url = base_url
        self._timeout = timeout
        self._headers = {"authorization": f"Bearer {secret}"} if secret else {}

    async def models(self) -> list[dict[str, Any]]:
        try:
            response = await self.get("/v1/models")
            if response.status_code != 200:
                raise ProbeFailed(f"/v1/models answered {response.status_code}")
            data = response.json()["data"]
            return [one for one in data if isinstance(one["id"], str)]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProbeFailed(unreachable("the inference server", self._base_url, error)) from error
        except (ValueError, LookupError, TypeError) as error:
            raise ProbeFailed("/v1/models did not answer with a list of models") from error

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
        return await self._client.request(
            method, self._base_url + path, json=content, headers=self._headers, timeout=self._timeout, follow_redirects=False
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
        capabilities=tuple(map(str, capabilities)) if isinstance(capabilities, list) else CHAT,
    )
