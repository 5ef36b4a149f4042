"""What policy says about a queue, ready to be asked: lists by class, as an enum member as the key of a dict costs more than a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.domain.policy import CLASSES, Policy, Shedding
from penstock.domain.principal import ServiceClass


@dataclass(frozen=True)
class QueueRules:
    weights: Mapping[ServiceClass, int] = field(default_factory=lambda: {each: one.weight for each, one in CLASSES.items()})
    bounds: Mapping[ServiceClass, int] = field(default_factory=lambda: {each: one.bound for each, one in CLASSES.items()})
    """The most that may wait, of each class."""
    patience_seconds: Mapping[ServiceClass, float] = field(
        default_factory=lambda: {each: one.patience_seconds for each, one in CLASSES.items()}
    )
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    """Of organisations; who is not named has 1."""
    shedding: Shedding = Shedding()

    @staticmethod
    def of(policy: Policy) -> "QueueRules":
        return QueueRules(
            {each: one.weight for each, one in policy.classes.items()},
            {each: one.bound for each, one in policy.classes.items()},
            {each: one.patience_seconds for each, one in policy.classes.items()},
            policy.tenant_weights,
            policy.shedding,
        )

    def batch_shed_probability(self, saturation: float) -> float:
        """`saturation`: how full the fullest class is, from 0 to 1."""
        return min(self.shedding.batch_factor * float(saturation**self.shedding.batch_exponent), 1.0)


RULES = QueueRules()
"""Those of a new installation."""
