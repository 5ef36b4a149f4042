"""Amounts for people: the API counts in micro-units (1,000,000 = 1.00)."""


def currency_units(micros: int | None) -> str:
    """`0.15` of 150,000: two decimals at least, six at most; empty for None."""
    if micros is None:
        return ""
    whole, fraction = divmod(abs(micros), 1_000_000)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole:,}.{decimals}"
