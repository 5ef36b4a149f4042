"""The parameters of the autoscaler."""

import math
from dataclasses import dataclass


class InvalidRules(ValueError):
    """The message names the field and what it must be."""


@dataclass(frozen=True, slots=True)
class ScaleRules:
    """Parameters of Knative's pod autoscaler, as AIBrix applies it to inference: see docs/explanation/capacity.md. Raises InvalidRules."""

    target_tokens: float
    """Running and queued tokens that one replica should have to do: what it has when it is as busy as it should be."""
    min_replicas: int = 1
    """Replicas; 0: the deployment may go to sleep, and the first request wakes it."""
    max_replicas: int = 8
    stable_seconds: float = 60.0
    """Demand is its mean over so long a time."""
    panic_seconds: float = 6.0
    """And over so short a one, to see a step early."""
    panic_factor: float = 2.0
    """When the demand of the short time wants so many times the replicas that are ready, nothing is stopped for `stable_seconds`."""
    tolerance: float = 0.1
    """A demand so near to what the replicas should have changes nothing."""
    up_factor: float = 2.0
    """Replicas that are ready or starting may become so many times as many within `panic_seconds`."""
    down_after_seconds: float = 300.0
    """None is stopped before fewer would have been enough for so long."""

    def __post_init__(self) -> None:
        _check("target_tokens", self.target_tokens, above=0.0)
        _check("min_replicas", self.min_replicas, least=0.0)
        _check("max_replicas", self.max_replicas, least=max(1.0, float(self.min_replicas)))
        _check("panic_seconds", self.panic_seconds, above=0.0)
        _check("stable_seconds", self.stable_seconds, least=self.panic_seconds)
        _check("panic_factor", self.panic_factor, above=1.0)
        _check("tolerance", self.tolerance, least=0.0)
        _check("up_factor", self.up_factor, above=1.0)
        _check("down_after_seconds", self.down_after_seconds, least=0.0)
        if self.tolerance >= 1.0:
            raise InvalidRules(f"tolerance must be less than 1, and is {self.tolerance:g}")


def _check(name: str, value: float, *, least: float = -math.inf, above: float = -math.inf) -> None:
    if not math.isfinite(value) or value < least or value <= above:
        bound = f"more than {above:g}" if above > -math.inf else f"at least {least:g}"
        raise InvalidRules(f"{name} must be {bound}, and is {value:g}")
