"""From a body to what the other rooms need to know of it, and the sentences for those that are refused."""

from penstock.catalog.models import Catalogue
from penstock.domain.call import Call, Demand
from penstock.domain.errors import (
    ModelNotFound,
    Overloaded,
    PenstockError,
    RateLimited,
    ResourceUnavailable,
    UnsupportedParameter,
    UpstreamFailed,
)
from penstock.domain.inference import Operation
from penstock.serving.admission.limits import Limit
from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import Prefix, chain
from penstock.serving.routing.serving import Serving
from penstock.serving.scheduling.refusals import refuse_unserved
from penstock.wire.chat import requests
from penstock.wire.chat.bodies import AnyBody
from penstock.wire.chat.prompt import prompt_bytes
from penstock.wire.chat.unsupported import needed


def open_large(call: Call, limit: Limit, now: float) -> None:
    """Count the bytes of a body that is large or packed, and unpack it. Raises RateLimited, and what `call.prepare` raises."""
    limit.take(len(call.body), now)
    if call.prepare is not None:
        packed = len(call.body)
        call.body = call.prepare(call.body)
        limit.take(max(0, len(call.body) - packed), now)
    requests.check_keys(call.body)


def demand_of(call: Call, request: AnyBody, model: str, started: float, default_max_tokens: int) -> Demand:
    """`model` is the catalogue's id; `started` monotonic seconds."""
    return Demand(
        call.request_id,
        call.operation,
        model,
        requests.streams(request),
        requests.prompt_tokens(request, call.body),
        requests.max_tokens(request, default_max_tokens),
        request.service_tier if isinstance(request.service_tier, str) else None,
        None if call.timeout_seconds is None else started + call.timeout_seconds,
        call.retry_count,
    )


def prefix_of(request: AnyBody, org_id: str, model: str) -> Prefix:
    """How the prompt begins. Neither tenants nor adapters, which have model names of their own, share a cache."""
    return chain(prompt_bytes(request), f"{org_id} {model}".encode())


def incompatibility(member: Member, call: Call, model: str) -> PenstockError | None:
    """Why this worker cannot do it, which is known before it is asked; None: it can, as far as we know."""
    if call.operation is Operation.INFER and model not in member.tensor_models:
        return UnsupportedParameter("This model takes text, not tensors.", param="model")
    return needed(call.body, member.unsupported) if member.unsupported else None


def no_embeddings() -> PenstockError:
    return UnsupportedParameter("This model does not make embeddings.", param="model")


def unknown_model(catalogue: Catalogue, name: str) -> PenstockError:
    """No worker serves it here; `name` is what the client typed."""
    if catalogue.record(catalogue.resolve(name)) is not None:
        return refuse_unserved(name)
    return ModelNotFound(f"The model '{name}' does not exist or you do not have access to it.", param="model")


def none_available(serving: Serving, model: str, now: float) -> PenstockError:
    """Its workers are away, or all that are there rest until their rate limits allow requests again."""
    if serving.resting_until > now:
        return upstream_limited(serving.resting_until - now)
    return refuse_unserved(model)


def upstream_limited(seconds: float) -> PenstockError:
    return RateLimited("The rate limit of this model's upstream is used up.", retry_after_seconds=max(0.001, seconds))


def no_idle_capacity() -> PenstockError:
    return ResourceUnavailable("No idle capacity for service_tier 'flex' at the moment; nothing was billed.", retry_after_seconds=5.0)


def exhausted(*, busy: bool, rest_seconds: float | None = None) -> PenstockError:
    """Every attempt that was allowed has failed. `rest_seconds`: how long the last worker wants no requests."""
    if rest_seconds is not None:
        return upstream_limited(rest_seconds)
    if busy:
        return Overloaded("The workers of this model are busy.", retry_after_seconds=2.0)
    return UpstreamFailed("No worker could complete the request.", retry_after_seconds=1.0)


def broke_off() -> PenstockError:
    return UpstreamFailed("The worker failed while it was answering.")
