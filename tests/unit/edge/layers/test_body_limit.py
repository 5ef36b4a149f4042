"""A body is read whole, within a size and a depth, before the application sees it."""

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from penstock.domain.errors import BadRequest, InvalidJson, TooLarge
from penstock.edge.layers.body_limit import BodyLimit
from tests.unit.edge.asgi import RecordingApp, call, http_scope

MIB = 1024 * 1024


def pieces(*data: bytes) -> list[Message]:
    return [{"type": "http.request", "body": each, "more_body": at < len(data) - 1} for at, each in enumerate(data)]


def limited(behind: RecordingApp, max_bytes: int = 100) -> BodyLimit:
    """`/small` takes little, as the calls of workers do."""
    return BodyLimit(behind, max_bytes, 4, lambda method, path: path == "/small")


async def test_body_in_pieces_reaches_the_application_in_one() -> None:
    behind = RecordingApp()
    await call(limited(behind), http_scope("POST"), *pieces(b"[1,", b"2", b"]"))
    assert behind.bodies == [b"[1,2]"]


async def test_body_of_exactly_the_limit_passes() -> None:
    behind = RecordingApp()
    await call(limited(behind), http_scope("POST"), *pieces(b"x" * 60, b"x" * 40))
    assert behind.bodies == [b"x" * 100]


async def test_body_over_the_limit_is_refused_at_the_piece_that_exceeds_it() -> None:
    behind = RecordingApp()
    left = pieces(b"x" * 60, b"x" * 41, b"x")
    with pytest.raises(TooLarge, match="100 bytes"):
        await call(limited(behind), http_scope("POST"), *left)
    assert behind.bodies == []


@pytest.mark.parametrize("length", ["101", "9" * 30])
async def test_declared_length_over_the_limit_is_refused_before_the_body_is_read(length: str) -> None:
    with pytest.raises(TooLarge):
        await call(limited(RecordingApp()), http_scope("POST", headers={"content-length": length}), {"type": "never read"})


@pytest.mark.parametrize("length", ["-1", "1_0", "ten", "", "\xb2"])
async def test_declared_length_that_is_not_a_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest, match="Content-Length"):
        await call(limited(RecordingApp()), http_scope("POST", headers={"content-length": length}))


@pytest.mark.parametrize(("path", "passes"), [("/small", False), ("/large", True)])
async def test_call_with_a_small_body_is_limited_to_one_mebibyte(path: str, passes: bool) -> None:
    behind = RecordingApp()
    app = limited(behind, max_bytes=10 * MIB)
    if passes:
        await call(app, http_scope("POST", path), *pieces(b"x" * (MIB + 1)))
    else:
        with pytest.raises(TooLarge):
            await call(app, http_scope("POST", path), *pieces(b"x" * (MIB + 1)))
    assert len(behind.bodies) == passes


async def test_json_that_nests_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidJson, match="deeper than 4"):
        await call(limited(RecordingApp()), http_scope("POST"), *pieces(b"[" * 5))
    behind = RecordingApp()
    await call(limited(behind), http_scope("POST"), *pieces(b"[[[[1]]]]"))
    assert len(behind.bodies) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_method_without_a_body_is_not_read(method: str) -> None:
    behind = RecordingApp()
    await call(limited(behind), http_scope(method, headers={"content-length": "1000"}), *pieces(b""))
    assert len(behind.scopes) == 1


async def test_upload_of_a_file_is_not_read_here() -> None:
    behind = RecordingApp()
    await call(limited(behind), http_scope("POST", "/v1/files"), *pieces(b"x" * 101, b"x" * 101))
    assert behind.bodies == [b"x" * 101]  # the first piece, as it came


async def test_client_that_disconnects_in_mid_body_ends_the_call() -> None:
    with pytest.raises(ClientDisconnect):
        await call(limited(RecordingApp()), http_scope("POST"), pieces(b"x", b"")[0], {"type": "http.disconnect"})


@pytest.mark.parametrize(("path", "most"), [("/v1/responses", 50_000), ("/api/tasks", 400_000)])
async def test_body_with_too_many_fields_is_refused(path: str, most: int) -> None:
    app = limited(RecordingApp(), max_bytes=10 * MIB)
    with pytest.raises(InvalidJson, match=f"more than {most} fields"):
        await call(app, http_scope("POST", path), *pieces(b"{" + b",".join([b'"a":1'] * (most + 1)) + b"}"))
    behind = RecordingApp()
    await call(limited(behind, max_bytes=10 * MIB), http_scope("POST", path), *pieces(b"{" + b",".join([b'"a":1'] * most) + b"}"))
    assert len(behind.bodies) == 1
