"""A multipart form with one file, read as it comes in: the file goes on piece by piece, the other fields are short."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from penstock.domain.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_FIELDS = 16
_LONGEST_FIELD = 1024
"""Characters."""
_MOST_BYTES_OF_A_CHARACTER = 4
_TOO_LONG = "A field of the form is too long."
_LONGEST_FILENAME = 255
_FILE = "file"


@dataclass
class Form:
    """What came besides the content of the file. `filename` is None when there was no file."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


Sink = Callable[[bytes], Awaitable[None]]


async def read_form(content_type: str, body: AsyncIterator[bytes], write: Sink) -> Form:
    """Raises BadRequest, and what `write` raises."""
    parts = _Parts(_boundary(content_type))
    form = Form()
    fields: dict[str, bytes] = {}
    async for data in body:
        for part in parts.feed(data):
            if part.is_new:
                _check(fields)
            if part.name == _FILE:
                await _take_file(form, part, write)
            else:
                _take_field(fields, part)
    if not parts.ended:
        raise BadRequest("The multipart form is cut off.")
    form.fields = {name: _text(value) for name, value in fields.items()}
    return form


@dataclass
class _Part:
    """A piece of a part's content, or (`is_new`) its beginning."""

    name: str
    filename: str | None
    data: bytes
    is_new: bool


async def _take_file(form: Form, part: _Part, write: Sink) -> None:
    if part.is_new:
        if form.filename is not None:
            raise BadRequest("Only one file can be uploaded at a time.", param=_FILE)
        if part.filename is None:
            raise BadRequest("'file' must be a file with a name, not a field.", param=_FILE)
        form.filename = _plain(part.filename)
    await write(part.data)


def _take_field(fields: dict[str, bytes], part: _Part) -> None:
    """Bytes until the form has ended: a read may end in the middle of a character."""
    if part.is_new:
        if part.filename is not None:
            raise BadRequest("The file belongs into the field 'file'.", param=_FILE)
        if part.name in fields or len(fields) >= _MOST_FIELDS:
            raise BadRequest("A field of the form came twice, or there are too many.")
        fields[part.name] = b""
    fields[part.name] += part.data
    if len(fields[part.name]) > _LONGEST_FIELD * _MOST_BYTES_OF_A_CHARACTER:
        raise BadRequest(_TOO_LONG)


def _check(fields: dict[str, bytes]) -> None:
    """Another part begins, so these are whole: refuse a bad one before a file is taken. Raises BadRequest."""
    for value in fields.values():
        _text(value)


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("A field of the form is not UTF-8.") from None
    if len(text) > _LONGEST_FIELD:
        raise BadRequest(_TOO_LONG)
    return text


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequest("A file is uploaded as multipart/form-data.", param=_FILE)
    return boundary


def _plain(filename: str) -> str:
    """The last part of a path, printable and not endless."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(char if char.isprintable() else "_" for char in name)[:_LONGEST_FILENAME] or "file"


class _Parts:
    """The parser's callbacks as a list of what each read brought."""

    def __init__(self, boundary: bytes) -> None:
        self._found: list[_Part] = []
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._name = ""
        self._filename: str | None = None
        self.ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise BadRequest("The boundary of the multipart form is too long.") from None

    def feed(self, data: bytes) -> list[_Part]:
        self._found = []
        if data:
            try:
                self._parser.write(data)
            except FormParserError:
                raise BadRequest("The multipart form is malformed.") from None
        return self._found

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise BadRequest("A part of the multipart form has no name.")
        self._name = options[b"name"].decode("utf-8", "replace")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode("utf-8", "replace")
        self._found.append(_Part(self._name, self._filename, b"", is_new=True))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(_Part(self._name, self._filename, data[start:end], is_new=False))

    def _on_end(self) -> None:
        self.ended = True
