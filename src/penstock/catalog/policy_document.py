"""The policy as people write it: TOML in a file, JSON in the API. One schema for both, with an error that names the field.

What a document leaves out has its default, so a document says everything; only `plans` and `tenants` have no defaults, and plans that
are left out stay as they are.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from penstock.base.family import Family
from penstock.domain.policy import CLASSES, TIERS, ClassPolicy, Policy, RoutingPolicy, Shedding, TierPolicy
from penstock.domain.principal import Plan, Pool, ServiceClass, ServiceTier

POLICIES: Family[object] = Family("penstock.serving.routing.policies")  # its names alone


def _not_disguised(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


_NUMBER = BeforeValidator(_not_disguised)
ClassName = Literal["system", "enterprise", "premium", "free", "batch"]
Weight = Annotated[int, Field(ge=1, le=1_000_000), _NUMBER]
Many = Annotated[int, Field(ge=1, le=1_000_000_000_000), _NUMBER]
Bytes = Annotated[int, Field(ge=1, le=2**60), _NUMBER]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), _NUMBER]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False), _NUMBER]
PlanName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
OrgId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
ModelId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Flag = Annotated[bool, Field(strict=True)]
Pools = Annotated[tuple[Pool, ...], Field(max_length=len(Pool))]


class Part(BaseModel):
    """A field that we do not know is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanPart(Part):
    """What a customer bought."""

    service_class: Annotated[ClassName, Field(alias="class", description="Who waits behind whom.")]
    default_tier: Annotated[ServiceTier, Field(description="For a request that asks for none.")] = ServiceTier.DEFAULT
    tiers: Annotated[tuple[ServiceTier, ...], Field(max_length=4, description="What a request may ask for.")] = (ServiceTier.DEFAULT,)
    requests_per_minute: Many
    tokens_per_minute: Many
    concurrency: Annotated[Many, Field(description="Requests at the same time, of all keys of an organisation together.")]
    spill: Annotated[Flag, Field(description="A request that asked for no tier may use its tier's `spill` pools.")] = False
    downgrade: Annotated[Flag, Field(description="A request may use its tier's `downgrade` pools, at the lower tier's price.")] = True
    file_bytes: Annotated[Bytes, Field(description="All files that an organisation uploads, together.")] = 100 * 2**30
    tasks: Annotated[Many, Field(description="Tasks in the store, ended ones included, beyond which none can be submitted.")] = 5_000_000
    schedules: Annotated[Many, Field(description="Schedules of an organisation.")] = 10_000
    workers: Annotated[Many, Field(description="Workers and runners of its own, together.")] = 10_000


class ClassPart(Part):
    """How a class is queued; what is left out has the class's default."""

    weight: Annotated[Weight | None, Field(description="Share of a contended model, relative to the classes that wait.")] = None
    bound: Annotated[Many | None, Field(description="The most that may wait for one model.")] = None
    patience_seconds: Annotated[Seconds | None, Field(description="Who has waited longer is promoted.")] = None


class TierPart(Part):
    """Where a service tier's requests may be placed."""

    pools: Annotated[tuple[Pool, ...], Field(min_length=1, max_length=len(Pool), description="In order of preference.")]
    spill: Annotated[Pools, Field(description="Further ones, for plans that spill.")] = ()
    downgrade: Annotated[Pools, Field(description="Further ones, in which `downgrade_to` is served and billed.")] = ()
    downgrade_to: ServiceTier | None = None

    @model_validator(mode="after")
    def _each_pool_once(self) -> Self:
        pools = [*self.pools, *self.spill, *self.downgrade]
        if len(set(pools)) < len(pools):
            raise PydanticCustomError("pools", "A pool is named once for a tier")
        if bool(self.downgrade) != (self.downgrade_to is not None):
            raise PydanticCustomError("downgrade", "downgrade and downgrade_to belong together")
        return self


class PoolsPart(Part):
    priority_reserve: Annotated[
        Share | None, Field(description="Share of a model's slots for the priority pool alone; null: the setting.")
    ] = None
    overflow_reserve: Annotated[
        Share | None, Field(description="Share of a model's slots that must be idle for overflow; null: the setting.")
    ] = None


class TenantPart(Part):
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False, description="Its share among those of its class."), _NUMBER]


class RoutingPart(Part):
    policy: Annotated[str | None, Field(max_length=64, description="How a worker is chosen; null: the setting.")] = None
    shadow: Annotated[str | None, Field(max_length=64, description="Decides too, and its choice is only recorded.")] = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = POLICIES.names()
        for name in (self.policy, self.shadow):
            if name is not None and name not in known:
                raise PydanticCustomError("routing", "A routing policy is one of: {known}", {"known": ", ".join(known)})
        return self


class SheddingPart(Part):
    """Batch is refused at random while the queue fills: p = min(factor x saturation^exponent, 1)."""

    batch_factor: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), _NUMBER] = Shedding().batch_factor
    batch_exponent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), _NUMBER] = Shedding().batch_exponent


class PolicyDocument(Part):
    """How the platform treats its customers. What is left out has its default."""

    plans: Annotated[dict[PlanName, PlanPart] | None, Field(min_length=1, max_length=1000, description="null: they stay as they are.")] = (
        None
    )
    classes: dict[ClassName, ClassPart] = {}
    tiers: dict[ServiceTier, TierPart] = {}
    pools: PoolsPart = PoolsPart()
    tenants: Annotated[dict[OrgId, TenantPart], Field(max_length=100_000, description="By organisation.")] = {}
    routing: RoutingPart = RoutingPart()
    models: Annotated[dict[ModelId, RoutingPart], Field(max_length=10_000, description="By model.")] = {}
    shedding: SheddingPart = SheddingPart()
    preempt_batch: Annotated[Flag, Field(description="Batch that has not answered yet gives its slot to others who wait.")] = True


class PolicyProblem(Exception):
    """The document does not hold together; a line for each field that is wrong."""


def parse(values: Mapping[str, Any], plans: tuple[Plan, ...] = ()) -> Policy:
    """`plans`: those in force, for a document without. Raises PolicyProblem."""
    try:
        document = PolicyDocument.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc'])) or 'policy'}: {each['msg']}" for each in error.errors()]
        raise PolicyProblem("\n".join(lines)) from error
    return policy_of(document, plans)


def policy_of(document: PolicyDocument, plans: tuple[Plan, ...]) -> Policy:
    """`plans`: those in force, for a document without."""
    tiers = {tier: TierPolicy(part.pools, part.spill, part.downgrade, part.downgrade_to) for tier, part in document.tiers.items()}
    return Policy(
        plans=plans if document.plans is None else tuple(_plan(name, part) for name, part in sorted(document.plans.items())),
        classes={each: _class(document.classes.get(_class_name(each), ClassPart()), CLASSES[each]) for each in ServiceClass},
        tiers={tier: tiers.get(tier, TIERS[tier]) for tier in ServiceTier},
        priority_reserve=document.pools.priority_reserve,
        overflow_reserve=document.pools.overflow_reserve,
        tenant_weights={org_id: part.weight for org_id, part in sorted(document.tenants.items())},
        routing=RoutingPolicy(document.routing.policy, document.routing.shadow),
        models={model: RoutingPolicy(part.policy, part.shadow) for model, part in sorted(document.models.items())},
        shedding=Shedding(document.shedding.batch_factor, document.shedding.batch_exponent),
        preempt_batch=document.preempt_batch,
    )


def document_of(policy: Policy) -> PolicyDocument:
    """The whole of a stored policy. Nothing is validated: it may name a routing policy that is not installed any more."""
    return PolicyDocument.model_construct(
        plans={plan.name: _plan_part(plan) for plan in policy.plans} or None,
        classes={_class_name(each): ClassPart(weight=one.weight, bound=one.bound, patience_seconds=one.patience_seconds)
                 for each, one in policy.classes.items()},
        tiers={tier: TierPart(pools=one.pools, spill=one.spill, downgrade=one.downgrade, downgrade_to=one.downgrade_to)
               for tier, one in policy.tiers.items()},
        pools=PoolsPart(priority_reserve=policy.priority_reserve, overflow_reserve=policy.overflow_reserve),
        tenants={org_id: TenantPart(weight=weight) for org_id, weight in policy.tenant_weights.items()},
        routing=RoutingPart.model_construct(policy=policy.routing.policy, shadow=policy.routing.shadow),
        models={model: RoutingPart.model_construct(policy=one.policy, shadow=one.shadow) for model, one in policy.models.items()},
        shedding=SheddingPart(batch_factor=policy.shedding.batch_factor, batch_exponent=policy.shedding.batch_exponent),
        preempt_batch=policy.preempt_batch,
    )  # fmt: skip


def _plan(name: str, part: PlanPart) -> Plan:
    return Plan(
        name,
        ServiceClass[part.service_class.upper()],
        part.default_tier,
        tuple(dict.fromkeys(part.tiers)),
        part.requests_per_minute,
        part.tokens_per_minute,
        part.concurrency,
        part.spill,
        part.downgrade,
        part.file_bytes,
        part.tasks,
        part.schedules,
        part.workers,
    )


def _plan_part(plan: Plan) -> PlanPart:
    return PlanPart.model_validate(
        {
            "class": _class_name(plan.service_class),
            "default_tier": plan.default_tier,
            "tiers": plan.tiers,
            "requests_per_minute": plan.requests_per_minute,
            "tokens_per_minute": plan.tokens_per_minute,
            "concurrency": plan.concurrency,
            "spill": plan.spill,
            "downgrade": plan.downgrade,
            "file_bytes": plan.file_bytes,
            "tasks": plan.tasks,
            "schedules": plan.schedules,
            "workers": plan.workers,
        }
    )


def _class(part: ClassPart, usual: ClassPolicy) -> ClassPolicy:
    return ClassPolicy(
        usual.weight if part.weight is None else part.weight,
        usual.bound if part.bound is None else part.bound,
        usual.patience_seconds if part.patience_seconds is None else part.patience_seconds,
    )


def _class_name(service_class: ServiceClass) -> ClassName:
    return service_class.name.lower()  # type: ignore[return-value]  # the names of the classes are the literals
