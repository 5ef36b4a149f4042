"""The bodies of runners' calls in the OpenAPI document: derived from msgspec's structs, as those of the other routes from pydantic's."""

from functools import cache
from typing import Any

import msgspec

from penstock.edge.layers.documented_errors import body_problems
from penstock.wire.joining import runners as wire

_SPOKEN = (
    wire.Join,
    wire.Joined,
    wire.Claim,
    wire.Claimed,
    wire.News,
    wire.Told,
    wire.Beating,
    wire.Beaten,
    wire.Finishing,
    wire.Finished,
    wire.Progressing,
    wire.Ask,
    wire.Asked,
)
_PREFIX = "Runner"
"""Two surfaces, two ways to say Join: these are the runners'."""


@cache
def schemas() -> dict[str, Any]:
    """For the document's components."""
    _, components = msgspec.json.schema_components(_SPOKEN, ref_template=f"#/components/schemas/{_PREFIX}{{name}}")
    return {f"{_PREFIX}{name}": schema for name, schema in components.items()}


def documented(body: type, answer: type) -> dict[str, Any]:
    """What a route that reads its body itself tells FastAPI; 404: the runner is not known any more."""
    extra = {
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {"200": {"description": "Successful Response", "content": _content(answer)}},
    }
    return {"responses": body_problems(404), "openapi_extra": extra}


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{_PREFIX}{kind.__name__}"}}}
