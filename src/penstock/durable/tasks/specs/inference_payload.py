"""The payload of an inference: checked when it is submitted, so that what cannot run is not kept to fail later."""

from typing import Any

from penstock.domain.errors import Unprocessable
from penstock.domain.inference import CLIENT_PATHS, OPERATION_PATHS, Operation
from penstock.durable.tasks.specs import references

_FIELDS = frozenset({"url", "body", "class"})
_CLASSES = ("batch", "own")
_URL_OF_FIELD = {
    "messages": OPERATION_PATHS[Operation.CHAT],
    "prompt": OPERATION_PATHS[Operation.COMPLETION],
    "input": OPERATION_PATHS[Operation.EMBEDDING],
}
"""Which field a plain body of OpenAI's must have, and where clients send it."""
_EXAMPLE = '{"url": "/v1/chat/completions", "body": {"model": ..., "messages": [...]}}'


def with_url(payload: str) -> str:
    """The payload as a runner takes it. A plain body (`{"model": ..., "messages": [...]}`) gets the url that its fields mean.

    Raises Unprocessable for what no runner could run, TooDeep.
    """
    value = references.decoded(payload)
    if references.is_reference(value):
        return payload  # known when the parents have ended
    if not isinstance(value, dict):
        raise Unprocessable(f"The payload of an inference is an object: {_EXAMPLE}.", param="payload")
    if "url" not in value and "body" not in value:
        url = _url_of(value)
        _check_body(value)
        return f'{{"url":"{url}","body":{payload}}}'
    unknown = sorted(value.keys() - _FIELDS)
    if unknown:
        raise Unprocessable(f"The payload of an inference has no field '{unknown[0][:64]}': {_EXAMPLE}.", param="payload")
    if not references.is_reference(value.get("url")) and value.get("url") not in tuple(CLIENT_PATHS):
        raise Unprocessable(f"The url of an inference is one of: {', '.join(CLIENT_PATHS)}.", param="payload.url")
    if value.get("class", "batch") not in _CLASSES:
        raise Unprocessable(f"The class of an inference is one of: {', '.join(_CLASSES)}.", param="payload.class")
    _check_body(value.get("body"))
    return payload


def _url_of(body: dict[str, Any]) -> str:
    found = [name for name in _URL_OF_FIELD if name in body]
    if len(found) != 1 or "model" not in body:
        raise Unprocessable(
            f"The payload of an inference is {_EXAMPLE}, or a body with `model` and one of: {', '.join(_URL_OF_FIELD)}.", param="payload"
        )
    return _URL_OF_FIELD[found[0]]


def _check_body(body: Any) -> None:
    if references.is_reference(body):
        return
    if not isinstance(body, dict):
        raise Unprocessable("The body of an inference is an object.", param="payload.body")
    if body.get("stream") not in (None, False):
        raise Unprocessable("A task's answer is kept as a whole: leave out 'stream'.", param="payload.body.stream")
