"""A JSON text that a JSON Schema accepts, drawn at random: the smallest honest answer to `response_format` and to tools.

Understood: type, enum, const, properties, required, items, prefixItems, minItems, lengths, bounds, multipleOf, the usual formats, anyOf,
oneOf, allOf and local `$ref`. A `pattern` is not drawn from. Optional properties are filled too, except below a few levels, where
only what is required is made, so that recursive schemas end.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any

import msgspec

from penstock.domain.errors import BadRequest
from penstock.simulation.tokens import VOCABULARY

_DEPTH_OF_OPTIONALS = 4
_DEEPEST = 32
_MOST_VALUES = 10_000
_LONGEST_STRING = 100_000

_FORMATS = {
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "date-time": "2026-01-31T12:30:00Z",
    "duration": "P1D",
    "email": "river@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}


def json_text(schema: Mapping[str, Any], rng: Random, param: str) -> str:
    """Compact JSON that the schema accepts. Raises BadRequest for `param` when the schema cannot be read or satisfied."""
    try:
        return msgspec.json.encode(_Draw(schema, rng).value(schema, 0)).decode()
    except _Endless as error:
        raise BadRequest(f"The JSON Schema cannot be satisfied: {error}.", param=param) from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadRequest("The JSON Schema is not valid, or no value satisfies it.", param=param) from error


class _Endless(Exception):
    """The schema asks for what will not be drawn; the message says what."""


class _Draw:
    """One walk over a schema; the root is where `$ref` begins."""

    def __init__(self, root: Mapping[str, Any], rng: Random) -> None:
        self._root = root
        self._rng = rng
        self._made = 0

    def value(self, schema: Mapping[str, Any] | bool, depth: int) -> Any:
        self._made += 1
        if depth > _DEEPEST or self._made > _MOST_VALUES:
            raise _Endless("it requires more values than anyone would read")
        if isinstance(schema, bool):
            return self._word()
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in {"integer", "number"}:
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._rng.random() < 0.5
        return None if kind == "null" else self._string(schema)

    def _resolved(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema with its references followed and its alternatives chosen: the first, as a reader would expect."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                schema = {**self._target(schema["$ref"]), **_without(schema, "$ref")}
            elif "allOf" in schema:
                schema = _merged([_without(schema, "allOf"), *(self._resolved(one, depth) for one in schema["allOf"])])
            elif (word := next((word for word in ("anyOf", "oneOf") if word in schema), None)) is not None:
                schema = _merged([_without(schema, word), self._alternative(schema[word], depth)])
            else:
                return schema
        raise _Endless("it refers to itself without end")

    def _alternative(self, choices: Sequence[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
        """The first; deep down rather one that needs no further level."""
        if depth > _DEPTH_OF_OPTIONALS:
            return next((one for one in choices if one.get("type") in {"null", "string", "integer", "number", "boolean"}), choices[-1])
        return choices[0]

    def _target(self, reference: str) -> Mapping[str, Any]:
        if not reference.startswith("#"):
            raise _Endless("it may refer to its own parts only ('#/...')")
        found: Any = self._root
        for part in reference[1:].strip("/").split("/"):
            if part:
                found = found[part.replace("~1", "/").replace("~0", "~")]
        return dict(found)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        if not isinstance(properties, Mapping):
            raise TypeError("properties are not an object")
        wanted = properties if depth < _DEPTH_OF_OPTIONALS else required
        made = {
            name: self.value(properties.get(name, True), depth + 1) for name in [*wanted, *(one for one in required if one not in wanted)]
        }
        if not properties and not made and schema.get("additionalProperties", True) is not False:
            made = {"answer": self._word()} if isinstance(schema.get("additionalProperties", True), bool) else {}
        while len(made) < schema.get("minProperties", 0):
            extra = schema.get("additionalProperties", True)
            made[f"{self._word()}_{len(made)}"] = self.value(extra, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = [self.value(one, depth + 1) for one in schema.get("prefixItems", ())]
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(first), 1))
        length = least if depth >= _DEPTH_OF_OPTIONALS else max(least, min(most, 2 if "items" in schema else 0))
        rest = schema.get("items", True)
        if rest is False:
            return first
        made = first
        for _ in range(64 * (length + 1)):
            if len(made) >= length:
                break
            one = self.value(rest, depth + 1)
            if not schema.get("uniqueItems") or one not in made:
                made.append(one)
        return made[:most]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        low, above = max(
            [(schema[word], word != "minimum") for word in ("minimum", "exclusiveMinimum") if word in schema], default=(None, False)
        )
        high, below = min(
            [(schema[word], word == "maximum") for word in ("maximum", "exclusiveMaximum") if word in schema], default=(None, True)
        )
        if "multipleOf" not in schema and not whole:
            return self._real(low, high)
        # What is whole and a multiple of a fraction is a multiple of its numerator.
        step = Fraction(str(schema.get("multipleOf", 1))).numerator if whole else schema["multipleOf"]
        if not step > 0:
            raise ValueError("multipleOf must be positive")
        least = None if low is None else (math.floor(low / step) + 1 if above else math.ceil(low / step))
        most = None if high is None else (math.floor(high / step) if below else math.ceil(high / step) - 1)
        if least is None:
            least = 0 if most is None else min(0, most)
        drawn = self._rng.randint(least, max(least, 100) if most is None else most) * step
        return int(drawn) if whole else drawn

    def _real(self, low: float | None, high: float | None) -> float:
        """Strictly between the bounds, unless they are equal; rounded where there is room for it."""
        if low is None:
            low = 0.0 if high is None else high - 100.0
        if high is None:
            high = low + 100.0
        if low > high:
            raise ValueError("no number lies between the bounds")
        drawn = low + (high - low) * self._rng.uniform(0.25, 0.75)
        return round(drawn, 2) if low < round(drawn, 2) < high else drawn

    def _string(self, schema: Mapping[str, Any]) -> str:
        text = _FORMATS.get(schema.get("format", ""), "") or self._word()
        least = schema.get("minLength", 0)
        if least > _LONGEST_STRING:
            raise _Endless("it requires a longer string than anyone would read")
        while len(text) < least:
            text = f"{text} {self._word()}"
        return text[: schema.get("maxLength", len(text))]

    def _word(self) -> str:
        return self._rng.choice(VOCABULARY)


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(next((one for one in kind if one != "null"), "null"))
    if kind is not None:
        return str(kind)
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _without(schema: Mapping[str, Any], word: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != word}


def _merged(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of them at once, as far as it is a matter of adding up."""
    whole: dict[str, Any] = {}
    for schema in schemas:
        for name, value in schema.items():
            if name == "properties":
                whole[name] = {**whole.get(name, {}), **value}
            elif name == "required":
                whole[name] = [*whole.get(name, ()), *value]
            elif name in {"anyOf", "oneOf", "allOf"} and name in whole:
                whole["allOf"] = [*whole.get("allOf", ()), {name: value}]
            else:
                whole[name] = value
    return whole
