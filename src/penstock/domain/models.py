"""Models as the catalogue knows them: a price and the names that lead to them. Which workers serve one is the fleet's matter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-units of a currency (1,000,000 = 1.00) for a million tokens; multipliers in percent of the default tier."""

    input_per_million: int = 0
    cached_input_per_million: int | None = None
    """None: the same as uncached input."""
    output_per_million: int = 0
    currency: str = "USD"
    priority_percent: int = 175
    flex_percent: int = 50
    batch_percent: int = 50
    """Of the class batch, at any tier."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model's entry in the catalogue. A model that a worker serves without an entry is free of charge and has no alias."""

    id: str
    price: Price
    aliases: tuple[str, ...] = ()
    context_length: int | None = None
    created_at: float = 0.0
    owned_by: str = "penstock"
