"""Triton over HTTP: KServe v2 with Triton's repository and generate extensions."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from penstock.compute.engines._ollama import ndjson as _ndjson
from penstock.compute.engines._probe import ProbeFailed
from penstock.compute.engines._triton.server import error_of, log_failure
from penstock.compute.engines._triton.text import Fields, ModelInfo
from penstock.domain.errors import DeadlineExceeded, UpstreamFailed
from penstock.wire.tensors import InferRequest, TensorSpec

Kind = TypeVar("Kind")


class _Indexed(msgspec.Struct):
    name: str
    state: str = ""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    name: str
    versions: list[str] = []
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []


class _ConfiguredInput(msgspec.Struct):
    name: str
    optional: bool = False


class _Policy(msgspec.Struct):
    decoupled: bool = False


class _Config(msgspec.Struct):
    input: list[_ConfiguredInput] = []
    model_transaction_policy: _Policy = msgspec.field(default_factory=_Policy)


class _TritonError(msgspec.Struct):
    error: str = ""


class _Absent(ProbeFailed):
    """The server does not have this path: it is another one than Triton, whose extension this is."""


_piece = msgspec.json.Decoder(dict[str, Any])


class HttpServer:
    """Implements `_triton_server.Server`."""

    def __init__(self, base_url: str, timeout: httpx.Timeout, headers: Mapping[str, str]) -> None:
        """`headers`: sent with every call."""
        self._headers = dict(headers)
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._client = httpx.AsyncClient(base_url=self._base_url, timeout=self._timeout, headers=self._headers, trust_env=False)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def ready(self) -> bool:
        try:
            return (await self._http.get("/v2/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def has(self, name: str) -> bool:
        try:
            return (await self._http.get(f"/v2/models/{name}/ready")).status_code == 200
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def ready_models(self) -> Sequence[str]:
        found = await self._ask("POST", "/v2/repository/index", {"ready": True}, list[_Indexed])
        return sorted({one.name for one in found if one.state in {"READY", ""}})

    async def describe(self, name: str) -> ModelInfo:
        metadata = await self._ask("GET", f"/v2/models/{name}", None, _Metadata)
        try:
            config = await self._ask("GET", f"/v2/models/{name}/config", None, _Config)
        except _Absent:
            config = _Config()
        optional = {one.name for one in config.input if one.optional}
        return ModelInfo(
            name,
            metadata.versions[-1] if metadata.versions else "",
            tuple(TensorSpec(one.name, one.datatype, tuple(one.shape), one.name in optional) for one in metadata.inputs),
            tuple(TensorSpec(one.name, one.datatype, tuple(one.shape)) for one in metadata.outputs),
            config.model_transaction_policy.decoupled,
        )

    async def load(self, name: str) -> None:
        await self._order(f"/v2/repository/models/{name}/load")

    async def unload(self, name: str) -> None:
        await self._order(f"/v2/repository/models/{name}/unload")

    async def infer(self, request: InferRequest, body: bytes) -> bytes:
        response = await self._post(f"/v2/models/{request.model}/infer", body)
        if response.status_code != 200:
            raise _error(request.model, response.status_code, response.content)
        return response.content

    async def generate(self, info: ModelInfo, fields: Fields) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        """Outputs as they arrive, by name; a model that is not decoupled answers once. Raises DeadlineExceeded, UpstreamFailed."""
        body = msgspec.json.encode(fields)
        if not info.decoupled:
            response = await self._post(f"/v2/models/{info.name}/generate", body)
            if response.status_code != 200:
                raise _error(info.name, response.status_code, response.content)
            yield [_read(response.content)]
            return
        try:
            async with self._http.stream("POST", f"/v2/models/{info.name}/generate_stream", content=body) as response:
                if response.status_code != 200:
                    raise _error(info.name, response.status_code, await response.aread())
                async for lines in _ndjson.lines(response.aiter_bytes()):
                    if found := [_read(line[5:].strip()) for line in lines if line.startswith(b"data:")]:
                        yield found
        except httpx.TimeoutException as error:
            raise DeadlineExceeded("The engine fell silent.") from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("The engine broke the connection.") from error

    @property
    def _http(self) -> httpx.AsyncClient:
        assert self._client is not None
        return self._client

    async def _post(self, path: str, body: bytes) -> httpx.Response:
        try:
            return await self._http.post(path, content=body, headers={"content-type": "application/json"})
        except httpx.TimeoutException as error:
            raise DeadlineExceeded("The engine did not answer in time.") from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("The engine broke the connection.") from error

    async def _ask(self, method: str, path: str, body: object, kind: type[Kind]) -> Kind:
        try:
            response = await self._http.request(method, path, json=body)
            if response.status_code != 200:
                kind_of_failure = _Absent if response.status_code in {404, 405, 501} else ProbeFailed
                raise kind_of_failure(f"{path} answers with status {response.status_code}")
            return msgspec.json.decode(response.content, type=kind)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except msgspec.DecodeError as error:
            raise ProbeFailed(f"{path} does not answer as Triton does: {error}") from error

    def _unreachable(self, error: httpx.HTTPError) -> ProbeFailed:
        return ProbeFailed(f"there is no Triton at {self._base_url}: {str(error) or type(error).__name__}")

    async def _order(self, path: str) -> None:
        try:
            response = await self._http.post(path, json={})
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise ProbeFailed(f"{path}: {_error_message(response.content) or response.status_code}")


def _read(line: bytes) -> Mapping[str, Any]:
    try:
        piece = _piece.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("The engine sent something that is not its protocol.") from None
    if "error" in piece:
        raise error_of(False, False, str(piece["error"]))
    return piece


def _error(model: str, status: int, body: bytes) -> Exception:
    message = _error_message(body)
    if status >= 500:
        log_failure(model, status, message)
    missing = status == 404 or "unknown model" in message
    return error_of(status in {429, 503}, missing, message if status < 500 else "")


def _error_message(body: bytes) -> str:
    """Of a JSON object, or of the event that a stream begins with."""
    try:
        return msgspec.json.decode(body.strip().removeprefix(b"data:"), type=_TritonError).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
