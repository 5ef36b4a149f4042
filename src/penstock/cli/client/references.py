"""What people write for a thing: its id, the start of its id, or its name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.cli.client.api import Api
from penstock.cli.exits import ExitCode, Failed

_SHORTEST_PREFIX = 3
_SHOWN = 5
_WHOLE_ID = re.compile(r"[a-z]{2,5}_[0-9a-z]{26}")
_ID = re.compile(r"[a-z]{2,5}_[0-9A-Za-z_]+")


def resolve(api: Api, path: str, wanted: str, what: str) -> str:
    """The id of the one thing in the list at `path` that `wanted` names. Raises Failed: none of them, or several.

    A whole id is not looked up: the call that follows says whether there is such a thing.
    """
    if _WHOLE_ID.fullmatch(wanted):
        return wanted
    listed: Sequence[Mapping[str, Any]] = api.listed(path)["data"]
    return choose(listed, wanted, what)


def choose(listed: Sequence[Mapping[str, Any]], wanted: str, what: str) -> str:
    """An id goes before a name, a whole name before the start of an id. What is no longer in use counts only when nothing else fits."""
    if any(each["id"] == wanted for each in listed):
        return wanted
    named = [each for each in listed if each.get("name") == wanted]
    named = [each for each in named if not each.get("revoked_at")] or named
    hints = [each for each in listed if each.get("hint") and wanted.startswith(str(each["hint"]).rstrip("."))]
    begun = [each for each in listed if len(wanted) >= _SHORTEST_PREFIX and str(each["id"]).startswith(wanted)]
    found = named or hints or begun
    if len(found) == 1:
        return str(found[0]["id"])
    if not found and _ID.fullmatch(wanted):
        return wanted  # the gateway says it better
    if not found:
        raise Failed(f"there is no {what} {wanted!r}; give its id, the start of its id, or its name", ExitCode.NOT_FOUND)
    shown = ", ".join(f"{each['id']} ({each.get('name') or 'no name'})" for each in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise Failed(f"{wanted!r} fits {len(found)} of them: {shown}{more}", ExitCode.USAGE)
