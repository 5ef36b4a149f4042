"""The upstream, the contenders in front of it and the load generator, for as long as a benchmark runs."""

import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import load
from bench.contenders import CONTENDERS, LeftOut, Place, Start
from bench.figures import Measurement, void_reason
from bench.load import Generator, Target
from bench.processes import NotReady, Process, running
from bench.upstream import WORDS

DIRECT = "direct"
"""The upstream itself."""
_ANSWERS_WITHIN_SECONDS = 60.0
_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen on the command line."""

    rounds: int
    seconds: int
    connections: int
    requests: int
    contenders: tuple[str, ...]
    upstreams: int
    cache: Path
    penstock: Path
    finished: int = 1_000_000
    postgres: str = "postgresql://postgres@127.0.0.1:5432/postgres"
    tasks: int = 5_000
    queues: tuple[str, ...] = ()
    """Parts of names; none: all of them."""


@dataclass(frozen=True, slots=True)
class Running:
    name: str
    process: Process
    target: Target
    seconds_to_ready: float


class Stage:
    def __init__(self, options: Options, directory: Path, closing: ExitStack) -> None:
        self.options = options
        self.generator: Generator = load.choose(directory)
        self._directory = directory
        self._closing = closing
        self.left_out: dict[str, str] = {}

    def open(self) -> None:
        command = [sys.executable, "-m", "bench.upstream", "--processes", str(self.options.upstreams)]
        process = self._closing.enter_context(running(command, self._directory / "upstream.log", announces=True))
        self.upstream = Running(DIRECT, process, Target(int(process.line())), 0.0)

    def enter(self, names: tuple[str, ...]) -> list[Running]:
        """Those that could be started; the others are told of and remembered."""
        found = [self.upstream]
        for name in names:
            try:
                found.append(self._closing.enter_context(self.started(name)))
            except (LeftOut, NotReady, OSError) as problem:
                self.left_out[name] = str(problem)
                print(f"bench: without {name}: {problem}", file=sys.stderr)
        return found

    @contextmanager
    def started(self, name: str) -> Iterator[Running]:
        """One contender, until the end of the block. Raises LeftOut, NotReady."""
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._directory))
        start = CONTENDERS[name](Place(self.upstream.target.port, directory, self.options.cache, self.options.penstock))
        began = time.perf_counter()
        announces = start.port == 0
        with running(
            start.command, directory / "log", announces=announces, environment=start.environment, directory=start.directory
        ) as process:
            target = _announced(process) if announces else _listening(process, start)
            ready = time.perf_counter() - began
            for stream in (False, True):
                expect_answer(target, stream=stream)
            yield Running(name, process, target, ready)

    def measure(self, contender: Running, *, stream: bool, seconds: int, connections: int) -> Measurement:
        own, upstream = contender.process.cpu_seconds(), self.upstream.process.cpu_seconds()
        result = self.generator.run(contender.target, stream=stream, seconds=seconds, connections=connections)
        own, upstream = contender.process.cpu_seconds() - own, self.upstream.process.cpu_seconds() - upstream
        helpers = (upstream / self.options.upstreams, result.cpu_seconds)
        if contender is self.upstream:
            helpers = (0.0, 0.0)
        shares = (share / result.seconds for share in (own, *helpers))
        cpu_us = own / max(result.requests, 1) * 1e6
        void = void_reason(result.bad, *shares) if result.requests else f"nothing was answered within {seconds} s"
        return Measurement(result.requests / result.seconds, result.p50_ms, result.p99_ms, cpu_us, void)


@contextmanager
def opened(options: Options) -> Iterator[Stage]:
    """Everything that was started is stopped, and every file removed, at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, ExitStack() as closing:
        stage = Stage(options, Path(directory), closing)
        stage.open()
        yield stage


def _announced(process: Process) -> Target:
    facts = json.loads(process.line())
    return Target(urlsplit(facts["base_url"]).port or 80, {"Authorization": f"Bearer {facts['api_key']}"})


def _listening(process: Process, start: Start) -> Target:
    process.wait_for_port(start.port)
    return Target(start.port, start.headers)


def expect_answer(target: Target, *, stream: bool) -> None:
    """A gateway that answers wrongly must not win; one that still looks for its workers gets a while. Raises NotReady."""
    request = urllib.request.Request(target.url, load.body(stream=stream).encode(), target.all_headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + _ANSWERS_WITHIN_SECONDS
    while True:
        try:
            with direct.open(request, timeout=_ANSWERS_WITHIN_SECONDS) as answer:
                text = answer.read()
            break
        except (urllib.error.URLError, ConnectionError, TimeoutError) as problem:
            if time.monotonic() > give_up:
                raise NotReady(f"no answer: {problem}") from problem
            time.sleep(_RETRY_SECONDS)
    if text.count(b"hello ") != WORDS or (stream and b"data: [DONE]" not in text):
        raise NotReady(f"a wrong answer: {text[:200]!r}")
