"""The bodies of runners' calls in the OpenAPI document: derived from msgspec's structs, as those of the other routes from pydantic's."""

from functools import cache
from typing import Any

import msgspec

from penstock.edge.layers.documented_errors import body_problems
from penstock.wire.joining import runners as wire

_MESSAGES = (
    wire.RunnerJoin,
    wire.RunnerJoined,
    wire.RunnerClaim,
    wire.RunnerClaimed,
    wire.RunnerNewsRequest,
    wire.RunnerNewsResponse,
    wire.RunnerHeartbeatRequest,
    wire.RunnerHeartbeatResponse,
    wire.RunnerFinishRequest,
    wire.RunnerFinishResponse,
    wire.RunnerProgressRequest,
    wire.RunnerCallRequest,
    wire.RunnerCallResponse,
)
_PREFIX = "Runner"
"""Of the messages' own names, and put before those of the values in them (Lease, LeaseCompletion, ...)."""
_COMPONENTS = "#/components/schemas/"


@cache
def schemas() -> dict[str, Any]:
    """For the document's components."""
    _, components = msgspec.json.schema_components(_MESSAGES, ref_template=f"{_COMPONENTS}{{name}}")
    titled = {name: {**schema, "title": name.removeprefix(_PREFIX)} for name, schema in components.items()}
    return {_prefixed(name): _with_prefixed_references(schema) for name, schema in titled.items()}


def _prefixed(name: str) -> str:
    return name if name.startswith(_PREFIX) else f"{_PREFIX}{name}"


def _with_prefixed_references(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_prefixed_references(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": _COMPONENTS + _prefixed(schema["$ref"].removeprefix(_COMPONENTS))}
    return {key: _with_prefixed_references(value) for key, value in schema.items()}


def documented(body: type, answer: type) -> dict[str, Any]:
    """What a route that reads its body itself tells FastAPI; 404: the runner is not known any more."""
    extra = {
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {"200": {"description": "Successful Response", "content": _content(answer)}},
    }
    return {"responses": body_problems(404), "openapi_extra": extra}


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _COMPONENTS + kind.__name__}}}
