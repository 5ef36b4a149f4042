"""Results of parents inside the payload of a child: `{"$result": "ref"}`, `{"$result": "ref", "path": "a.0.b"}`, `{"$result": "*"}`.

At submission the local name becomes the parent's id; when the child runs, the object is replaced by the result (`*`: by the list of all
results, in the order of the parents).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from penstock.domain.durable.tasks import ParentResult, TaskStatus
from penstock.domain.errors import Unprocessable

KEY, PATH, ALL = "$result", "path", "*"
_MARK = f'"{KEY}"'


class UnknownResult(Unprocessable):
    """A payload refers to the result of a task that is not a parent."""

    code = "unknown_result"


def mentions(payload: str) -> bool:
    return _MARK in payload


def bind(payload: str, ids: Mapping[str, str]) -> str:
    """Local names become ids; `ids` has the parents under their names and under their ids. Raises UnknownResult."""

    def bound(reference: dict[str, Any]) -> dict[str, Any]:
        name: str = reference[KEY]
        if name != ALL and name not in ids:
            raise UnknownResult(
                f"The payload refers to the result of '{str(name)[:64]}', which is not a parent of this task.", param="payload"
            )
        return reference if name == ALL else {**reference, KEY: ids[name]}

    return _rewritten(payload, bound)


def resolve(payload: str, parents: Sequence[ParentResult]) -> str:
    """Ids become results; null for a parent that did not succeed, and for a path that its result does not have."""
    results = {parent.id: _value(parent) for parent in parents}

    def resolved(reference: dict[str, Any]) -> Any:
        if reference[KEY] == ALL:
            return [_at(value, reference.get(PATH, "")) for value in results.values()]
        return _at(results.get(reference[KEY]), reference.get(PATH, ""))

    return _rewritten(payload, resolved)


def _value(parent: ParentResult) -> Any:
    return msgspec.json.decode(parent.result) if parent.status is TaskStatus.SUCCEEDED and parent.result is not None else None


def _rewritten(payload: str, replace: Callable[[dict[str, Any]], Any]) -> str:
    return msgspec.json.encode(_walk(msgspec.json.decode(payload), replace)).decode()


def _walk(value: Any, replace: Callable[[dict[str, Any]], Any]) -> Any:
    match value:
        case dict() if isinstance(value.get(KEY), str) and value.keys() <= {KEY, PATH}:
            return replace(value)
        case dict():
            return {name: _walk(inner, replace) for name, inner in value.items()}
        case list():
            return [_walk(inner, replace) for inner in value]
    return value


def _at(value: Any, path: Any) -> Any:
    for part in filter(None, path.split(".") if isinstance(path, str) else ()):
        match value:
            case dict():
                value = value.get(part)
            case list() if part.isascii() and part.isdigit() and int(part[:9]) < len(value):
                value = value[int(part[:9])]
            case _:
                return None
    return value
