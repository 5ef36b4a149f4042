"""An engine's whole reply (no stream): what it says about tokens, and the edits that it needs before it reaches the client."""

import base64
import re
import struct
from typing import Any, Final

import msgspec

from penstock.domain.tokens import TokenCount
from penstock.wire.chat.relay import TIER_VALUE
from penstock.wire.chat.reply_bodies import Embedding, ReplyBody, ReplyChoice
from penstock.wire.chat.requests import BYTES_PER_TOKEN
from penstock.wire.usage import usage_json


class GarbledReply(Exception):
    """What came is not a reply in OpenAI's form; the text is for the log."""


_reply: Final = msgspec.json.Decoder(ReplyBody)
_choice: Final = msgspec.json.Decoder(ReplyChoice)
_embeddings: Final = msgspec.json.Decoder(list[Embedding])
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(body: bytes) -> ReplyBody:
    """Raises GarbledReply for anything but a reply with choices or data."""
    try:
        if not body.isascii():
            # msgspec does not look into values that we leave raw.
            body.decode("utf-8")
        reply = _reply.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledReply(f"not a reply: {error}") from None
    if reply.choices is None and not bytes(reply.data):
        raise GarbledReply("a reply without choices and without data")
    return reply


def token_count(reply: ReplyBody, prompt_estimate: int) -> TokenCount:
    """The engine's own count, or ours, marked as estimated."""
    usage = reply.usage
    if usage is not None:
        if usage.prompt_tokens_details is None and usage.completion_tokens_details is None:
            return TokenCount(usage.prompt_tokens or 0, usage.completion_tokens or 0)
        return usage.count()
    text = 0
    for raw in reply.choices or ():
        try:
            choice = _choice.decode(raw)
        except msgspec.DecodeError:
            continue
        content = choice.message.content if choice.message else choice.text
        text += len(content.encode()) if isinstance(content, str) else 0
    return TokenCount(prompt_estimate, -(-text // BYTES_PER_TOKEN), estimated=True)


def edited(body: bytes, reply: ReplyBody, service_tier: str, rename: tuple[re.Pattern[bytes], bytes] | None, count: TokenCount) -> bytes:
    """The reply as the client gets it: tier served, public model name, and always a usage object."""
    if body.find(b'"service_tier"') >= 0:  # `in` on bytes makes an exception first
        body = TIER_VALUE.sub(b"", body)
    if rename is not None:
        body = rename[0].sub(rename[1], body)
    if reply.usage is None:
        fields: dict[str, Any] = dict(_fields.decode(body))
        fields["usage"] = usage_json(count)
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
