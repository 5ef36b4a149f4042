"""A function for records."""

import penstock


@penstock.task("number_of", max_attempts=3)
def number_of(n: int) -> int:
    return n
