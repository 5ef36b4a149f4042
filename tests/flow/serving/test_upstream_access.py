"""Upstreams that want to be called in ways of their own: paths, queries, headers, certificates, proxies, limits."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.authority import Authority
from tests.support.gateway import CHAT, MODEL, Client, ScriptedServer, platform, reply, scripted, sim_worker
from tests.support.waiting import until


async def fine(client: Client) -> None:
    await client.answer(200, reply())


class Hosted(ScriptedServer):
    """A server with one path for everything, and a list of models only where it says so."""

    def __init__(self, base: str, *, lists: bool = True) -> None:
        super().__init__(fine)
        self.base = base
        self.lists = lists
        self.asked: list[str] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            client = Client(reader, writer)
            if not await client.read_request():
                return
            self.asked.append(client.path.decode())
            path = client.path.decode().partition("?")[0]
            if client.method == b"POST" and path == f"{self.base}/chat/completions":
                self.requests.append(client)
                await client.answer(200, reply())
            elif self.lists and path == f"{self.base}/models":
                await client.answer(200, json.dumps({"data": [{"id": MODEL, "owned_by": "me"}]}).encode())
            else:
                await client.answer(404, b"<html>404</html>", "text/html")


@contextlib.asynccontextmanager
async def hosted(base: str, *, lists: bool = True) -> AsyncIterator[Hosted]:
    server = Hosted(base, lists=lists)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize("base", ["/v1", "/api/v3", "/v1beta/openai", "/team/v1"])
async def test_base_path_with_a_version_gets_no_other_one(tmp_path: Path, base: str) -> None:
    async with hosted(base) as server, platform(tmp_path, [{"url": f"{server.url}{base}/"}]) as gate:
        await until(lambda: gate.member().record.models)
        assert (await gate.chat()).status_code == 200


async def test_upstream_without_a_list_serves_the_models_that_were_named(tmp_path: Path) -> None:
    async with hosted("/v1", lists=False) as server, platform(tmp_path, [{"url": server.url, "models": [MODEL, "other"]}]) as gate:
        assert (await gate.chat()).status_code == 200
        assert (await gate.http.post(CHAT, json=gate.body(model="other"))).status_code == 200
        listed = [model["id"] for model in (await gate.http.get("/v1/models")).json()["data"]]
        assert sorted(listed) == ["other", MODEL]


@pytest.mark.parametrize(("probe_path", "asked"), [("", set()), ("/health", {"/health?api-version=1"})])
async def test_own_probe_path_or_none_replaces_the_list(tmp_path: Path, probe_path: str, asked: set[str]) -> None:
    server = Hosted("/v1", lists=False)

    async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            client = Client(reader, writer)
            if not await client.read_request():
                return
            if client.method == b"GET":
                server.asked.append(client.path.decode())
            await client.answer(200, reply() if client.method == b"POST" else b"ok")

    server._serve = healthy  # type: ignore[method-assign]
    await server.open()
    try:
        settings = {"url": server.url, "model": MODEL, "probe_path": probe_path, "query": "api-version=1"}
        async with platform(tmp_path, [settings]) as gate:
            assert (await gate.chat()).status_code == 200
            assert set(server.asked) == asked
    finally:
        await server.close()


async def test_query_and_headers_go_with_every_call_and_secrets_are_not_shown(tmp_path: Path) -> None:
    async with scripted(fine) as (server,), platform(tmp_path) as gate:
        admin = gate.authorization
        body = {
            "name": "hosted",
            "base_url": server.url,
            "models": [MODEL],
            "query": "api-version=2024-10-21",
            "headers": {"x-team": "blue"},
            "secret_headers": {"api-key": "sk-upstream"},
        }
        made = await gate.http.post("/api/workers", json=body, headers=admin)
        assert made.status_code == 201, made.text
        await gate.until_ready(1)
        assert (await gate.chat()).status_code == 200
        asked = server.requests[-1]
        assert asked.path == b"/v1/chat/completions?api-version=2024-10-21"
        assert (asked.headers[b"api-key"], asked.headers[b"x-team"], asked.headers.get(b"authorization")) == (b"sk-upstream", b"blue", None)
        shown = (await gate.http.get(f"/api/workers/{made.json()['id']}", headers=admin)).json()
        assert (shown["access"]["headers"], shown["access"]["secret_headers"]) == ({"x-team": "blue"}, ["api-key"])
        assert "sk-upstream" not in json.dumps(shown)
        moved = await gate.http.patch(f"/api/workers/{made.json()['id']}", json={"base_url": "http://127.0.0.1:9"}, headers=admin)
        assert (moved.json()["access"]["secret_headers"], moved.json()["access"]["headers"]) == ([], {"x-team": "blue"})


# --- certificates ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def behind_tls(authority: Authority, *, wants_client: bool) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(fine)
    context = authority.server_context(wants_client=wants_client)
    server._server = await asyncio.start_server(server._connected, "127.0.0.1", 0, ssl=context)
    server.port = server._server.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize("wants_client", [False, True])
async def test_private_authority_and_client_certificate(tmp_path: Path, wants_client: bool) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client")
    own = {"client_cert_file": certificate, "client_key_file": key} if wants_client else {}
    async with behind_tls(authority, wants_client=wants_client) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with platform(tmp_path / "d", [{"url": url, "model": MODEL, "ca_file": authority.ca, **own}]) as gate:
            assert (await gate.chat()).status_code == 200
            assert (await gate.chat(stream=True)).status_code != 401


async def test_worker_relays_to_a_server_with_a_private_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client")
    async with behind_tls(authority, wants_client=True) as server, platform(tmp_path / "d") as gate:
        options = {"base_url": f"https://127.0.0.1:{server.port}", "ca_file": str(authority.ca), "headers": "api-key=k"}
        options |= {"client_cert_file": str(certificate), "client_key_file": str(key), "query": "v=1", "model": MODEL}
        async with sim_worker(gate, tmp_path / "w", "openai", **options):
            assert (await gate.chat()).status_code == 200
            asked = server.requests[-1]
            assert (asked.path, asked.headers[b"api-key"]) == (b"/v1/chat/completions?v=1", b"k")


async def test_untrusted_certificate_is_the_reason_that_operators_see(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with behind_tls(authority, wants_client=False) as server, platform(tmp_path / "d") as gate:
        admin = gate.authorization
        body: dict[str, Any] = {"name": "private", "base_url": f"https://127.0.0.1:{server.port}"}
        refused = await gate.http.post("/api/workers", json=body, headers=admin)
        assert (refused.status_code, "certificate" in refused.json()["detail"]) == (502, True)
        broken = await gate.http.post("/api/workers", json=body | {"ca": "-----BEGIN CERTIFICATE-----\nx"}, headers=admin)
        assert (broken.status_code, broken.json()["param"]) == (422, "ca")
        made = await gate.http.post("/api/workers", json=body | {"ca": authority.ca.read_text()}, headers=admin)
        assert (made.status_code, made.json()["access"]["has_ca"]) == (201, True)
        await gate.until_ready(1)
        assert (await gate.chat()).status_code == 200


# --- a proxy -----------------------------------------------------------------------------------------------------------


class ProxyServer:
    """Passes on what it is sent, in a tunnel or by the absolute target, and notes the first lines."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> "ProxyServer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
            authority = target if method == b"CONNECT" else target.split(b"/")[2]
            host, _, port = authority.decode().rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                far_writer.write(head)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def test_upstream_behind_a_proxy_is_reached_through_it(tmp_path: Path) -> None:
    async with scripted(fine) as (server,), ProxyServer() as proxy:
        settings = {"url": server.url, "model": MODEL, "proxy": f"http://user:pass@127.0.0.1:{proxy.port}"}
        async with platform(tmp_path, [settings]) as gate:
            assert (await gate.chat()).status_code == 200
        posts = [head for head in proxy.heads if head.startswith(b"POST")]
        assert posts[0].startswith(f"POST {server.url}/v1/chat/completions HTTP/1.1\r\n".encode())
        assert b"proxy-authorization: Basic dXNlcjpwYXNz\r\n" in posts[0]


async def test_upstream_with_tls_is_reached_through_a_tunnel(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with behind_tls(authority, wants_client=False) as server, ProxyServer() as proxy:
        url = f"https://127.0.0.1:{server.port}"
        settings = {"url": url, "model": MODEL, "ca_file": authority.ca, "proxy": f"http://127.0.0.1:{proxy.port}"}
        async with platform(tmp_path / "d", [settings]) as gate:
            assert [(await gate.chat()).status_code for _ in range(2)] == [200, 200]
        assert {head.split(b" ")[0] for head in proxy.heads} == {b"CONNECT"}


# --- its limits ----------------------------------------------------------------------------------------------------------


async def test_retry_after_of_an_upstream_is_kept_and_it_rests_so_long(tmp_path: Path) -> None:
    async def limited(client: Client) -> None:
        await client.answer(429, b'{"error":{"message":"Rate limit reached"}}', retry_after="7")

    async with scripted(limited) as (server,), platform(tmp_path, [server.url]) as gate:
        answers = [await gate.chat(stream=stream) for stream in (False, True, False)]
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(429, "rate_limit_exceeded")] * 3
        assert all(5 <= int(answer.headers["retry-after"]) <= 7 for answer in answers)
        assert (len(server.requests), gate.member().failures_in_a_row) == (1, 0)
        server.script = fine
        gate.member().resting_until = 0.1
        gate.gateway.workers.sweep()
        assert (await gate.chat()).status_code == 200


async def test_another_upstream_takes_over_while_one_rests(tmp_path: Path) -> None:
    async def limited(client: Client) -> None:
        await client.answer(429, b"{}", retry_after="30")

    async with scripted(limited, fine) as servers, platform(tmp_path, [server.url for server in servers]) as gate:
        assert [(await gate.chat()).status_code for _ in range(8)] == [200] * 8
        assert (len(servers[0].requests) <= 1, len(servers[1].requests)) == (True, 8)


def allowing(server: ScriptedServer, **limits: int) -> list[dict[str, Any]]:
    return [{"url": server.url, "model": MODEL, **limits}]


async def test_requests_beyond_the_rate_of_an_upstream_are_429(tmp_path: Path) -> None:
    async with scripted(fine) as (server,), platform(tmp_path, allowing(server, requests_per_minute=2)) as gate:
        answers = [await gate.chat() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 20 <= int(answers[2].headers["retry-after"]) <= 30
        assert len(server.requests) == 2


async def test_tokens_beyond_the_rate_of_an_upstream_are_429(tmp_path: Path) -> None:
    async def long(client: Client) -> None:
        await client.answer(200, reply(prompt=3, completion=1500))

    async with scripted(long) as (server,), platform(tmp_path, allowing(server, tokens_per_minute=1000)) as gate:
        assert [(await gate.chat()).status_code for _ in range(2)] == [200, 429]


# --- what an operator sees -----------------------------------------------------------------------------------------------


async def test_upstreams_of_the_settings_are_listed_with_the_reason_of_their_probe(tmp_path: Path) -> None:
    quick = {"probe_seconds": 0.05}
    async with hosted("/v1") as server, platform(tmp_path, [{"url": server.url}], upstream=quick) as gate:
        admin, worker_id = gate.authorization, gate.member().id

        async def shown() -> dict[str, Any]:
            (worker,) = (await gate.http.get("/api/workers", headers=admin)).json()["data"]
            found: dict[str, Any] = worker
            return found

        worker = await shown()
        assert (worker["id"], worker["source"], worker["state"], worker["last_error"]) == (worker_id, "gateway", "ready", "")
        server.lists = False
        await until(lambda: gate.gateway.watch.error(worker_id))
        assert "answered 404" in (await shown())["last_error"]
        assert (await gate.http.get(f"/api/workers/{worker_id}", headers=admin)).json()["source"] == "gateway"
        for method, path in (("DELETE", ""), ("POST", "/drain")):
            assert (await gate.http.request(method, f"/api/workers/{worker_id}{path}", headers=admin)).status_code == 409
        server.lists = True
        await until(lambda: not gate.gateway.watch.error(worker_id))
        assert (await shown())["last_error"] == ""
