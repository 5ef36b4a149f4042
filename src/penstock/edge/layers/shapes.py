"""The vocabulary of bodies, queries and answers; what workers and runners share of it is in `wire/fields.py`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path, Query
from pydantic import Field

from penstock.wire.fields import PRINTABLE, WHOLE, Body, Flag, ModelId, Name, Url, View

__all__ = ["PRINTABLE", "WHOLE", "Body", "Flag", "ModelId", "Name", "Url", "View"]

Item = TypeVar("Item")

NOT_A_NUMBER = "not_a_number"
"""The type of a validation error of a body that is not JSON because of NaN or Infinity."""
_LAST_SECOND = 253_402_300_799.0  # the end of the year 9999, where dates stop


OrgId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
PlanName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Count = Annotated[int, Field(ge=1, le=1_000_000_000_000), WHOLE]
Money = Annotated[int, Field(ge=0, le=1_000_000_000_000_000), WHOLE]
Seconds = Annotated[float, Field(strict=True, gt=0, le=10 * 366 * 86_400, allow_inf_nan=False)]
Time = Annotated[float, Field(description="Unix seconds.")]

Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
RequestId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
ModelPath = Annotated[str, Path(min_length=1, max_length=256, pattern=PRINTABLE, description="A model id; it may contain slashes.")]
OrgFilter = Annotated[str | None, Query(alias="org", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
KeyFilter = Annotated[str | None, Query(alias="key", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
ModelFilter = Annotated[str | None, Query(alias="model", min_length=1, max_length=256, pattern=PRINTABLE)]
TimeFilter = Annotated[float | None, Query(ge=0, le=_LAST_SECOND, allow_inf_nan=False, description="Unix seconds.")]
Limit = Annotated[int, Query(ge=1, le=10_000)]
StoredId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
Order = Annotated[Literal["asc", "desc"], Query(description="By the time of creation.")]
After = Annotated[str | None, Query(min_length=1, max_length=256, pattern=PRINTABLE, description="The id where the last page ended.")]


class ListView(View):
    """The start of every list's answer; each list adds its `data`."""

    has_more: bool


def page(items: Sequence[Item], limit: int, after: str | None, id_of: Callable[[Item], str]) -> dict[str, Any]:
    """A slice of a list that is in memory. An `after` that is not in it (any more) starts at the beginning."""
    start = next((place + 1 for place, item in enumerate(items) if id_of(item) == after), 0) if after is not None else 0
    return {"data": items[start : start + limit], "has_more": len(items) > start + limit}
