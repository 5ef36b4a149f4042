"""Functions for Penstock's runners."""

from typing import Any

import penstock
from bench.queue.sides import driver


@penstock.task("noop")
def noop(**words: Any) -> None:
    pass


@penstock.task("beep")
def beep(port: int) -> None:
    driver.beep(port)
