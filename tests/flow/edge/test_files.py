"""`/v1/files` as any client may call it: forms in any order and any pieces, limits, pages, ranges, expiry."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from penstock.domain.durable.files import MONTH_SECONDS
from penstock.durable.files.service import FileService
from penstock.storage.blobs.memory import MemoryBlobs
from tests.flow.edge.control_api import Gateway, gateway

FILE = ("file", "lines.jsonl", b'{"a": 1}\n')


def form(*parts: tuple[Any, ...], boundary: str = "xyz") -> bytes:
    """Fields are (name, value), files (name, filename, content)."""
    pieces = []
    for name, *rest in parts:
        filename = f'; filename="{rest[0]!s}"' if len(rest) == 2 else ""
        value = rest[-1] if isinstance(rest[-1], bytes) else str(rest[-1]).encode()
        pieces.append(
            b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
            % (boundary.encode(), str(name).encode(), filename.encode(), value)
        )
    return b"".join(pieces) + b"--%b--\r\n" % boundary.encode()


async def post(gate: Gateway, body: bytes, piece: int = 0, content_type: str = "multipart/form-data; boundary=xyz") -> httpx.Response:
    """In one piece, or in many."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), piece):
            yield body[at : at + piece]

    headers = gate.ours.headers() | {"content-type": content_type}
    return await gate.client.post("/v1/files", headers=headers, content=pieces() if piece else body)


async def uploaded(
    gate: Gateway, role: str = "owner", name: str = "a.jsonl", purpose: str = "batch", content: bytes = b"x\n"
) -> dict[str, Any]:
    answer = await gate.client.post(
        "/v1/files", headers=gate.ours.headers(role), data={"purpose": purpose}, files={"file": (name, content)}
    )
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.parametrize("piece", [0, 1, 7, 64])
@pytest.mark.parametrize("file_first", [False, True])
async def test_a_form_in_any_order_and_any_pieces(gate: Gateway, piece: int, file_first: bool) -> None:
    content = b"--xy\r\n--xyz-not\r\n" * 20
    parts: list[Any] = [("purpose", "user_data"), ("file", "C:\\fakepath\\no\ttes.txt", content)]
    answer = await post(gate, form(*(reversed(parts) if file_first else parts)), piece)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made == {
        "id": made["id"],
        "object": "file",
        "bytes": len(content),
        "created_at": int(gate.clock.time()),
        "expires_at": None,
        "filename": "no_tes.txt",
        "purpose": "user_data",
        "status": "processed",
        "status_details": None,
    }
    assert made["id"].startswith("file-")
    read = await gate.client.get(f"/v1/files/{made['id']}/content", headers=gate.ours.headers())
    assert (read.content, read.headers["content-type"]) == (content, "application/octet-stream")


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([FILE], "purpose"),
        ([("purpose", "batch")], "file"),
        ([("purpose", "batch"), ("file", "just text")], "file"),
        ([("purpose", "batch"), ("file", "empty", b"")], "file"),
        ([("purpose", "batch"), FILE, FILE], "file"),
        ([("purpose", "batch"), ("document", "x", b"x")], "file"),
        ([("purpose", "batch_output"), FILE], "purpose"),
        ([("purpose", "nonsense"), FILE], "purpose"),
        ([("purpose", "batch"), ("purpose", "batch"), FILE], None),
        ([("purpose", "batch"), ("colour", "blue"), FILE], "colour"),
        ([("purpose", "batch"), ("expires_after[seconds]", "3600"), FILE], "expires_after[anchor]"),
        ([("purpose", "batch"), ("expires_after[anchor]", "created_at"), FILE], "expires_after[seconds]"),
        ([("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "59"), FILE], "expires_after[seconds]"),
        ([("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "-1"), FILE], "expires_after[seconds]"),
        ([("purpose", "x" * 2000), FILE], None),
        ([(f"field{number}", "x") for number in range(20)], None),
    ],
)
async def test_form_with_wrong_parts_is_refused(gate: Gateway, parts: list[Any], param: str | None) -> None:
    answer = await post(gate, form(*parts), 50)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert await left(gate) == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=xyz"),
        (b"nonsense", "multipart/form-data; boundary=xyz"),
        (form(("purpose", "batch"), FILE)[:-8], "multipart/form-data; boundary=xyz"),
        (form(("purpose", "batch"), FILE)[:60], "multipart/form-data; boundary=xyz"),
        (form(FILE), "multipart/form-data"),
        (form(FILE), "multipart/form-data; boundary=" + "x" * 300),
        (b"--xyz\r\n\r\nno name\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"),
        (b"--xyz\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n--xyz--", "multipart/form-data; boundary=xyz"),
        (form(("purpose", b"\xff\xfe"), FILE), "multipart/form-data; boundary=xyz"),
    ],
)
async def test_upload_that_is_not_a_form_is_refused(gate: Gateway, body: bytes, content_type: str) -> None:
    answer = await post(gate, body, 0, content_type)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert await left(gate) == []


async def left(gate: Gateway) -> list[str]:
    """What lies in the shelves: blobs, and unfinished ones."""
    blobs = gate.services.files._blobs
    unfinished = await blobs.forget_unfinished(0.0)
    return [*await blobs.names(0.0), *["unfinished"] * unfinished]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_that_is_too_large(announced: bool) -> None:
    async with gateway() as first:
        files = FileService(first.store.files, MemoryBlobs(), first.clock, max_bytes=100_000)
        async with gateway(files=files) as gate:
            body = form(("purpose", "batch"), ("file", "x", b"x" * 200_000))
            answer = await post(gate, body, 0 if announced else 1000)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
            assert await left(gate) == []


async def test_an_organisation_has_room_for_so_much() -> None:
    async with gateway() as first:
        blobs = MemoryBlobs()
        files = FileService(first.store.files, blobs, first.clock, max_org_bytes=1000)
        async with gateway(files=files) as gate:
            files._store = gate.store.files
            kept = await uploaded(gate, content=b"x" * 600)
            for size, piece in ((500, 0), (500, 100)):
                answer = await post(gate, form(("purpose", "batch"), ("file", "x", b"x" * size)), piece)
                assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
                assert answer.headers["x-should-retry"] == "false"
            assert await left(gate) == [kept["id"]]
            await uploaded(gate, content=b"x" * 400)
            answer = await post(gate, form(("purpose", "batch"), FILE))
            assert answer.status_code == 429
            ours = await files.begin(gate.ours.org_id, max_bytes=10_000)
            await ours.write(b"x" * 5000)  # what a batch has answered is kept
            await ours.discard()
            await gate.client.delete(f"/v1/files/{kept['id']}", headers=gate.ours.headers())
            await uploaded(gate, content=b"x" * 500)


async def test_files_are_listed_in_pages(gate: Gateway) -> None:
    ids = [(await uploaded(gate, name=f"{number}.jsonl", purpose="vision" if number == 1 else "batch"))["id"] for number in range(4)]

    async def page(**query: Any) -> tuple[list[int], bool]:
        answer = (await gate.client.get("/v1/files", headers=gate.ours.headers(), params=query)).json()
        assert (answer["object"], answer["first_id"]) == ("list", answer["data"][0]["id"] if answer["data"] else None)
        return [ids.index(each["id"]) for each in answer["data"]], answer["has_more"]

    assert await page() == ([3, 2, 1, 0], False)
    assert await page(limit=2) == ([3, 2], True)
    assert await page(limit=2, after=ids[2]) == ([1, 0], False)
    assert await page(order="asc", limit=1, after=ids[0]) == ([1], True)
    assert await page(purpose="vision") == ([1], False)
    for bad in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"purpose": "x"}):
        assert (await gate.client.get("/v1/files", headers=gate.ours.headers(), params=bad)).status_code == 400


async def test_deleted_file_is_gone(gate: Gateway) -> None:
    made = await uploaded(gate)
    url, headers = f"/v1/files/{made['id']}", gate.ours.headers()
    assert (await gate.client.delete(url, headers=headers)).json() == {"id": made["id"], "object": "file", "deleted": True}
    for answer in (await gate.client.delete(url, headers=headers), await gate.client.get(url, headers=headers)):
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "id")
    assert (await gate.client.get(f"{url}/content", headers=headers)).status_code == 404
    assert await left(gate) == []


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-50", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-500", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + "0-0," * 5000, 200, b"0123456789", None),
    ],
)
async def test_content_is_served_in_ranges(gate: Gateway, asked: str, status: int, content: bytes | None, told: str | None) -> None:
    made = await uploaded(gate, content=b"0123456789")
    answer = await gate.client.get(f"/v1/files/{made['id']}/content", headers=gate.ours.headers() | {"range": asked})
    assert (answer.status_code, answer.headers.get("content-range")) == (status, told)
    if content is not None:
        assert (answer.content, answer.headers["content-length"]) == (content, str(len(content)))


async def test_expired_file_is_no_longer_served(gate: Gateway) -> None:
    batch = await uploaded(gate)
    assert batch["expires_at"] == batch["created_at"] + MONTH_SECONDS
    soon = await post(
        gate, form(("purpose", "user_data"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600"), FILE)
    )
    kept = await uploaded(gate, purpose="user_data")
    gate.clock.advance(3601)
    gate.ring.confirm(gate.clock.monotonic())  # as the change feed does twice a second
    headers = gate.ours.headers()
    assert (await gate.client.get(f"/v1/files/{soon.json()['id']}", headers=headers)).status_code == 404
    assert [each["id"] for each in (await gate.client.get("/v1/files", headers=headers)).json()["data"]] == [kept["id"], batch["id"]]
    assert await gate.services.files.sweep(3600.0) == 1
    assert sorted(await left(gate)) == sorted([batch["id"], kept["id"]])


async def test_blob_without_a_record_is_swept(gate: Gateway) -> None:
    kept = await uploaded(gate)
    blobs = gate.services.files._blobs
    orphan, half = await blobs.create("file-orphan"), await blobs.create("file-half")
    await orphan.write(b"x")
    await orphan.commit()
    await half.write(b"x")
    assert await gate.services.files.sweep(3600.0) == 0
    assert await gate.services.files.sweep(0.0) == 2
    assert await left(gate) == [kept["id"]]
