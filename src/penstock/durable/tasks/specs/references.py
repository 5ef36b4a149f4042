"""Results of parents inside the payload of a child: `{"$result": "ref"}`, `{"$result": "ref", "path": "a.0.b"}`, `{"$result": "*"}`.

At submission the local name becomes the parent's id; when the child runs, the object is replaced by the result (`*`: by the list of all
results, in the order of the parents). What a child may grow to is counted before it is built: a thousand references to one large result
are refused after eight of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from penstock.domain.durable.tasks import ParentResult, TaskStatus
from penstock.domain.errors import TooLarge, Unprocessable

KEY, PATH, ALL = "$result", "path", "*"
_MARK = f'"{KEY}"'
_NULL = b"null"
_MOST_STEPS = 10_000_000
"""Characters of paths that are followed for one payload, once for each parent: a second of work at most."""
_Reference = tuple[str, str]
"""The id of a parent or `*`, and a path."""


class UnknownResult(Unprocessable):
    """A payload refers to the result of a task that is not a parent."""

    code = "unknown_result"


class TooDeep(Unprocessable):
    """A payload is nested so deeply that its references cannot be looked for."""

    code = "payload_too_deep"


class ResolvedTooLarge(TooLarge):
    """With the results of its parents the payload would be larger than a runner is given."""

    code = "payload_too_large"


class ResultGone(Unprocessable):
    """The parent whose result is wanted has been deleted."""

    code = "parent_result_gone"


def mentions(payload: str) -> bool:
    return _MARK in payload


def bind(payload: str, ids: Mapping[str, str]) -> str:
    """Local names become ids; `ids` has the parents under their names and under their ids. Raises UnknownResult, TooDeep."""

    def bound(reference: dict[str, Any]) -> dict[str, Any]:
        name: str = reference[KEY]
        if name != ALL and name not in ids:
            raise UnknownResult(
                f"The payload refers to the result of '{str(name)[:64]}', which is not a parent of this task.", param="payload"
            )
        return reference if name == ALL else {**reference, KEY: ids[name]}

    return _rewritten(decoded(payload), bound).decode()


def parents_named(payload: str) -> frozenset[str] | None:
    """The ids of the parents whose results are wanted; None: all of them. Raises TooDeep."""
    names = {name for name, _ in _references(decoded(payload))}
    return None if ALL in names else frozenset(names)


def resolve(payload: str, parents: Sequence[ParentResult], most_bytes: int) -> str:
    """Ids become results; null for a parent that did not succeed, and for a path that its result does not have.

    Raises ResolvedTooLarge as soon as that is certain, TooDeep, ResultGone.
    """
    tree = decoded(payload)
    texts = _Texts(parents, most_bytes)
    texts.prepare(_references(tree))
    found = _rewritten(tree, texts.take)
    if len(found) > most_bytes:
        raise _too_large(most_bytes)
    return found.decode()


class _Texts:
    """What stands for each reference, as JSON text: made once, however often it is used, and counted each time."""

    def __init__(self, parents: Sequence[ParentResult], most_bytes: int) -> None:
        self._parents = parents
        self._most_bytes = most_bytes
        self._left = most_bytes
        self._steps = 0
        self._texts: dict[_Reference, bytes] = {}

    def prepare(self, wanted: Iterable[_Reference]) -> None:
        """One parent after the other, so that only one result is unpacked at a time."""
        wanted = set(wanted)
        known = {parent.id for parent in self._parents}
        paths: dict[str, set[str]] = {}
        for name, path in wanted:
            if name != ALL and name not in known:
                raise ResultGone(f"The result of the parent {name[:64]} is not kept any more.", param="payload")
            paths.setdefault(name, set()).add(path)
        of_all = paths.get(ALL, set())
        size = 0
        for parent in self._parents:
            for reference, text in self._of_parent(parent, of_all | paths.get(parent.id, set())):
                self._texts[reference] = text
                size += len(text)
                # Each of them is used once at least.
                if size > self._most_bytes:
                    raise _too_large(self._most_bytes)
        for path in of_all:
            self._texts[ALL, path] = b"[" + b",".join(self._texts[parent.id, path] for parent in self._parents) + b"]"
            size += len(self._texts[ALL, path])
            if size > 2 * self._most_bytes:
                raise _too_large(self._most_bytes)

    def take(self, reference: dict[str, Any]) -> msgspec.Raw:
        text = self._texts[_reference(reference)]
        self._left -= len(text)
        if self._left < 0:
            raise _too_large(self._most_bytes)
        return msgspec.Raw(text)

    def _of_parent(self, parent: ParentResult, paths: set[str]) -> Iterable[tuple[_Reference, bytes]]:
        result = parent.result if parent.status is TaskStatus.SUCCEEDED else None
        value: Any = decoded(result) if result is not None and any(paths) else None
        for path in paths:
            self._steps += 1 + len(path)
            if self._steps > _MOST_STEPS:
                raise ResolvedTooLarge("The paths of the payload's references are too long, or too many.", param="payload")
            if result is None:
                yield (parent.id, path), _NULL
            elif not path:
                yield (parent.id, path), result.encode()
            else:
                yield (parent.id, path), msgspec.json.encode(_at(value, path))


def _too_large(most_bytes: int) -> ResolvedTooLarge:
    return ResolvedTooLarge(f"With its parents' results the payload has more than {most_bytes} bytes.", param="payload")


def decoded(text: str) -> Any:
    """The value of a JSON text. Raises TooDeep."""
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise _too_deep() from None


def _rewritten(tree: Any, replace: Callable[[dict[str, Any]], Any]) -> bytes:
    try:
        return msgspec.json.encode(_walk(tree, replace))
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> TooDeep:
    return TooDeep("The payload is nested too deeply for references to results.", param="payload")


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get(KEY), str) and value.keys() <= {KEY, PATH}


def _reference(value: dict[str, Any]) -> _Reference:
    path = value.get(PATH)
    return value[KEY], path if isinstance(path, str) else ""


def _references(tree: Any) -> set[_Reference]:
    found: set[_Reference] = set()
    pending = [tree]
    while pending:
        value = pending.pop()
        if is_reference(value):
            found.add(_reference(value))
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return found


def _walk(value: Any, replace: Callable[[dict[str, Any]], Any]) -> Any:
    if is_reference(value):
        return replace(value)
    match value:
        case dict():
            return {name: _walk(inner, replace) for name, inner in value.items()}
        case list():
            return [_walk(inner, replace) for inner in value]
    return value


def _at(value: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        match value:
            case dict():
                value = value.get(part)
            case list() if part.isascii() and part.isdigit() and int(part[:9]) < len(value):
                value = value[int(part[:9])]
            case _:
                return None
    return value
