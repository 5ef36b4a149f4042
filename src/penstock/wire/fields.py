"""Bounded types of JSON fields, and the bases of bodies and answers: unknown fields are refused, private ones do not leak."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""Without control characters, which a terminal or a log obeys."""
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
_NAME = r"^[^\x00-\x20\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f])?$"


def _not_disguised(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise PydanticCustomError("whole_number", "Input should be a whole number")
    return value


WHOLE = BeforeValidator(_not_disguised)
"""A whole number as JSON has it: `5` and `5.0`, but neither `"5"` nor `true`."""
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=_NAME, description="Printable; no space at either end.")]
ModelId = Annotated[str, Field(min_length=1, max_length=256, pattern=PRINTABLE)]
Url = Annotated[
    str,
    Field(min_length=8, max_length=2048, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$", description="http or https, without credentials."),
]
Flag = Annotated[bool, Field(strict=True)]


class Body(BaseModel):
    """What a caller sends. A field that we do not know is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """What a caller gets: only the fields named here, not the other fields of the value behind it."""

    model_config = ConfigDict(from_attributes=True, frozen=True)
