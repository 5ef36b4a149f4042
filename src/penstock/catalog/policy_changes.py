"""What differs between two policies, field by field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.catalog.policy_document import document_of
from penstock.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Change:
    """One field. `before` or `after` is None where it was not, or is not, there."""

    field: str
    """A path such as `classes.free.weight`."""
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.field} = {_shown(self.after)}"
        if self.after is None:
            return f"- {self.field} = {_shown(self.before)}"
        return f"~ {self.field}: {_shown(self.before)} -> {_shown(self.after)}"


def changes(old: Policy, new: Policy) -> list[Change]:
    before, after = dict(_flat(written(old))), dict(_flat(written(new)))
    paths = [*before, *(path for path in after if path not in before)]
    return [Change(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def written(policy: Policy) -> dict[str, Any]:
    """As the API and a file have it; everything said."""
    return document_of(policy).model_dump(mode="json", by_alias=True)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f'{prefix}"{name}"' if "." in name else f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
