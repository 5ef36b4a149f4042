"""Tasks that wait for each other inside one submission: names resolved, cycles found and shown."""

from collections.abc import Mapping, Sequence

from penstock.domain.errors import Unprocessable

_SHOWN_MEMBERS = 12


class UnknownParent(Unprocessable):
    """A task waits for a name that is not in its submission."""

    code = "unknown_parent"


class DependencyCycle(Unprocessable):
    """Tasks wait for each other in a circle; the message shows it."""

    code = "dependency_cycle"


class DuplicateName(Unprocessable):
    """Two tasks of one submission have the same local name."""

    code = "duplicate_ref"


def index_by_ref(refs: Sequence[str | None]) -> dict[str, int]:
    """Where in the submission each local name is. Raises DuplicateName."""
    indices: dict[str, int] = {}
    for index, ref in enumerate(refs):
        if ref is None:
            continue
        if ref in indices:
            raise DuplicateName(f"Two tasks have the ref '{ref}': tasks {indices[ref]} and {index}.", param=f"tasks.{index}.ref")
        indices[ref] = index
    return indices


def topological_order(parents: Mapping[int, Sequence[int]], count: int, refs: Sequence[str | None]) -> list[int]:
    """The indices 0 to count - 1 in an order in which parents come before children (Kahn). Raises DependencyCycle."""
    waiting = {index: len(set(parents.get(index, ()))) for index in range(count)}
    children: dict[int, list[int]] = {}
    for child, its_parents in parents.items():
        for parent in set(its_parents):
            children.setdefault(parent, []).append(child)
    free = [index for index, pending in waiting.items() if pending == 0]
    for index in free:
        for child in children.get(index, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                free.append(child)
    if len(free) < count:
        raise DependencyCycle(f"Tasks wait for each other: {_format_cycle(_cycle(parents, set(free)), refs)}.", param="tasks")
    return free


def _cycle(parents: Mapping[int, Sequence[int]], free: set[int]) -> list[int]:
    """One circle among the indices that never became free: each of them waits for another such one, so a walk must come back."""
    index = next(index for index in parents if index not in free)
    walked: dict[int, int] = {}
    while index not in walked:
        walked[index] = len(walked)
        index = next(parent for parent in parents[index] if parent not in free)
    return [each for each, step in walked.items() if step >= walked[index]]


def _format_cycle(cycle: Sequence[int], refs: Sequence[str | None]) -> str:
    """`a -> b -> a`: each waits for the next."""
    names = [refs[index] or f"task {index}" for index in cycle]
    start = names.index(min(names))
    turned = [*names[start:], *names[:start]]
    shown = turned if len(turned) <= _SHOWN_MEMBERS else [*turned[: _SHOWN_MEMBERS - 1], f"... ({len(turned)} in all)"]
    return " -> ".join([*shown, turned[0]])
