"""Which policy chooses the workers of a model, and which other one is only asked what it would have chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from penstock.domain.policy import Policy
from penstock.serving.routing.policies import POLICIES, BalancingPolicy

DEFAULT = "power_of_two"


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """Members of the family `policies` by name."""

    default: str = DEFAULT
    shadow: str | None = None
    by_model: Mapping[str, str] = field(default_factory=dict)
    shadow_by_model: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises UnknownMember, whose message lists those that exist."""
        for name in {self.default, self.shadow or self.default, *self.by_model.values(), *self.shadow_by_model.values()}:
            POLICIES.member(name)


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """One model's policies, with their names."""

    name: str
    policy: BalancingPolicy
    shadow_name: str = ""
    shadow: BalancingPolicy | None = None
    labels: tuple[str, str, str] = field(init=False)
    """The policy's name, what it compares, and its shadow's name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", (self.name, self.policy.measure, self.shadow_name))


class RoutingPolicies:
    """Makes them: each model has its own, as a policy may remember whose turn it is."""

    def __init__(self, random: Random, names: PolicyNames | None = None) -> None:
        self._random = random
        self._names = names or PolicyNames()
        self._set: dict[str, tuple[str, str | None]] = {}
        self._policy = Policy()

    def set(self, model: str, name: str, shadow: str | None = None) -> None:
        """Over the policies of these names. Raises UnknownMember."""
        for each in (name, shadow or name):
            POLICIES.member(each)
        self._set[model] = name, shadow

    def adopt(self, policy: Policy) -> None:
        """What the platform's policy says goes before the settings. Raises UnknownMember, and then nothing has changed."""
        for routing in (policy.routing, *policy.models.values()):
            for name in (routing.policy, routing.shadow):
                if name is not None:
                    POLICIES.member(name)
        self._policy = policy

    def unset(self, model: str) -> None:
        self._set.pop(model, None)

    def names(self, model: str) -> tuple[str, str | None]:
        """The policy and the shadow of a model."""
        names, routing = self._names, self._policy.routing_of(model)
        name = routing.policy or names.by_model.get(model, names.default)
        shadow = routing.shadow or names.shadow_by_model.get(model, names.shadow)
        return self._set.get(model, (name, shadow))

    def choice(self, model: str) -> PolicyChoice:
        """Fresh ones, by the model's names. Raises UnknownMember."""
        name, shadow = self.names(model)
        policy: BalancingPolicy = self._make(name)
        if not shadow or shadow == name:
            return PolicyChoice(name, policy)
        return PolicyChoice(name, policy, shadow, self._make(shadow))

    def _make(self, name: str) -> BalancingPolicy:
        # A generator of its own: what a shadow draws must not change what the policy draws.
        return POLICIES.member(name)(Random(self._random.getrandbits(64)))
