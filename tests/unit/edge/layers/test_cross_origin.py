"""Which origins may read an answer, and what a browser's preflight is told."""

import pytest

from penstock.edge.layers.cross_origin import EXPOSED, CrossOrigin, Preflights
from penstock.edge.layers.envelope import Envelope
from tests.unit.edge.asgi import RecordingApp, call, control_services, http_scope

APP = b"https://app.test"


@pytest.mark.parametrize(
    ("configured", "origin", "allowed"),
    [
        ((), APP, b""),
        (("https://app.test",), APP, APP),
        (("https://app.test",), None, b""),
        (("https://app.test",), b"https://app.test.evil.test", b""),
        (("https://app.test",), b"http://app.test", b""),
        (("*",), b"https://any.test", b"*"),
        (("*",), None, b""),
        (("null",), b"null", b"null"),
        (("http://localhost:*",), b"http://localhost:5173", b"http://localhost:5173"),
        (("http://localhost:*",), b"http://localhost", b"http://localhost"),
        (("http://localhost:*",), b"http://localhost:5173.evil.test", b""),
        (("https://*.app.test",), b"https://a.b.app.test", b"https://a.b.app.test"),
        (("https://*.app.test",), b"https://app.test", b""),
        (("https://*.app.test",), b"https://evilapp.test", b""),
        (("https://*.app.test",), b"https://evil.test/.app.test", b""),
        (("https://*.app.test",), b"https://evil.test\r\nx: .app.test", b""),
    ],
    ids=lambda value: repr(value),
)
def test_origin_is_allowed_only_as_configured(configured: tuple[str, ...], origin: bytes | None, allowed: bytes) -> None:
    assert CrossOrigin(configured).allowed(origin) == allowed


def test_lines_permit_the_origin_and_expose_what_clients_read() -> None:
    lines = CrossOrigin(("https://app.test",)).lines(APP).decode().splitlines()
    assert lines[0] == "access-control-allow-origin: https://app.test"
    assert lines[1] == f"access-control-expose-headers: {', '.join(EXPOSED)}"
    assert lines[2] == "vary: Origin"
    assert {"x-request-id", "retry-after", "x-should-retry", "x-ratelimit-remaining-tokens", "x-penstock-decision"} <= set(EXPOSED)


def test_lines_for_another_origin_only_say_that_answers_vary() -> None:
    assert CrossOrigin(("https://app.test",)).lines(b"https://evil.test") == b"vary: Origin\r\n"
    assert CrossOrigin(("https://app.test",)).lines(None) == b"vary: Origin\r\n"
    assert CrossOrigin(()).lines(APP) == CrossOrigin(("*",)).lines(None) == b""


def preflight(origin: str = "https://app.test", **headers: str) -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": "POST", **headers}


async def test_preflight_of_an_allowed_origin_needs_no_key_and_names_the_headers_it_asked_for() -> None:
    inner = RecordingApp()
    services = control_services(cors_origins=("https://app.test",))
    app = Envelope(Preflights(inner, CrossOrigin(services.cors_origins)), services)
    asked = preflight(**{"access-control-request-headers": "authorization, content-type, x-stainless-lang"})
    answer = await call(app, http_scope("OPTIONS", "/v1/chat/completions", asked))
    assert (answer.status, inner.scopes) == (200, [])
    assert answer.headers["access-control-allow-origin"] == "https://app.test"
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-lang"
    assert answer.headers["access-control-allow-methods"].split(", ") == ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert answer.headers["access-control-max-age"] == "7200"
    assert answer.headers["x-request-id"]


async def test_preflight_may_ask_for_a_private_network() -> None:
    app = Preflights(RecordingApp(), CrossOrigin(("*",)))
    asked = preflight(**{"access-control-request-private-network": "true"})
    answer = await call(app, http_scope("OPTIONS", "/api/me", asked))
    assert answer.headers["access-control-allow-private-network"] == "true"


async def test_header_names_that_are_none_are_not_repeated() -> None:
    app = Preflights(RecordingApp(), CrossOrigin(("*",)))
    answer = await call(app, http_scope("OPTIONS", "/api/me", preflight(**{"access-control-request-headers": "a\r\nb: c"})))
    assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize(
    ("configured", "status", "sentence"),
    [
        ((), 405, "cors_origins is empty"),
        (("https://other.test",), 403, "does not allow this origin"),
    ],
    ids=["off", "another origin"],
)
async def test_preflight_that_is_refused_says_which_setting_refuses_it(configured: tuple[str, ...], status: int, sentence: str) -> None:
    services = control_services(cors_origins=configured)
    app = Envelope(Preflights(RecordingApp(), CrossOrigin(configured)), services)
    answer = await call(app, http_scope("OPTIONS", "/v1/models", preflight()))
    assert answer.status == status
    assert sentence in answer.json["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"origin": "https://app.test"}], ids=["no headers", "no method"])
async def test_options_that_are_no_preflight_go_on(headers: dict[str, str]) -> None:
    inner = RecordingApp()
    await call(Preflights(inner, CrossOrigin(("*",))), http_scope("OPTIONS", "/v1/models", headers))
    assert len(inner.scopes) == 1
