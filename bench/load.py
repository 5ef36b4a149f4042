"""Load on one address for some seconds, by wrk when it is installed, else by the built-in generator."""

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_GRACE_SECONDS = 30.0
_PROMPT = "hello there, how are you today?"
_RESULT = re.compile(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)
_REPORT = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class LoadFailed(Exception):
    """The load generator gave no result."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the headers that they need there."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    @property
    def all_headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"} | dict(self.headers)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it."""

    requests: int
    """Answered with 200."""
    seconds: float
    p50_ms: float
    p99_ms: float
    bad: int
    """Answered with anything else, or not at all."""
    cpu_seconds: float
    """Of the generator itself."""


class Generator(Protocol):
    name: str

    def run(self, target: Target, *, stream: bool, seconds: int, connections: int) -> Load:
        """Raises LoadFailed."""
        ...


def body(*, stream: bool) -> str:
    request = {"model": "m", "messages": [{"role": "user", "content": _PROMPT}], "max_tokens": 40}
    return json.dumps(request | ({"stream": True} if stream else {}), separators=(",", ":"))


def choose(directory: Path) -> Generator:
    return Wrk(directory) if shutil.which("wrk") else BuiltIn()


class Wrk:
    name = "wrk"

    def __init__(self, directory: Path) -> None:
        self._script = directory / "load.lua"

    def run(self, target: Target, *, stream: bool, seconds: int, connections: int) -> Load:
        self._script.write_text(lua(target, stream=stream))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(self._script), target.url]
        before = _children_cpu_seconds()
        output = _output(command, seconds)
        return parse_wrk(output, _children_cpu_seconds() - before)


def lua(target: Target, *, stream: bool) -> str:
    """The script that tells wrk what to send and how to report."""
    # A JSON string of plain ASCII is a Lua string as well.
    lines = ["wrk.method = 'POST'", f"wrk.body = {json.dumps(body(stream=stream))}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in target.all_headers.items()]
    return "\n".join(lines) + _REPORT


def parse_wrk(output: str, cpu_seconds: float) -> Load:
    """Raises LoadFailed when wrk did not get as far as our report."""
    found = _RESULT.search(output)
    if found is None:
        raise LoadFailed(f"wrk: {output.strip() or 'no output'}")
    answered, micros, p50, p99, refused, broken = map(int, found.groups())
    return Load(max(answered - refused, 0), micros / 1e6, p50 / 1e3, p99 / 1e3, refused + broken, cpu_seconds)


class BuiltIn:
    name = "built-in"

    def run(self, target: Target, *, stream: bool, seconds: int, connections: int) -> Load:
        order = {
            "url": target.url,
            "headers": target.all_headers,
            "body": body(stream=stream),
            "seconds": seconds,
            "connections": connections,
        }
        output = _output([sys.executable, "-m", "bench.generator"], seconds, json.dumps(order))
        try:
            return Load(**json.loads(output))
        except (ValueError, TypeError) as error:
            raise LoadFailed(f"bench.generator: {output.strip()}") from error


def _output(command: list[str], seconds: int, order: str = "") -> str:
    try:
        done = subprocess.run(command, input=order, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{command[0]} did not end") from error
    return done.stdout or done.stderr


def _children_cpu_seconds() -> float:
    """Of children that have ended and were waited for: the difference around one call is that one child."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
