"""Waiting for what sends no signal: another process, or a state that several objects make together.

Prefer a signal where there is one: an `asyncio.Event`, a line that a process prints, an answer of the API.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], object], seconds: float = 5.0, explain: Callable[[], object] = lambda: "") -> None:
    """Return when the condition holds. Raises AssertionError with `explain()` when it does not within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - any condition: these have no event of their own
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"still not so after {seconds} s: {explain()}") from None


async def until_answer(ask: Callable[[], Awaitable[T]], good: Callable[[T], object], seconds: float = 10.0) -> T:
    """Ask as a client asks, again and again: the first good answer. Raises AssertionError with the last one after `seconds`."""
    answer = await ask()
    try:
        async with asyncio.timeout(seconds):
            while not good(answer):
                await asyncio.sleep(0.01)
                answer = await ask()
    except TimeoutError:
        raise AssertionError(f"after {seconds} s still {answer!r}") from None
    return answer
