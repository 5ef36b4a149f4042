"""The platforms that the conformance cases share: started when the first case asks for them, stopped after the last."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.platform import Control, Platform, running, worker
from tests.live.sdk.target import Target, Targets, from_environment

SOURCE_MODELS = "acme/river,acme/brook"
BUSY_MODEL = "acme/turnstile"
"""One slot: whoever comes second has to wait."""
BROKEN_MODEL = "acme/glass"
"""Every stream breaks after a few events."""


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    given = from_environment()
    if given is not None:
        yield given
        return
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("platforms")
        source = stack.enter_context(running(Platform(directory / "source", "--workers", "1")))
        joined = directory / "workers"
        fast = ("--engine-option", f"models={SOURCE_MODELS}", "--engine-option", "speed=2")
        stack.enter_context(worker(source, joined / "acme", "acme", "--engine", "sim", *fast))
        narrow = ("--engine-option", f"models={BUSY_MODEL}", "--slots", "1")
        stack.enter_context(worker(source, joined / "turnstile", "turnstile", "--engine", "sim", *narrow))
        broken = ("--engine-option", f"models={BROKEN_MODEL}", "--allow-faults")
        stack.enter_context(worker(source, joined / "glass", "glass", "--engine", "sim", *broken))
        _break(source, joined / "glass")
        front = stack.enter_context(running(_front(directory / "front", source)))
        relay = ("--engine", "openai", "--upstream-url", source.base_url, "--upstream-secret", source.api_key, "--model", "acme/brook")
        stack.enter_context(worker(front, joined / "relay", "relay", *relay))
        yield {
            "sim": _target("sim", source, source, "sim-small"),
            "upstream": _target("upstream", front, source, "acme/river"),
            "relay": _target("relay", front, source, "acme/brook"),
        }


def _front(directory: Path, source: Platform) -> Platform:
    """A platform without workers of its own, before another one."""
    upstream = f'[{{"model": "acme/river", "url": "{source.base_url}", "secret": "{source.api_key}"}}]'
    return Platform(directory, "--workers", "0", environment={"PENSTOCK_UPSTREAMS": upstream})


def _break(source: Platform, state: Path) -> None:
    """Tell the worker, as only its gateways could, to spoil each of its streams."""
    (address,) = (each["base_url"] for each in source.control.get("/api/workers")["data"] if each["name"] == "glass")
    fault = {"kind": "garbage", "after_events": 20, "count": 1_000_000}
    Control(address, (state / "dial.secret").read_text()).post("/penstock/fault", fault)


def _target(engine: str, platform: Platform, source: Platform, model: str) -> Target:
    return Target(engine, platform.base_url, platform.api_key, model, source.root, source.api_key)
