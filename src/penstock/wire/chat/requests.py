"""A request body, checked as far as the gateway must understand it; everything else passes through untouched.

The body stays the bytes that came: an edit splices, or re-encodes the top level while every value stays raw.
"""

import re
from typing import Final

import msgspec
from msgspec import UNSET

from penstock.domain.errors import BadRequest, InvalidJson
from penstock.domain.inference import Operation
from penstock.wire.chat.bodies import (
    AnyBody,
    ChatBody,
    CompletionBody,
    ContentPart,
    EmbeddingBody,
    Prompt,
    RequestBody,
    SamplingBody,
    StreamOptions,
    TensorsBody,
)

BYTES_PER_TOKEN: Final = 4
"""The usual rule of thumb for byte-pair encodings; only for reserving before an engine has counted."""

MOST_CONTAINERS: Final = 200_000
"""Arrays and objects in one body. No real request comes near it; it bounds what looking at an attacker's costs."""

MOST_KEYS: Final = 50_000
"""Names of fields in one inference request: an unknown one costs the decoder more than anything else."""

_BRACKETS_AND_QUOTES: Final = b'"[]{}'
_OTHERS: Final = bytes(set(range(256)) - set(_BRACKETS_AND_QUOTES))
_NO_COLONS_OR_QUOTES: Final = bytes(set(range(256)) - set(b':"'))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_STRING: Final = re.compile(rb'"[^"]*"')
_FIELD_OF_MESSAGE: Final = re.compile(r" - at `\$\.?([^`]*)`$")

_DECODERS: Final[dict[Operation, msgspec.json.Decoder[AnyBody]]] = {
    Operation.CHAT: msgspec.json.Decoder(ChatBody),
    Operation.COMPLETION: msgspec.json.Decoder(CompletionBody),
    Operation.EMBEDDING: msgspec.json.Decoder(EmbeddingBody),
    Operation.INFER: msgspec.json.Decoder(TensorsBody),
}
_prompt: Final = msgspec.json.Decoder(Prompt)
_top_level: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(operation: Operation, body: bytes, max_depth: int) -> AnyBody:
    """The typed view of a body. Raises InvalidJson, or BadRequest with the field at fault as `param`."""
    if body.count(b"{") + body.count(b"[") > max_depth and deeper_than(body, max_depth):
        raise InvalidJson(f"The JSON in the request body is nested deeper than {max_depth} levels.")
    try:
        if not body.isascii():
            # msgspec does not look into values that we leave raw, and an edit decodes the names of fields.
            body.decode("utf-8")
        request = _DECODERS[operation].decode(body)
        if type(request) is not ChatBody or not request.messages:
            _require_text(request)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson(f"The request body is not valid JSON: {_reason(error)}.") from None
    return request


def _require_text(request: RequestBody) -> None:
    if isinstance(request, ChatBody):
        if not request.messages:
            raise BadRequest("'messages' is a required property: a non-empty array.", param="messages")
    elif isinstance(request, CompletionBody):
        if not bytes(request.prompt):
            raise BadRequest("'prompt' is a required property.", param="prompt")
        _check_prompt(bytes(request.prompt), "prompt")
    elif isinstance(request, EmbeddingBody):
        if not bytes(request.input):
            raise BadRequest("'input' is a required property.", param="input")
        _check_prompt(bytes(request.input), "input")
    elif isinstance(request, TensorsBody) and not request.inputs:
        raise BadRequest("'inputs' is a required property: a non-empty array of tensors.", param="inputs")


def _check_prompt(raw: bytes, param: str) -> None:
    try:
        value = _prompt.decode(raw)
    except msgspec.ValidationError:
        raise BadRequest(f"'{param}' must be a string, an array of strings, or an array of tokens.", param=param) from None
    if param == "input" and not value:
        raise BadRequest("'input' must not be empty.", param=param)


def explained(message: str) -> BadRequest:
    """msgspec says "Expected `int` >= 1 - at `$.max_tokens`"; the field goes to `param`, the rest to the message."""
    match = _FIELD_OF_MESSAGE.search(message)
    field = match[1] if match else ""
    sentence = message[: match.start()] if match else message
    if missing := re.match(r"Object missing required field `(\w+)`", sentence):
        field = f"{field}.{missing[1]}" if field else missing[1]
        return BadRequest(f"'{field}' is a required property.", param=field)
    return BadRequest(f"Invalid value for '{field}': {sentence.replace('`', '')}." if field else f"{sentence}.", param=field or None)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).replace("JSON is malformed: ", "").rstrip(".")


def deeper_than(body: bytes, limit: int) -> bool:
    """Whether JSON nests deeper than `limit` (or has more than MOST_CONTAINERS, which no client needs). Not asked for the usual body.

    Cheap for the usual body, and a few hundredths of a second for the worst of 10 MiB: everything is one pass of C over the bytes.
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return False
    if body.find(b"\\") >= 0:  # `in` on bytes makes an exception first
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # Two quotes side by side are an empty string, or the border of two strings with no bracket between them.
    marks = body.translate(_ONE_KIND, _OTHERS).replace(b'""', b"")
    if marks.count(b'"') > 2 * MOST_CONTAINERS:
        return True
    skeleton = _STRING.sub(b"", marks)
    if len(skeleton) > 2 * MOST_CONTAINERS:
        return True
    for _ in range(limit):
        if not skeleton:
            return False
        # One round removes the innermost level everywhere; what cannot shrink is unbalanced and fails to decode anyway.
        shorter = skeleton.replace(b"[]", b"")
        if len(shorter) == len(skeleton):
            return len(skeleton) > limit
        skeleton = shorter
    return bool(skeleton)


def check_keys(body: bytes) -> None:
    """Raises InvalidJson for a body with more than MOST_KEYS names. Asked for large bodies alone, before they are decoded."""
    if more_keys_than(body, MOST_KEYS):
        raise InvalidJson(f"The JSON in the request body has more than {MOST_KEYS} fields.")


def more_keys_than(body: bytes, limit: int) -> bool:
    """Whether JSON has more than `limit` names of fields, in all of its objects together. Cheap for the usual body."""
    if body.count(b":") <= limit:
        return False
    if body.find(b"\\") >= 0:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = body.translate(None, _NO_COLONS_OR_QUOTES).replace(b'""', b"")
    return _STRING.sub(b"", marks).count(b":") > limit


def streams(request: RequestBody) -> bool:
    """Whether the answer is wanted as a stream."""
    return bool(request.stream) if type(request) is ChatBody else isinstance(request, SamplingBody) and bool(request.stream)


def prompt_tokens(request: RequestBody, body: bytes) -> int:
    """An estimate, good enough to reserve with: everything in the body may become part of the prompt.

    Less the JSON around it, and inline data in the content parts that are known to have some: each of those counts as 1,000 tokens.
    """
    size = len(body)
    if type(request) is not ChatBody:
        return 1 if isinstance(request, TensorsBody) else (size - _FRAME_BYTES) // BYTES_PER_TOKEN + 1
    if size > _LARGE_CONTENT_BYTES:
        size -= _inline_bytes(request)
    return (size - _FRAME_BYTES - _MESSAGE_FRAME_BYTES * len(request.messages)) // BYTES_PER_TOKEN + 1


_FRAME_BYTES: Final = 24
"""`{"model":"","prompt":""}`: every body has as much."""
_MESSAGE_FRAME_BYTES: Final = 10
"""`{"role":""}` without its colon; what is around the content stands for the tokens that a template adds to each message."""
_LARGE_CONTENT_BYTES: Final = 4096
"""Inline data below this size counts as text."""
_INLINE_TOKENS: Final = 1000
_BASE64: Final = re.compile(rb'"(?:data:[^",]{0,256};base64,)?[A-Za-z0-9+/=_\\-]+"')
_DATA_URL: Final = re.compile(rb'"data:[^"]*"')
_content_parts: Final = msgspec.json.Decoder(list[ContentPart])


def _inline_bytes(request: ChatBody) -> int:
    """The bytes of inline data, less what they count for."""
    found = 0
    for message in request.messages:
        content = bytes(message.content)
        if len(content) > _LARGE_CONTENT_BYTES and content.startswith(b"["):
            try:
                parts = _content_parts.decode(content)
            except msgspec.MsgspecError:
                continue  # of another shape: all of it counts
            for part in parts:
                found += _inline_bytes_of(part)
    return found


def _inline_bytes_of(part: ContentPart) -> int:
    """An image is an image whatever its URL has; a file may be plain text, so that only base64 is not read as a prompt."""
    kind = part.type
    if kind == "image_url" or kind == "video_url" or kind == "audio_url":
        raw, inline = bytes(part.image_url or part.video_url or part.audio_url), _DATA_URL
    elif kind == "input_audio" or kind == "file":
        raw, inline = bytes(part.input_audio or part.file), _BASE64
    else:
        return 0
    return sum(max(0, len(each) - _INLINE_TOKENS * BYTES_PER_TOKEN) for each in inline.findall(raw))


def max_tokens(request: RequestBody, default: int) -> int:
    """The most tokens that the request may make over all its prompts and choices; embeddings make none."""
    if type(request) is ChatBody:
        # The usual one, told by its very type: asking msgspec's classes whether it is an instance costs more than all of this.
        limit = request.max_tokens
        newer = request.max_completion_tokens
        if newer is not None and (limit is None or newer > limit):
            # Which of the two an engine obeys is its own business.
            limit = newer
        return (default if limit is None else limit) * (request.n or 1)
    if not isinstance(request, SamplingBody):
        return 0
    limit = request.max_tokens
    choices = request.n or 1
    if isinstance(request, CompletionBody):
        choices = max(choices, request.best_of or 1) * _prompts(bytes(request.prompt))
    return (default if limit is None else limit) * choices


def _prompts(raw: bytes) -> int:
    """How many prompts a legacy completion has: an array of numbers is one."""
    if not raw.startswith(b"["):
        return 1
    value = _prompt.decode(raw)
    return max(1, len(value)) if isinstance(value, list) and not isinstance(value[0] if value else 0, int) else 1


def wants_usage(request: RequestBody) -> bool:
    """Whether the client itself asked for usage in its stream."""
    if type(request) is not ChatBody and not isinstance(request, SamplingBody):
        return False
    options = request.stream_options
    return type(options) is StreamOptions and bool(options.include_usage)


def for_engine(request: RequestBody, body: bytes, engine_model: str) -> bytes:
    """The body as the worker gets it: the engine's name of the model, no `service_tier`, and usage asked for on every stream."""
    ask_usage = streams(request) and not wants_usage(request)
    if engine_model == request.model and request.service_tier is UNSET:
        if not ask_usage:
            return body
        if (type(request) is ChatBody or isinstance(request, SamplingBody)) and request.stream_options is UNSET:
            return body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    fields = _top_level.decode(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(engine_model))
    fields.pop("service_tier", None)
    if ask_usage:
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    return msgspec.json.encode(fields)


def with_model(body: bytes, model: str) -> bytes:
    """A body whose model was named in the path. What is not a JSON object is left as it is: `decode` says so."""
    try:
        fields = _top_level.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    return msgspec.json.encode({**fields, "model": msgspec.Raw(msgspec.json.encode(model))})


def _with_usage(options: msgspec.Raw | None) -> msgspec.Raw:
    given = msgspec.json.decode(options, type=dict[str, msgspec.Raw] | None) if options else None
    return msgspec.Raw(msgspec.json.encode({**(given or {}), "include_usage": True}))
