"""`/v1/files`: OpenAI's files, streamed to and from the disk."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from penstock.domain.durable.files import MONTH_SECONDS, UPLOADED, FileQuery, FileRecord, Purpose
from penstock.domain.errors import BadRequest, NotFound, RangeNotSatisfiable
from penstock.durable.files.service import too_large
from penstock.edge.layers.access import InferenceCaller, Services
from penstock.edge.layers.documented_errors import openai_errors
from penstock.edge.layers.problems import answer
from penstock.edge.layers.shapes import After, Order, StoredId, View
from penstock.edge.openai.byte_range import asked_range
from penstock.edge.openai.multipart import Form, read_form

router = APIRouter(prefix="/v1/files", tags=["Files"])

_FORM_BYTES = 64 * 1024
"""What the form may have around the file."""
_LEAST_SECONDS = 3600
_FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "dependentRequired": {
                        "expires_after[anchor]": ["expires_after[seconds]"],
                        "expires_after[seconds]": ["expires_after[anchor]"],
                    },
                    "properties": {
                        "file": {"type": "string", "format": "binary", "minLength": 1, "description": "Up to 200 MiB."},
                        "purpose": {"type": "string", "enum": sorted(UPLOADED)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": _LEAST_SECONDS, "maximum": MONTH_SECONDS},
                    },
                }
            }
        },
    }
}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The content.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The part that was asked for.", "content": {"application/octet-stream": {}}},
}


class FileObject(View):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: Annotated[int, Field(description="Unix seconds.")]
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileList(View):
    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(View):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


PurposeFilter = Annotated[Purpose | None, Query()]
FileLimit = Annotated[int, Query(ge=1, le=10_000)]


@router.post("", responses=openai_errors(400, 413, 507), summary="Upload a file", openapi_extra=_UPLOAD)
async def upload_file(request: Request, caller: InferenceCaller, services: Services) -> FileObject:
    """`purpose` says what it is for. A file for a batch goes after 30 days, others stay, unless `expires_after` says otherwise."""
    _check_length(request.headers.get("content-length"), services.files.max_bytes)
    upload = await services.files.begin(caller.org_id, plan_bytes=caller.plan.file_bytes)
    try:
        form = await read_form(request.headers.get("content-type", ""), request.stream(), upload.write)
        filename, purpose, expires = _checked(form)
        return _shown(await upload.keep(filename, purpose, expires))
    finally:
        await upload.discard()


@router.get("", responses=openai_errors(400), summary="List files")
async def list_files(
    caller: InferenceCaller,
    services: Services,
    after: After = None,
    limit: FileLimit = 10_000,
    order: Order = "desc",
    purpose: PurposeFilter = None,
) -> FileList:
    query = FileQuery(caller.org_id, limit + 1, after, purpose, ascending=order == "asc")
    found = await services.files.files(query)
    data = [_shown(record) for record in found[:limit]]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return FileList(data=data, first_id=first, last_id=last, has_more=len(found) > limit)


@router.get("/{file_id}", responses=openai_errors(400, 404), summary="Show a file")
async def show_file(file_id: StoredId, caller: InferenceCaller, services: Services) -> FileObject:
    return _shown(await services.files.file(caller.org_id, file_id))


@router.delete("/{file_id}", responses=openai_errors(400, 404), summary="Delete a file")
async def delete_file(file_id: StoredId, caller: InferenceCaller, services: Services) -> DeletedFile:
    await services.files.delete(caller.org_id, file_id)
    return DeletedFile(id=file_id)


@router.get(
    "/{file_id}/content",
    responses=openai_errors(400, 404, 416) | _BYTES,
    response_class=StreamingResponse,
    summary="Read a file",
)
async def file_content(request: Request, file_id: StoredId, caller: InferenceCaller, services: Services) -> Response:
    """As it was uploaded; `Range` with one range of bytes is understood."""
    record = await services.files.file(caller.org_id, file_id)
    headers = {"accept-ranges": "bytes", "content-disposition": f"attachment; filename*=UTF-8''{quote(record.filename, safe='')}"}
    try:
        part = asked_range(request.headers.get("range"), record.size_bytes)
    except RangeNotSatisfiable as error:
        return answer(error, request.url.path, request.state.request_id, {"content-range": f"bytes */{record.size_bytes}"})
    start, length = part or (0, record.size_bytes)
    headers["content-length"] = str(length)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{record.size_bytes}"
    pieces = services.files.content(record, start, length)
    body = _with_first(await _first(pieces), pieces)
    return StreamingResponse(body, 200 if part is None else 206, headers, "application/octet-stream")


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    """Read before the status line leaves: a content that is gone is an error, not a broken answer."""
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise NotFound("The content of this file is gone.", param="id") from None


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _check_length(declared: str | None, limit: int) -> None:
    if declared is not None and declared.isascii() and declared.isdigit() and int(declared[:20]) > limit + _FORM_BYTES:
        raise too_large(limit)


def _checked(form: Form) -> tuple[str, Purpose, float | None]:
    """The file's name, its purpose, and how long it stays. Raises BadRequest."""
    if form.filename is None:
        raise BadRequest("'file' is a required property.", param="file")
    unknown = sorted(form.fields.keys() - _FIELDS)
    if unknown:
        raise BadRequest("There is such a field in no form for a file.", param=unknown[0][:64])
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise BadRequest("'purpose' is a required property.", param="purpose")
    if purpose not in UPLOADED:
        raise BadRequest(f"'purpose' must be one of: {', '.join(sorted(UPLOADED))}.", param="purpose")
    return form.filename, Purpose(purpose), _expires(form.fields)


def _expires(fields: dict[str, str]) -> float | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise BadRequest("'expires_after[anchor]' must be 'created_at'.", param="expires_after[anchor]")
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or not _LEAST_SECONDS <= int(seconds[:9]) <= MONTH_SECONDS:
        raise BadRequest(
            f"'expires_after[seconds]' must be a whole number from {_LEAST_SECONDS} to {MONTH_SECONDS}.", param="expires_after[seconds]"
        )
    return float(seconds)


def _shown(record: FileRecord) -> FileObject:
    return FileObject(
        id=record.id,
        bytes=record.size_bytes,
        created_at=int(record.created_at),
        expires_at=None if record.expires_at is None else int(record.expires_at),
        filename=record.filename,
        purpose=record.purpose,
    )
