"""`penstock stream`: settings in, a running bridge out."""

import ssl
from collections.abc import Mapping
from random import Random
from typing import Any

from penstock.app import process
from penstock.app.settings import Settings, StreamSettings
from penstock.domain.ports import StreamRefused
from penstock.observe import logs
from penstock.processes.streams.bridge import Bridge, BrokerEndpoints
from penstock.processes.streams.brokers import make_broker
from penstock.processes.streams.dead_letters import NoDeadLetters
from penstock.processes.streams.gateway_client import GatewayClient, NotAllowed, SubmissionRejected
from penstock.processes.streams.intake import IntakeLimits
from penstock.processes.streams.metrics import StreamMetrics
from penstock.processes.streams.publication_log import PublicationLog, PublicationLogInUse
from penstock.processes.streams.records import TaskTemplate
from penstock.processes.streams.result_publisher import PollTiming
from penstock.processes.streams.retrier import Retrier
from penstock.processes.streams.subjects import overlap

_USAGE, _AUTH = 2, 4


def run(settings: Settings, root: str, api_key: str, *, trust_env: bool, verify: ssl.SSLContext | bool = True, announce: bool) -> int:
    """Until SIGTERM; returns the process's exit code. `root` is the gateway without `/v1`. Raises UnknownMember, ImportError."""
    wanted = settings.stream
    problem = what_is_missing(wanted)
    if problem:
        process.say(f"penstock: {problem}")
        return _USAGE
    try:
        endpoints = _endpoints(wanted)
        logs.configure(settings.log.level, settings.log.format)
        return process.run(
            lambda: _run(settings, endpoints, GatewayClient(root, api_key, trust_env=trust_env, verify=verify), announce=announce)
        )
    except StreamRefused as error:
        process.say(f"penstock: {error}")
        return _USAGE
    except NotAllowed as error:
        process.say(f"penstock: {error}")
        return _AUTH
    except (NoDeadLetters, PublicationLogInUse, SubmissionRejected) as error:
        process.say(f"penstock: {error}")
        return 1


def what_is_missing(wanted: StreamSettings) -> str:
    """A sentence about settings that do not go together; empty: they do."""
    if not wanted.broker:
        return "a stream needs --broker kafka or --broker nats."
    if not wanted.source and not wanted.results:
        return "a stream needs --source (records become tasks), --results (finished tasks are published), or both."
    if wanted.source and wanted.records == "payload" and wanted.kind == "function" and not wanted.function:
        return "records become tasks of a function: name it with --function, choose another --kind, or say --records task."
    for name, target in (("results", wanted.results), ("dead_letter", wanted.dead_letter)):
        if wanted.source and target and overlap(wanted.source, target):
            return f"{name} {target!r} is a part of the source {wanted.source!r}: what is written there would be read again, for ever."
        if any(wild in target for wild in "*>"):
            return f"{name} {target!r} has a wildcard: messages need one subject."
    return ""


def template(wanted: StreamSettings) -> TaskTemplate:
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
    return TaskTemplate(wanted.name, {name: value for name, value in given.items() if value is not None}, whole=wanted.records == "task")


def _endpoints(wanted: StreamSettings) -> BrokerEndpoints:
    broker = make_broker(wanted.broker, wanted.servers, wanted.options)
    return BrokerEndpoints(
        source=broker.source(wanted.source, wanted.name) if wanted.source else None,
        dead_letters=broker.sink(wanted.dead_letter) if wanted.source and wanted.dead_letter else None,
        results=broker.sink(wanted.results) if wanted.results else None,
    )


async def _run(settings: Settings, endpoints: BrokerEndpoints, gateway: GatewayClient, *, announce: bool) -> int:
    wanted = settings.stream
    publication_log = PublicationLog(wanted.state_dir or settings.data_dir / "streams" / wanted.name, 2 * wanted.overlap_seconds)
    limits = IntakeLimits(wanted.workers, wanted.batch, wanted.in_flight, wanted.drain_seconds)
    timing = PollTiming(wanted.look_seconds, wanted.overlap_seconds)
    bridge = Bridge(endpoints, gateway, template(wanted), publication_log, Retrier(Random()), limits, timing)
    metrics = StreamMetrics(wanted.name, bridge.counts)
    facts = {"stream": wanted.name, "broker": wanted.broker, "source": wanted.source, "results": wanted.results}
    try:
        if endpoints.results is not None:
            publication_log.open()
        if wanted.metrics_port:
            metrics.open(wanted.metrics_port)
        await gateway.open()
        process.on_stop(bridge.stop)
        await bridge.run(lambda: _ready(facts, announce=announce))
        return 0
    finally:
        await gateway.close()
        metrics.close()
        publication_log.close()


def _ready(facts: dict[str, str], *, announce: bool) -> None:
    if announce:
        process.announce(facts)
    else:
        process.say(f"penstock: the stream {facts['stream']} is running")
