"""An engine's whole reply (no stream): what it says about tokens, and the edits that it needs before it reaches the client."""

import base64
import re
import struct
from typing import Any, Final

import msgspec

from penstock.domain.tokens import TokenCount
from penstock.wire.chat.bodies import AnyBody, EmbeddingBody
from penstock.wire.chat.counting import NO_LIMIT, Seen, counted, echoed_bytes, message_bytes, overrun, text_bytes
from penstock.wire.chat.cutting import cut_choice
from penstock.wire.chat.relay import TIER_VALUE
from penstock.wire.chat.reply_bodies import Embedding, OddReplyBody, ReplyBody, ReplyChoice
from penstock.wire.chat.requests import BYTES_PER_TOKEN, max_tokens
from penstock.wire.usage import LooseUsage, Usage, read_usage, usage_json


class GarbledReply(Exception):
    """What came is not a reply in OpenAI's form; the text is for the log."""


_reply: Final = msgspec.json.Decoder(ReplyBody)
_odd_reply: Final = msgspec.json.Decoder(OddReplyBody)
_choice: Final = msgspec.json.Decoder(ReplyChoice)
_embeddings: Final = msgspec.json.Decoder(list[Embedding])
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_DATA: Final = (b"", b"null", b"[]")
_THOUGHT: Final = re.compile(rb'(?:reasoning(?:_content)?|thinking)":\s*["\[]')
"""Reasoning in a message, and not that there was none."""
_NOTHING: Final = Seen(0, 0, 0)

AnyReply = ReplyBody | OddReplyBody


def read(body: bytes) -> AnyReply:
    """Raises GarbledReply for anything but a reply with choices or data."""
    try:
        if not body.isascii():
            # msgspec does not look into values that we leave raw.
            body.decode("utf-8")
        reply: AnyReply = _reply.decode(body)
    except msgspec.ValidationError as error:
        reply = _odd(body, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledReply(f"not a reply: {error}") from None
    if not reply.choices:
        _require_data(reply)
    return reply


def _odd(body: bytes, error: Exception) -> OddReplyBody:
    try:
        return _odd_reply.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise GarbledReply(f"not a reply: {error}") from None


def _require_data(reply: AnyReply) -> None:
    """Of a reply without a choice: embeddings have none, and an engine that failed may say so with status 200."""
    if reply.error is not None and bytes(reply.data) in _NO_DATA:
        raise GarbledReply("an error with status 200")
    if reply.choices is None and not bytes(reply.data):
        raise GarbledReply("a reply without choices and without data")


def token_count(body: bytes, reply: AnyReply, request: AnyBody, prompt_estimate: int, reserved: int, seconds: float = 0.0) -> TokenCount:
    """The engine's own count, or ours. `reserved`: the most tokens that it was expected to make; `seconds`: since it was asked."""
    usage, size = reply.usage, len(body)
    if type(usage) is Usage:
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        total = prompt + completion
        # What an honest report of a usual answer is told by. The rest is looked at, where it may still be found true.
        if (
            0 < completion <= reserved
            and size <= completion * 16 + 512
            and prompt
            and total <= prompt_estimate + size + 4096
            and total == usage.total_tokens
        ):
            if usage.completion_tokens_details is None and usage.prompt_tokens_details is None:
                if body.find(b'"reasoning') < 0 and body.find(b'"thinking') < 0:
                    return TokenCount(prompt, completion)
            elif (report := usage.report()).reasoning or _THOUGHT.search(body) is None:
                return TokenCount(prompt, completion, min(prompt, report.cached), min(completion, report.reasoning))
    return _judged(reply, request, prompt_estimate, seconds)


def _judged(reply: AnyReply, request: AnyBody, prompt_estimate: int, seconds: float) -> TokenCount:
    usage = reply.usage
    report = None if usage is None else usage.report() if type(usage) is Usage else read_usage(usage)
    if type(request) is EmbeddingBody:
        if report is not None:
            report.completion = 0
        return counted(report, _NOTHING, prompt_estimate, 0, seconds, whole=True)
    count = counted(report, seen(reply, request), prompt_estimate, max_tokens(request, 0) or NO_LIMIT, seconds, whole=True)
    if report is not None and not _says(usage, count):
        reply.usage = None
    return count


def _says(usage: Any, count: TokenCount) -> bool:
    """Whether an engine's usage object says in OpenAI's words what is counted, so that the client may have it as it is."""
    try:
        said = usage if type(usage) is Usage else msgspec.convert(usage, LooseUsage)
    except msgspec.ValidationError:
        return False
    report = said.report()
    return (
        said.prompt_tokens == count.prompt
        and max(0, said.completion_tokens) == count.completion
        and report.cached == count.cached
        and report.reasoning == count.reasoning
    )


def seen(reply: AnyReply, request: AnyBody) -> Seen:
    """The text of all its choices."""
    size = reasoning = 0
    for raw in reply.choices or ():
        try:
            choice = _choice.decode(raw)
        except msgspec.DecodeError:
            continue
        message = choice.message
        if message is None:
            size += text_bytes(choice.text)
            continue
        others = [message.refusal, message.tool_calls, message.function_call, message.audio]
        text, thought = message_bytes(message.content, message.reasoning_content or message.reasoning or message.thinking, others)
        size += text
        reasoning += thought
    size -= echoed_bytes(request)
    return Seen(0, size if size > 0 else 0, reasoning)


def within_limit(body: bytes, reply: AnyReply, request: AnyBody) -> bytes:
    """The reply, cut where an engine has made far more than the client allowed."""
    limit = max_tokens(request, 0)
    if not limit or not overrun(0, seen(reply, request).size, limit):
        return body
    fields: dict[str, Any] = msgspec.json.decode(body)
    room = BYTES_PER_TOKEN * limit + echoed_bytes(request)
    for choice in fields["choices"]:
        if isinstance(choice, dict):
            room -= cut_choice(choice, room)
    return msgspec.json.encode(fields)


def told_usage(said: bytes | None, count: TokenCount) -> dict[str, Any]:
    """What is counted in OpenAI's words, beside what else the engine's usage object (JSON) says."""
    usage = msgspec.json.decode(said) if said else None
    return {**usage, **usage_json(count)} if isinstance(usage, dict) else usage_json(count)


def edited(body: bytes, reply: AnyReply, service_tier: str, rename: tuple[re.Pattern[bytes], bytes] | None, count: TokenCount) -> bytes:
    """The reply as the client gets it: tier served, public model name, and always a usage object that can be true."""
    if body.find(b'"service_tier"') >= 0:  # `in` on bytes makes an exception first
        body = TIER_VALUE.sub(b"", body)
    if rename is not None:
        body = rename[0].sub(rename[1], body)
    if reply.usage is None or count.estimated:
        fields: dict[str, Any] = dict(_fields.decode(body))
        fields["usage"] = told_usage(fields.get("usage"), count)
        body = msgspec.json.encode(fields)
    opening = _OPENINGS.get(service_tier) or _opening(service_tier)
    return opening + body[1:] if body.startswith(b"{") else body.replace(b"{", opening, 1)


_OPENINGS: Final[dict[str, bytes]] = {}
"""What `_opening` has answered: one for each tier."""


def _opening(service_tier: str) -> bytes:
    opening = _OPENINGS[service_tier] = b'{"service_tier":"%b",' % service_tier.encode("ascii")
    return opening


def embeddings_as(body: bytes, encoding: str | None) -> bytes:
    """The reply with embeddings as `float` or `base64` (float32, little endian), from either form of the engine; None: `float`.

    Raises GarbledReply.
    """
    fields: dict[str, Any] = dict(_fields.decode(body))
    raw = bytes(fields.get("data", b"[]"))
    if (b'"embedding":"' in raw or b'"embedding": "' in raw) == (encoding == "base64"):
        return body
    try:
        vectors = _embeddings.decode(raw)
        for vector in vectors:
            vector.embedding = _to_base64(vector.embedding) if encoding == "base64" else _to_floats(vector.embedding)
    except (msgspec.DecodeError, ValueError, OverflowError, struct.error) as error:
        raise GarbledReply(f"embeddings that are neither numbers nor base64: {error}") from None
    fields["data"] = vectors
    return msgspec.json.encode(fields)


def _to_base64(vector: list[float] | str) -> str:
    return vector if isinstance(vector, str) else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _to_floats(vector: list[float] | str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    packed = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def tensors(body: bytes, model: str) -> bytes:
    """KServe's answer, under the public name of the model. Raises GarbledReply for anything else."""
    try:
        fields: dict[str, Any] = dict(_fields.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledReply(f"not a reply: {error}") from None
    if not bytes(fields.get("outputs", b"")).startswith(b"["):
        raise GarbledReply("a reply without outputs")
    return msgspec.json.encode({**fields, "model_name": model})
