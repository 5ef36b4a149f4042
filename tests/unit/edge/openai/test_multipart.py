"""A form with one file, read as it comes in."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.domain.errors import BadRequest
from penstock.edge.openai.multipart import Form, read_form

CONTENT_TYPE = "multipart/form-data; boundary=xyz"
CONTENT = b"\r\n--xy\r\n--xyz-not\r\n" * 5


def field(name: str, value: bytes, filename: str | None = None) -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + value + b"\r\n"


def form(*fields: bytes) -> bytes:
    return b"".join(fields) + b"--xyz--\r\n"


FILE = field("file", CONTENT, "a.jsonl")


async def read(body: bytes, piece: int = 1 << 16, content_type: str = CONTENT_TYPE) -> tuple[Form, bytes]:
    written: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), piece):
            yield body[at : at + piece]

    async def write(data: bytes) -> None:
        written.append(data)

    return await read_form(content_type, pieces(), write), b"".join(written)


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 16])
@pytest.mark.parametrize("file_first", [True, False])
async def test_form_in_any_order_and_any_pieces_is_read_whole(piece: int, file_first: bool) -> None:
    fields = [FILE, field("purpose", b"batch"), field("note", "für".encode())]
    body = form(*(fields if file_first else reversed(fields)))
    assert await read(body, piece) == (Form({"purpose": "batch", "note": "für"}, "a.jsonl"), CONTENT)


async def test_multipart_text_fields_are_kept_without_a_file() -> None:
    assert await read(form(field("purpose", b"batch"))) == (Form({"purpose": "batch"}, None), b"")


async def test_empty_file_has_a_name_and_no_content() -> None:
    assert await read(form(field("file", b"", "empty"))) == (Form({}, "empty"), b"")


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("C:\\fakepath\\a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("a\tb", "a_b"),
        ("x" * 300, "x" * 255),
        ("dir/", "file"),
        ("", "file"),
    ],
)
async def test_filename_is_the_last_part_of_a_path_printable_and_not_endless(filename: str, kept: str) -> None:
    assert (await read(form(field("file", b"x", filename))))[0].filename == kept


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form(FILE, FILE), "Only one file"),
        (form(field("file", b"x")), "must be a file"),
        (form(field("other", b"x", "a.txt")), "belongs into the field 'file'"),
        (form(field("purpose", b"a"), field("purpose", b"b")), "came twice"),
        (form(*(field(f"f{number}", b"") for number in range(17))), "too many"),
        (form(field("purpose", b"\xff")), "not UTF-8"),
        (form(field("purpose", b"x" * 1025)), "too long"),
        (field("purpose", b"x" * 5000), "too long"),
        (form(b"--xyz\r\nContent-Type: text/plain\r\n\r\nx\r\n"), "has no name"),
        (form(b"--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n"), "has no name"),
        (FILE, "cut off"),
        (FILE + b"--xyz", "cut off"),
        (b"", "cut off"),
        (b"no form at all", "malformed"),
        (b"--abc\r\n", "malformed"),
    ],
    ids=range(15),
)
async def test_malformed_form_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        await read(body)


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=xyz"])
async def test_body_that_is_not_a_form_is_refused(content_type: str) -> None:
    with pytest.raises(BadRequest, match="multipart/form-data"):
        await read(form(FILE), content_type=content_type)


async def test_boundary_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadRequest, match="boundary"):
        await read(b"", content_type=f"multipart/form-data; boundary={'x' * 300}")


async def test_write_error_of_the_file_receiver_is_raised() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield form(FILE)

    async def write(data: bytes) -> Any:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await read_form(CONTENT_TYPE, pieces(), write)


@pytest.mark.parametrize(("value", "reason"), [(b"x" * 2000, "too long"), (b"\xff", "UTF-8")])
async def test_bad_field_is_refused_before_a_byte_of_the_file_behind_it(value: bytes, reason: str) -> None:
    written: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield form(field("purpose", value), FILE)

    async def write(data: bytes) -> None:
        written.append(data)

    with pytest.raises(BadRequest, match=reason):
        await read_form(CONTENT_TYPE, pieces(), write)
    assert written == []
