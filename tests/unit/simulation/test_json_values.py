"""Values that a JSON Schema accepts."""

import contextlib
from random import Random
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.simulation.json_values import json_text

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["name"],
}
LINKED = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}

SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "additionalProperties": False},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    {"type": "object", "required": ["unknown"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 4, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "items": False},
    {"type": "array", "maxItems": 0, "items": {"type": "string"}},
    {"enum": ["a", 1, None]},
    {"const": {"a": [1]}},
    {"type": ["null", "integer"], "minimum": 5, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 20},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.25},
    {"type": "number", "maximum": -10},
    {"type": "number", "minimum": 1, "maximum": 1},
    {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 1, "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 1.5},
    {"type": "integer", "exclusiveMaximum": -3},
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "email"},
    {"type": "boolean"},
    {"type": "null"},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"oneOf": [{"type": "boolean"}, {"type": "string"}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"required": ["b"]}]},
    {"$defs": {"tree": TREE}, "$ref": "#/$defs/tree"},
    LINKED,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_the_schema_accepts_what_is_drawn(schema: dict[str, Any], seed: int) -> None:
    value = msgspec.json.decode(json_text(schema, Random(seed), "response_format"))
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"enum": []},
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"$ref": "other.json"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "integer", "multipleOf": 0},
        {"type": "object", "properties": []},
        {"anyOf": "x"},
        {"type": "number", "minimum": "low"},
    ],
    ids=str,
)
def test_the_impossible_is_the_callers_mistake(schema: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        json_text(schema, Random(0), "tools")
    assert caught.value.param == "tools"


KEYWORDS = st.sampled_from(
    ["type", "enum", "const", "properties", "required", "items", "anyOf", "allOf", "$ref", "minimum", "minLength", "format"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["object", "array", "string", "integer", "#", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYWORDS, JSON, max_size=5))
def test_whatever_a_client_sends_is_an_answer_or_a_400(schema: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        msgspec.json.decode(json_text(schema, Random(0), "tools"))
