"""The `openai` engine and servers that misbehave or differ; the probe."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from penstock.compute.engines import ProbeFailed, probe
from penstock.compute.engines.openai import OpenAiEngine
from penstock.domain.errors import DeadlineExceeded, InvalidJson, ModelNotFound, Overloaded, UnsupportedParameter, UpstreamFailed
from penstock.domain.inference import Operation
from penstock.domain.workers import ModelOffer, WorkerLoad
from tests.flow.compute.worker.fake_gateway import free_port, running

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class Server:
    """Answers GET from `pages` (path -> status, text), and POST with what `respond` sends."""

    def __init__(self, models: list[dict[str, Any]] | None = None, **pages: str) -> None:
        listed = [{"id": "m", "object": "model"}] if models is None else models
        self.pages = {"/v1/models": (200, msgspec.json.encode({"data": listed}).decode())}
        self.pages |= {f"/{name}": (200, text) for name, text in pages.items()}
        self.asked: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.respond: Callable[[Send], Coroutine[Any, Any, None]] = self._whole
        self._news = asyncio.Event()

    async def is_asked(self, path: str, times: int) -> None:
        """Returns when a path was asked for so many more times."""
        before = sum(asked == path for asked, _, _ in self.asked)
        async with asyncio.timeout(5):
            while sum(asked == path for asked, _, _ in self.asked) < before + times:
                self._news.clear()
                await self._news.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        self.asked.append((scope["path"], dict(scope["headers"]), body))
        self._news.set()
        if scope["path"].startswith("/v1/") and scope["method"] == "POST":
            await self.respond(send)
            return
        status, text = self.pages.get(scope["path"], (404, ""))
        await begin(send, status)
        await send({"type": "http.response.body", "body": text.encode()})

    async def _whole(self, send: Send) -> None:
        await begin(send, 200, (b"content-length", b"2"), (b"x-internal", b"no"))
        await send({"type": "http.response.body", "body": b"{}"})


async def begin(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json"), *headers]})


@contextlib.asynccontextmanager
async def relaying(server: Server, **options: str) -> AsyncIterator[OpenAiEngine]:
    async with running(server) as port:
        engine = OpenAiEngine({"base_url": f"http://127.0.0.1:{port}/v1", **options})
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()


async def ask(engine: OpenAiEngine, **body: Any) -> tuple[int, bytes]:
    answer = await engine.answer(Operation.CHAT, msgspec.json.encode({**CHAT, **body}))
    text = answer.body if isinstance(answer.body, bytes) else b"".join([chunk async for chunk in answer.body])
    return answer.status, text


# --- relaying ------------------------------------------------------------------------------------------------------


async def test_bodies_pass_untouched_with_the_servers_own_secret() -> None:
    server = Server()
    body = b'{ "model":"m",  "unknown": [1, 2],"messages":[{"role":"user","content":"\xc3\xa9"}]}'
    async with relaying(server, secret="s3cret") as engine:
        answer = await engine.answer(Operation.CHAT, body)
    path, headers, sent = server.asked[-1]
    assert (path, sent, headers[b"authorization"]) == ("/v1/chat/completions", body, b"Bearer s3cret")
    assert (answer.status, answer.body, dict(answer.headers)) == (200, b"{}", {b"content-type": b"application/json"})


async def test_a_servers_error_is_its_own_answer() -> None:
    async def busy(send: Send) -> None:
        await begin(send, 429, (b"retry-after", b"3"), (b"content-length", b"4"))
        await send({"type": "http.response.body", "body": b"busy"})

    server = Server()
    server.respond = busy
    async with relaying(server) as engine:
        answer = await engine.answer(Operation.CHAT, msgspec.json.encode(CHAT))
    assert (answer.status, answer.body, dict(answer.headers)[b"retry-after"]) == (429, b"busy", b"3")


async def test_a_break_in_mid_stream_is_an_error_and_not_an_end() -> None:
    async def broken(send: Send) -> None:
        await begin(send, 200)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise ConnectionError

    server = Server()
    server.respond = broken
    async with relaying(server) as engine:
        with pytest.raises(UpstreamFailed):
            await ask(engine)
        assert engine.load() == WorkerLoad(running=0)


async def test_silent_server_fails_at_the_read_timeout() -> None:
    async def silent(send: Send) -> None:
        await asyncio.Event().wait()

    server = Server()
    server.respond = silent
    async with relaying(server, read_seconds="0.1") as engine:
        with pytest.raises(DeadlineExceeded):
            await ask(engine)


async def test_silence_in_mid_stream_is_a_deadline() -> None:
    async def falls_silent(send: Send) -> None:
        await begin(send, 200)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.Event().wait()

    server = Server()
    server.respond = falls_silent
    async with relaying(server, read_seconds="0.1") as engine:
        with pytest.raises(DeadlineExceeded):
            await ask(engine)


async def test_a_wrong_secret_is_not_the_clients_401() -> None:
    async def refuse(send: Send) -> None:
        await begin(send, 401, (b"content-length", b"0"))
        await send({"type": "http.response.body", "body": b""})

    server = Server()
    server.respond = refuse
    async with relaying(server) as engine:
        with pytest.raises(UpstreamFailed, match="secret"):
            await ask(engine)


async def test_request_to_a_server_that_has_ended_is_refused_as_overload_and_the_engine_is_away() -> None:
    server = Server()
    async with running(server) as port:
        engine = OpenAiEngine({"base_url": f"http://127.0.0.1:{port}", "probe_seconds": "600"})
        await engine.open()
        assert not engine.is_away
    try:
        # On the connection that was kept it breaks off; there is no new one.
        with pytest.raises((Overloaded, UpstreamFailed)):
            await ask(engine)
        with pytest.raises(Overloaded):
            await ask(engine)
        assert engine.is_away
    finally:
        await engine.close()


async def test_a_server_that_is_not_there_fails_the_start() -> None:
    engine = OpenAiEngine({"base_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(ProbeFailed):
        await engine.open()


async def test_one_model_of_many_can_be_chosen() -> None:
    server = Server(models=[{"id": "m"}, {"id": "other"}])
    async with relaying(server, model="m") as engine:
        assert [offer.id for offer in await engine.models()] == ["m"]
        assert (await ask(engine))[0] == 200
        with pytest.raises(ModelNotFound):
            await ask(engine, model="other")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_body_that_is_not_an_object_is_not_relayed(body: bytes) -> None:
    async with relaying(Server()) as engine:
        with pytest.raises(InvalidJson):
            await engine.answer(Operation.CHAT, body)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"user": "someone"}, "user"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 1, "tool_choice": "auto", "logit_bias": {}, "logprobs": False, "user": None}, None),
    ],
)
async def test_parameter_that_ollama_would_ignore_is_refused(fields: dict[str, Any], param: str | None) -> None:
    server = Server(models=[{"id": "m", "owned_by": "library"}])
    server.pages["/api/version"] = (200, '{"version":"0.12.0"}')
    async with relaying(server) as engine:
        try:
            status, _ = await ask(engine, **fields)
        except UnsupportedParameter as error:
            assert error.param == param  # noqa: PT017 - one test for what is refused and what is not
        else:
            assert (status, param) == (200, None)


async def test_load_follows_the_servers_metrics() -> None:
    server = Server(metrics="vllm:num_requests_running 3\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.5\n")
    async with relaying(server, probe_seconds="0.01") as engine:
        assert engine.load() == WorkerLoad(3, 1, 0.5)
        server.pages["/metrics"] = (200, "vllm:num_requests_running 4\n")
        await server.is_asked("/v1/models", 3)  # by the third, what the second saw is known
        assert engine.load().running == 4


async def test_a_load_outlives_a_probe_that_fails() -> None:
    server = Server(metrics="vllm:num_requests_running 3\n")
    async with relaying(server, probe_seconds="0.01") as engine:
        server.pages["/v1/models"] = (500, "")
        await server.is_asked("/v1/models", 3)
        assert engine.load().running == 3


async def test_without_metrics_the_load_is_what_is_in_flight() -> None:
    release = asyncio.Event()

    async def slow(send: Send) -> None:
        await begin(send, 200)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await release.wait()
        await send({"type": "http.response.body", "body": b""})

    server = Server()
    server.respond = slow
    async with relaying(server) as engine:
        answer = await engine.answer(Operation.CHAT, msgspec.json.encode(CHAT))
        assert not isinstance(answer.body, bytes)
        await anext(answer.body)
        assert engine.load() == WorkerLoad(running=1)
        release.set()
        assert [chunk async for chunk in answer.body] == []
        assert engine.load() == WorkerLoad(running=0)


# --- probing -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at(server: Server) -> AsyncIterator[str]:
    async with running(server) as port:
        yield f"http://127.0.0.1:{port}"


async def test_vllm_server_is_recognised_and_relayed() -> None:
    server = Server(models=[{"id": "org/m", "owned_by": "vllm", "max_model_len": 8192}], metrics="vllm:num_requests_running 2\n")
    async with at(server) as url:
        found = await probe(url, "secret")
    assert (found.engine, found.load, found.unsupported) == ("vllm", WorkerLoad(running=2), frozenset())
    assert found.models == (ModelOffer("org/m", context_length=8192, capabilities=("chat", "completions")),)
    assert all(headers[b"authorization"] == b"Bearer secret" for _, headers, _ in server.asked)


async def test_names_that_a_terminal_obeys_and_endless_ones_are_not_taken_from_a_server() -> None:
    ids = ["m", "m\n", "\x1b[2Jm", "m\x9b", "", "m" * 257, "m" * 256]
    listed = [{"id": name, "capabilities": ["chat", "\x1b[31m", 7, "c" * 65, "tools"]} for name in ids]
    async with at(Server(models=listed)) as url:
        found = await probe(url)
    assert found.models == tuple(ModelOffer(name, capabilities=("chat", "tools")) for name in ("m", "m" * 256))


async def test_context_length_of_an_ollama_server_is_read_from_its_own_api() -> None:
    class Ollama(Server):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/api/show":
                self.pages["/api/show"] = (200, '{"model_info": {"llama.context_length": 4096, "llama.heads": 8}}')
            await super().__call__(scope, receive, send)

    server = Ollama(models=[{"id": "llama3", "owned_by": "library"}])
    server.pages["/api/version"] = (200, '{"version":"0.12.0"}')
    async with at(server) as url:
        found = await probe(url)
        again = await probe(url, before=found)
    assert (found.engine, found.load, found.models[0].context_length) == ("ollama", None, 4096)
    assert "n" in found.unsupported
    assert again.models == found.models


@pytest.mark.parametrize(
    ("props", "context"),
    [('{"default_generation_settings": {"n_ctx": 2048}}', 2048), ('{"n_ctx": 1024}', 1024), ("broken", 512), ("[]", 512)],
)
async def test_a_llama_cpp_server_without_metrics(props: str, context: int) -> None:
    models = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 512}}]
    async with at(Server(models=models, props=props)) as url:
        found = await probe(url)
    assert (found.engine, found.load, found.models[0].context_length) == ("llamacpp", None, context)


async def test_unknown_server_is_openai_unless_its_engine_is_named() -> None:
    async with at(Server(models=[{"id": "m", "owned_by": "somebody"}])) as url:
        assert (await probe(url)).engine == "openai"
        assert (await probe(url, engine="vllm")).engine == "vllm"


@pytest.mark.parametrize("page", [(200, "<html>"), (200, "[]"), (200, '{"data": [{}]}'), (401, "{}"), (302, "{}"), (200, '{"data": null}')])
async def test_server_that_is_not_openai_compatible_is_reported(page: tuple[int, str]) -> None:
    server = Server()
    server.pages["/v1/models"] = page
    async with at(server) as url:
        with pytest.raises(ProbeFailed):
            await probe(url)


async def test_missing_server_and_missing_address_are_reported() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "http://[", "ftp://127.0.0.1"):
        with pytest.raises(ProbeFailed):
            await probe(url, timeout=0.5)
