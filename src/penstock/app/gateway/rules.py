"""From the settings of a process to the rules of its rooms: those never see the settings."""

from functools import partial

from penstock.app.settings import Settings, SettingsError
from penstock.base.family import UnknownMember
from penstock.domain.clock import Clock
from penstock.edge.inference.connection_counts import ConnectionCounts, most_connections
from penstock.edge.inference.connection_state import ConnectionLimits
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.guards import Guard
from penstock.serving.admission.idempotency import IdempotentAnswers
from penstock.serving.pipeline import PipelineOptions, PipelineRules
from penstock.serving.pipeline.stages import Stage
from penstock.serving.routing.adaptive_limit import LimitRules
from penstock.serving.routing.choice import PolicyNames
from penstock.serving.routing.health import HealthRules
from penstock.serving.routing.retry_budget import RetryBudget
from penstock.serving.routing.worker_set import RoutingRules

GUARDS: tuple[Guard, ...] = ()
"""What the gate asks between requests and tokens per minute, in this order."""
STAGES: tuple[Stage, ...] = ()
"""What every request passes, in this order."""


def connection_limits(settings: Settings) -> ConnectionLimits:
    http = settings.http
    return ConnectionLimits(
        max_header_bytes=http.max_header_bytes,
        header_seconds=http.header_timeout_seconds,
        body_seconds=http.body_timeout_seconds,
        idle_seconds=http.idle_timeout_seconds,
        write_buffer_bytes=http.write_buffer_bytes,
    )


def connection_counts(settings: Settings, clock: Clock) -> ConnectionCounts:
    http = settings.http
    return ConnectionCounts(clock, http.max_connections or most_connections(), http.max_connections_per_address or None)


def address_limiter(settings: Settings, clock: Clock) -> AddressLimiter:
    admission = settings.admission
    return AddressLimiter(
        clock, admission.unauthenticated_per_minute, admission.api_per_minute, sign_ins_per_minute=admission.sign_ins_per_minute
    )


def pipeline_options(settings: Settings) -> PipelineOptions:
    """Raises SettingsError when a routing policy that they name does not exist."""
    return PipelineOptions(
        rules=pipeline_rules(settings),
        routing=routing_rules(settings),
        policy_names=policy_names(settings),
        answers=IdempotentAnswers(settings.admission.idempotency_ttl_seconds, settings.admission.idempotency_bytes),
        new_budget=partial(RetryBudget, settings.routing.retry_share, settings.routing.retry_floor),
        decision_bytes=settings.explain.memory_bytes,
        least_body_bytes_per_minute=max(settings.admission.body_bytes_per_minute, settings.http.max_body_bytes),
        guards=GUARDS,
        stages=STAGES,
    )


def routing_rules(settings: Settings) -> RoutingRules:
    routing, scheduling = settings.routing, settings.scheduling
    health = HealthRules(
        suspect_seconds=routing.suspect_seconds,
        dead_seconds=routing.dead_seconds,
        hold_share=routing.hold_share,
        eject_after=routing.eject_after,
        eject_seconds=routing.eject_seconds,
        eject_share=routing.eject_share,
    )
    limits = LimitRules() if routing.adaptive_limits else None
    return RoutingRules(health, scheduling.priority_reserve, scheduling.overflow_reserve, limits, routing.slow_start_seconds)


def policy_names(settings: Settings) -> PolicyNames:
    """Raises SettingsError when one of them is not a policy."""
    routing = settings.routing
    names = PolicyNames(routing.policy, routing.shadow_policy or None, routing.policies, routing.shadow_policies)
    try:
        names.check()
    except UnknownMember as error:
        raise SettingsError(f"routing: {error}") from error
    return names


def pipeline_rules(settings: Settings) -> PipelineRules:
    scheduling = settings.scheduling
    return PipelineRules(
        max_json_depth=settings.http.max_json_depth,
        default_max_tokens=settings.admission.default_max_tokens,
        queue_limit=scheduling.queue_limit,
        max_wait_seconds=scheduling.max_wait_seconds,
        keepalive_after_seconds=scheduling.keepalive_after_seconds,
        keepalive_every_seconds=scheduling.keepalive_every_seconds,
        largest_event_bytes=settings.upstream.max_event_bytes,
        slow_request_seconds=settings.log.slow_request_seconds,
        log_requests=settings.log.requests,
    )
