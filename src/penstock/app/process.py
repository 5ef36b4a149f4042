"""What a process of ours does at its edges: an event loop, signals, the line that says it is ready, exit codes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn

import uvloop

from penstock.app.settings import SettingsError
from penstock.base.stop_signals import stop_signals
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import StoreProblem


def run(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run until done; an error that an operator can fix is a sentence on stderr and exit code 1, not a traceback."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    except (StoreProblem, PortUnavailable, SettingsError, OSError) as error:
        say(f"penstock: {error}")
        return 1


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; at the second the process ends at once, with the signal's own exit code.

    SIGINT stays ignored in a process that was started with it ignored.
    """
    loop = asyncio.get_running_loop()
    stopping = stop_signals()

    def first(number: int) -> None:
        for each in stopping:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        if number == signal.SIGINT:
            say("penstock: stopping; press Ctrl-C again to stop at once")
        stop()

    for each in stopping:
        loop.add_signal_handler(each, first, each)


def leave(code: int) -> NoReturn:
    """End here and now. For a process in which everything of ours is closed, and whose libraries would take their time:

    the interpreter waits for the threads in which a hub's client fetches a model, and takes torch to pieces for seconds.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    """To a person."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def announce(facts: dict[str, str]) -> None:
    """To a program: exactly one JSON line on stdout."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
