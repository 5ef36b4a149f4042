"""Each setting reaches the rule that it is about: every one is given another value, so that two that are swapped do not pass."""

from pathlib import Path

from penstock.app.gateway.rules import connection_limits, pipeline_rules, routing_rules
from penstock.app.settings import Settings, load
from penstock.edge.inference.connection_state import ConnectionLimits
from penstock.serving.pipeline import PipelineRules
from penstock.serving.routing.adaptive_limit import LimitRules
from penstock.serving.routing.health import HealthRules
from penstock.serving.routing.worker_set import RoutingRules


def settings(directory: Path, **sections: dict[str, object]) -> Settings:
    return load({"data_dir": directory, **sections})


def test_http_settings_become_the_limits_of_a_connection(tmp_path: Path) -> None:
    http: dict[str, object] = {
        "max_header_bytes": 4001,
        "header_timeout_seconds": 2,
        "body_timeout_seconds": 3,
        "idle_timeout_seconds": 4,
        "write_buffer_bytes": 70_005,
    }
    assert connection_limits(settings(tmp_path, http=http)) == ConnectionLimits(4001, 2, 3, 4, 70_005)


def test_routing_settings_become_the_rules_of_workers(tmp_path: Path) -> None:
    routing: dict[str, object] = {
        "suspect_seconds": 11,
        "dead_seconds": 22,
        "hold_share": 0.33,
        "eject_after": 4,
        "eject_seconds": 55,
        "eject_share": 0.66,
        "slow_start_seconds": 7,
    }
    scheduling: dict[str, object] = {"priority_reserve": 0.18, "overflow_reserve": 0.29}
    health = HealthRules(suspect_seconds=11, dead_seconds=22, hold_share=0.33, eject_after=4, eject_seconds=55, eject_share=0.66)
    found = routing_rules(settings(tmp_path, routing=routing, scheduling=scheduling))
    assert found == RoutingRules(health, priority_reserve=0.18, overflow_reserve=0.29, limits=LimitRules(), slow_start_seconds=7)


def test_settings_of_five_sections_become_the_rules_of_the_pipeline(tmp_path: Path) -> None:
    found = pipeline_rules(
        settings(
            tmp_path,
            http={"max_json_depth": 31},
            admission={"default_max_tokens": 321},
            scheduling={"queue_limit": 41, "max_wait_seconds": 42, "keepalive_after_seconds": 43, "keepalive_every_seconds": 44},
            upstream={"max_event_bytes": 500_000},
            log={"slow_request_seconds": 61, "requests": True},
        )
    )
    assert found == PipelineRules(
        max_json_depth=31,
        default_max_tokens=321,
        queue_limit=41,
        max_wait_seconds=42,
        keepalive_after_seconds=43,
        keepalive_every_seconds=44,
        largest_event_bytes=500_000,
        slow_request_seconds=61,
        log_requests=True,
    )
