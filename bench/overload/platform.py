"""`penstock up` with slow simulated workers as processes of their own, organisations of each class, and keys for them."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.processes import NotReady, Process, running

MODEL = "sim-small"
_READY_SECONDS = 60.0
_ENDLESS = 10**12


@dataclass(frozen=True, slots=True)
class Sim:
    """What the workers are: slow, so that ten times what they can do is still little for the machine."""

    workers: int = 2
    slots: int = 16
    step_seconds: float = 0.08
    step_seconds_per_sequence: float = 0.0005
    prefill_tokens_per_second: float = 40_000.0

    def options(self) -> list[str]:
        values = {
            "step_seconds": self.step_seconds,
            "step_seconds_per_sequence": self.step_seconds_per_sequence,
            "prefill_tokens_per_second": self.prefill_tokens_per_second,
            "max_batch": self.slots,
        }
        return [word for name, value in values.items() for word in ("--engine-option", f"{name}={value}")]


@dataclass(frozen=True, slots=True)
class Platform:
    port: int
    key: str
    """Of an administrator."""
    processes: Sequence[Process]

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def key_of(self, name: str, plan: str) -> str:
        """Of a new organisation."""
        org = self.api("POST", "/api/orgs", {"name": name, "plan": plan})
        return str(self.api("POST", "/api/keys", {"name": name, "org_id": org["id"]})["secret"])

    def cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self.processes)


@contextmanager
def platform(penstock: Path, sim: Sim, *, upstreams: Sequence[str] = ()) -> Iterator[Platform]:
    """Everything ends with the block. `upstreams`: serve the model by these URLs, and start no worker. Raises NotReady."""
    with tempfile.TemporaryDirectory(prefix="penstock-overload-") as directory, ExitStack() as closing:
        base = Path(directory)
        source = [word for url in upstreams for word in ("--upstream", f"{MODEL}={url}")] or ["--workers", "0"]
        command: list[str | Path] = [penstock, "up", "--port", "0", "--data-dir", base / "data", "--no-discover", "--json", *source]
        gateway = closing.enter_context(running(command, base / "gateway.log", announces=True))
        facts = json.loads(gateway.line())
        port = urlsplit(facts["base_url"]).port or 80
        processes = [gateway]
        for number in range(0 if upstreams else sim.workers):
            command = [penstock, "worker", "--join", f"http://127.0.0.1:{port}", "--token", facts["join_token"], "--engine", "sim"]
            command += ["--model", MODEL, "--slots", str(sim.slots), "--state-dir", base / f"worker-{number}", *sim.options()]
            processes.append(closing.enter_context(running(command, base / f"worker-{number}.log")))
        made = Platform(port, facts["api_key"], processes)
        if not upstreams:  # it waits for those itself
            _wait_for_workers(made, sim.workers)
        made.api("PUT", "/api/policy", {"policy": {"plans": _plans()}})
        yield made


def _plans() -> dict[str, Any]:
    """The usual classes without rate limits: what is measured is the queue."""
    limits = {"requests_per_minute": _ENDLESS, "tokens_per_minute": _ENDLESS, "concurrency": _ENDLESS, "spill": True}
    return {name: {"class": name, **limits} for name in ("enterprise", "premium", "free")}


def _wait_for_workers(made: Platform, count: int) -> None:
    give_up = time.monotonic() + _READY_SECONDS
    while time.monotonic() < give_up:
        ready = sum(worker["state"] == "ready" for worker in made.api("GET", "/api/workers")["data"])
        if ready >= count:
            return
        time.sleep(0.1)
    raise NotReady("the workers did not become ready")
