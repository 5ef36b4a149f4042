"""Ids of items that lead to the response that has them, so that a client may name an item instead of sending it again."""

import re
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from penstock.wire.responses.items import Json

_ID: Final = re.compile(r"[a-z]{1,8}_([0-9a-z]{26})[io]\d{1,6}")


def item_ids(response_id: str, side: str) -> Callable[[str], str]:
    """Makes the ids of a response's items. `side`: `i` for its input, `o` for its output."""
    unique, numbers = response_id.rpartition("_")[2], count(1)
    return lambda prefix: f"{prefix}_{unique}{side}{next(numbers)}"


def response_of(item_id: str) -> str | None:
    """The id of the response that has the item; None: it is not an id of ours."""
    found = _ID.fullmatch(item_id)
    return None if found is None else f"resp_{found[1]}"


def reference(item: Any) -> str | None:
    """The id in an item that only names another one; None: it is an item of its own."""
    if not isinstance(item, dict) or item.get("type") not in ("item_reference", None) or not isinstance(item.get("id"), str):
        return None
    found: Json = item
    return found["id"] if set(found) <= {"type", "id"} else None
