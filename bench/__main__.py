"""`python -m bench`: the gateway beside others, in front of the same upstream."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.contenders import CONTENDERS, ON_REQUEST
from bench.goals import Check, Verdict, as_section, judge
from bench.load import LoadFailed
from bench.machine import ROOT, Provenance, provenance
from bench.memory import memory
from bench.processes import NotReady
from bench.queue.race import queue_race
from bench.queue.sections import queue
from bench.race import REQUESTS, STREAMS, added_latency, race
from bench.section import Section
from bench.stage import Options
from bench.startup import startup

COMMANDS: Mapping[str, tuple[str, Callable[[Options], Sequence[Section]]]] = {
    "race": ("requests/s and streams/s beside other gateways", lambda options: race(options, (REQUESTS, STREAMS))),
    "streams": ("the streams alone", lambda options: race(options, (STREAMS,))),
    "latency": ("what is added at one connection", lambda options: [added_latency(options)]),
    "memory": ("RSS over many requests", lambda options: [memory(options)]),
    "startup": ("until ready, and --help", lambda options: [startup(options)]),
    "queue": ("the task queue on both stores", queue),
    "queue-race": ("the task queue beside others", queue_race),
    "all": (
        "all of it, in about five minutes",
        lambda options: [*race(options, (REQUESTS, STREAMS)), added_latency(options), memory(options), startup(options)],
    ),
}
_SHAPING = ("rounds", "seconds", "connections", "requests", "only", "with", "upstreams", "finished", "tasks", "queues")
"""Options that change what is measured; the others change where things are."""


_GOALS_OF: Mapping[str, Callable[[Sequence[Check]], list[Section]]] = {
    "all": lambda checks: [as_section(checks)],
    "queue": lambda checks: [replace(as_section(checks), name="queue-goals")],
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway. Loopback only; needs Linux.")
    whats = "; ".join(f"{name}: {what}" for name, (what, _) in COMMANDS.items())
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="race", metavar="COMMAND", help=f"{whats} [race]")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds, of which the median is taken [5]")
    parser.add_argument("--seconds", type=int, default=2, metavar="S", help="seconds for each measurement [2]")
    parser.add_argument("--connections", type=int, default=32, metavar="N", help="open at a time [32]")
    parser.add_argument("--requests", type=int, default=200_000, metavar="N", help="for `memory` [200000]")
    parser.add_argument("--finished", type=int, default=1_000_000, metavar="N", help="for `queue`: the tasks before it [1000000]")
    parser.add_argument("--tasks", type=int, default=5_000, metavar="N", help="for `queue-race`: in one measurement [5000]")
    parser.add_argument("--queues", default="", metavar="A,B", help="for `queue-race`: only those with such a part in their name")
    parser.add_argument(
        "--postgres", default="postgresql://postgres@127.0.0.1:5432/postgres", metavar="URL", help="for `queue`: where it makes a database"
    )
    parser.add_argument("--only", default="", metavar="A,B", help=f"contenders, of: {', '.join(CONTENDERS)}")
    parser.add_argument("--with", default="", metavar="A,B", help=f"contenders that take part on request: {', '.join(ON_REQUEST)}")
    parser.add_argument("--upstreams", type=int, default=1, metavar="N", help="processes of the upstream, on machines with many cores [1]")
    parser.add_argument("--cache", type=Path, default=ROOT / "bench/.cache", metavar="DIR", help="where rivals are installed")
    parser.add_argument("--penstock", type=Path, default=Path(sys.executable).with_name("penstock"), metavar="PATH", help="another build")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill the marked places of a Markdown document")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was not reached")
    return parser


def contenders(only: str, extra: str) -> tuple[str, ...]:
    """Raises ValueError for a name that nobody has."""
    named = [name for name in f"{only},{extra}".split(",") if name]
    if unknown := [name for name in named if name not in CONTENDERS]:
        raise ValueError(f"unknown contender: {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    default = only.split(",") if only else [name for name in CONTENDERS if name not in ON_REQUEST]
    return tuple(name for name in CONTENDERS if name in {*default, *extra.split(",")})


def command_line(parser: argparse.ArgumentParser, values: Mapping[str, object]) -> str:
    """As somebody else would type it to measure the same."""
    flags = [f"--{name} {values[name]}" for name in _SHAPING if values[name] != parser.get_default(name)]
    return " ".join(["python -m bench", str(values["command"]), *flags])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    values = vars(parsed)
    try:
        names = contenders(parsed.only, values["with"])
    except ValueError as error:
        parser.error(str(error))
    options = Options(
        parsed.rounds,
        parsed.seconds,
        parsed.connections,
        parsed.requests,
        names,
        parsed.upstreams,
        parsed.cache.absolute(),
        parsed.penstock.absolute(),
        parsed.finished,
        parsed.postgres,
        parsed.tasks,
        tuple(filter(None, parsed.queues.split(","))),
    )
    document = parsed.write.absolute() if parsed.write else None
    # What was started must be stopped, also when we are asked to stop in the middle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(ROOT)  # where `bench` is importable for our own helpers
    try:
        sections = COMMANDS[parsed.command][1](options)
    except (LoadFailed, NotReady) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    checks, origin = judge(sections), provenance(command_line(parser, values), sections)
    _print(sections, checks, origin, as_json=parsed.json)
    if document is not None:
        # A part of the goals would replace all of them; those of the queue have a table of their own.
        parts = [*sections, *_GOALS_OF[parsed.command](checks)] if parsed.command in _GOALS_OF else sections
        try:
            report.write(document, parts, origin)
        except report.NoPlace as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
    missed = any(check.verdict is not Verdict.PASSED for check in checks)
    return 1 if parsed.strict and missed else 0


def _print(sections: Sequence[Section], checks: Sequence[Check], origin: Provenance, *, as_json: bool) -> None:
    if as_json:
        print(report.json_line(sections, checks, origin))
        return
    print("\n".join(report.text(section) for section in (*sections, as_section(checks))))
    print(origin.line)


if __name__ == "__main__":
    sys.exit(main())
