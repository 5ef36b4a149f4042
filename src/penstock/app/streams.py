"""`penstock stream`: settings in, a running bridge out."""

from collections.abc import Mapping
from random import Random
from typing import Any

from penstock.app import process
from penstock.app.settings import Settings, StreamSettings
from penstock.domain.ports import StreamRefused
from penstock.observe import logs
from penstock.processes.streams.bridge import Bridge, Ends
from penstock.processes.streams.brokers import make_broker
from penstock.processes.streams.gateway import Gateway, NotAllowed, Rejected
from penstock.processes.streams.intake import Bounds
from penstock.processes.streams.ledger import Ledger, LedgerInUse
from penstock.processes.streams.letters import NoDeadLetters
from penstock.processes.streams.metrics import Metrics
from penstock.processes.streams.patience import Patience
from penstock.processes.streams.records import Template
from penstock.processes.streams.results import Pace
from penstock.processes.streams.subjects import overlap

_USAGE, _AUTH = 2, 4


def run(settings: Settings, root: str, api_key: str, *, trust_env: bool, announce: bool) -> int:
    """Until SIGTERM; returns the process's exit code. `root` is the gateway without `/v1`. Raises UnknownMember, ImportError."""
    wanted = settings.stream
    problem = what_is_missing(wanted)
    if problem:
        process.say(f"penstock: {problem}")
        return _USAGE
    try:
        ends = _ends(wanted)
        logs.configure(settings.log.level, settings.log.format)
        return process.run(lambda: _run(settings, ends, Gateway(root, api_key, trust_env=trust_env), announce=announce))
    except StreamRefused as error:
        process.say(f"penstock: {error}")
        return _USAGE
    except NotAllowed as error:
        process.say(f"penstock: {error}")
        return _AUTH
    except (NoDeadLetters, LedgerInUse, Rejected) as error:
        process.say(f"penstock: {error}")
        return 1


def what_is_missing(wanted: StreamSettings) -> str:
    """A sentence about settings that do not go together; empty: they do."""
    if not wanted.broker:
        return "a stream needs --broker kafka or --broker nats."
    if not wanted.source and not wanted.results:
        return "a stream needs --source (records become tasks), --results (ends of tasks are published), or both."
    if wanted.source and wanted.records == "payload" and wanted.kind == "function" and not wanted.function:
        return "records become tasks of a function: name it with --function, choose another --kind, or say --records task."
    for name, target in (("results", wanted.results), ("dead_letter", wanted.dead_letter)):
        if wanted.source and target and overlap(wanted.source, target):
            return f"{name} {target!r} is a part of the source {wanted.source!r}: what is written there would be read again, for ever."
        if any(wild in target for wild in "*>"):
            return f"{name} {target!r} has a wildcard: messages need one subject."
    return ""


def template(wanted: StreamSettings) -> Template:
    given: Mapping[str, Any] = {
        "kind": wanted.kind,
        "name": wanted.function,
        "queue": wanted.queue or None,
        "priority": wanted.priority,
        "tags": list(wanted.tags) or None,
        "max_attempts": wanted.max_attempts,
        "timeout_seconds": wanted.timeout_seconds,
        "keep_seconds": wanted.keep_seconds,
    }
    return Template(wanted.name, {name: value for name, value in given.items() if value is not None}, whole=wanted.records == "task")


def _ends(wanted: StreamSettings) -> Ends:
    broker = make_broker(wanted.broker, wanted.servers, wanted.options)
    return Ends(
        source=broker.source(wanted.source, wanted.name) if wanted.source else None,
        dead_letters=broker.sink(wanted.dead_letter) if wanted.source and wanted.dead_letter else None,
        results=broker.sink(wanted.results) if wanted.results else None,
    )


async def _run(settings: Settings, ends: Ends, gateway: Gateway, *, announce: bool) -> int:
    wanted = settings.stream
    ledger = Ledger(wanted.state_dir or settings.data_dir / "streams" / wanted.name, 2 * wanted.overlap_seconds)
    bounds = Bounds(wanted.workers, wanted.batch, wanted.in_flight, wanted.drain_seconds)
    pace = Pace(wanted.look_seconds, wanted.overlap_seconds)
    bridge = Bridge(ends, gateway, template(wanted), ledger, Patience(Random()), bounds, pace)
    metrics = Metrics(wanted.name, bridge.numbers)
    facts = {"stream": wanted.name, "broker": wanted.broker, "source": wanted.source, "results": wanted.results}
    try:
        if ends.results is not None:
            ledger.open()
        if wanted.metrics_port:
            metrics.open(wanted.metrics_port)
        await gateway.open()
        process.on_stop(bridge.stop)
        await bridge.run(lambda: _ready(facts, announce=announce))
        return 0
    finally:
        await gateway.close()
        metrics.close()
        ledger.close()


def _ready(facts: dict[str, str], *, announce: bool) -> None:
    if announce:
        process.announce(facts)
    else:
        process.say(f"penstock: the stream {facts['stream']} is running")
