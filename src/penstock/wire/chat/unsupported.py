"""Parameters that an engine is known to drop without a word: a request that needs one is refused instead."""

from collections.abc import Collection

import msgspec

from penstock.domain.errors import InvalidJson, UnsupportedParameter

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "tool_choice": ("auto",),
    "logit_bias": ({},),
    "user": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "best_of": (1,),
    "echo": (False,),
}
"""Values that ask for nothing: an engine that ignores the parameter does what they say. (null always is one.)"""
_OLDER: dict[str, str] = {"max_completion_tokens": "max_tokens"}
"""Newer names of parameters that every engine has."""
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def needed(body: bytes, unsupported: Collection[str]) -> UnsupportedParameter | None:
    """The refusal of a body that asks for something out of `unsupported`; None: it does not. Raises InvalidJson."""
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson("The request body is not a JSON object.") from None
    for name in unsupported:
        if name in _OLDER:
            continue
        raw = fields.get(name)
        if raw is not None and (value := msgspec.json.decode(raw)) is not None and value not in _NEUTRAL.get(name, ()):
            return UnsupportedParameter(f"The engine of this model does not support '{name}'.", param=name)
    return None


def with_older_names(body: bytes, unsupported: Collection[str]) -> bytes:
    """A body that `needed` has read, where parameters that the engine knows by an older name have that one."""
    names = [name for name in _OLDER if name in unsupported and name.encode() in body]
    if not names:
        return body
    fields = _fields.decode(body)
    for name in names:
        raw = fields.pop(name, None)
        if raw is not None and msgspec.json.decode(raw) is not None:
            fields[_OLDER[name]] = raw
    return msgspec.json.encode(fields)
