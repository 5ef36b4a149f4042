"""Which setting would have changed the outcome of a request."""

from penstock.domain.decisions import Advice
from penstock.domain.outcome import RequestOutcome

_A_MOMENT_SECONDS = 0.05
_BY_CODE: dict[str, tuple[tuple[str, str], ...]] = {
    "rate_limit_exceeded": (
        ("plan: requests_per_minute, tokens_per_minute, concurrency", "a higher limit of the plan (or of the key) would have let it in"),
        ("request: max_tokens", "a smaller one reserves fewer tokens of the limit"),
    ),
    "resource_unavailable": (
        ("scheduling.overflow_reserve", "a smaller reserve gives the overflow pool more of the slots"),
        ("request: service_tier", "`default` may wait in the queue; `flex` is served only by idle capacity"),
    ),
    "server_overloaded": (
        ("workers", "more workers or slots: those of this model were full, or not there"),
        ("scheduling.queue_limit", "a longer queue refuses later; it does not serve more"),
    ),
    "deadline_exceeded": (
        ("request: timeout", "a longer timeout of the client, or `scheduling.max_wait_seconds`, lets it wait longer"),
        ("policy: class weights", "a greater weight of its class gets it a slot sooner, at the cost of the others"),
        ("workers", "more workers or slots shorten every wait"),
    ),
    "upstream_error": (
        ("routing.retry_share, routing.retry_floor", "a larger retry budget asks more workers, when there are others that are well"),
        ("routing.eject_after", "a smaller one takes failing workers out of the choice sooner"),
    ),
    "model_not_found": (("models", "an alias of that name, or a worker that serves it"),),
    "permission_denied": (("plan: tiers", "the plan (or the key's scopes) must include what was asked for"),),
}


def advice_for(decision: RequestOutcome) -> tuple[Advice, ...]:
    """The most telling first; nothing for a request that was served at once by the worker that any policy would have chosen."""
    found = [Advice(*each) for each in _BY_CODE.get(decision.code, ())]
    if decision.code == "rate_limit_exceeded" and decision.waiting:
        found = [Advice("scheduling.queue_limit, policy: queue bounds", "the queue of its class was full"), *found[:1]]
    found += _about_waiting(decision) + _about_tries(decision) + _about_tier(decision) + _about_choice(decision)
    return tuple(found)


def _about_waiting(decision: RequestOutcome) -> list[Advice]:
    if decision.queue_seconds < _A_MOMENT_SECONDS or decision.code:
        return []
    found = [Advice("workers", f"with a free slot it would have been served {decision.queue_seconds:.2f} s earlier")]
    if "priority" not in decision.pools:
        found.append(Advice("scheduling.priority_reserve", "a smaller reserve leaves more slots to the standard pool"))
        found.append(Advice("request: service_tier", "`priority` may use the reserved slots, where the plan includes it"))
    found.append(Advice("policy: class weights", "a greater weight of its class gets it a slot sooner, at the cost of the others"))
    seen = decision.snapshot
    if seen is not None and any(limit < worker.slots for worker, limit in zip(seen.candidates, seen.limits, strict=True)):
        found.append(Advice("routing.adaptive_limits", "a worker got fewer requests than it has slots, as it had become slow"))
    return found


def _about_tries(decision: RequestOutcome) -> list[Advice]:
    if not decision.tries or decision.code:
        return []
    if all(each.busy for each in decision.tries):
        return [Advice("worker: slots", "a worker reported that it was full: it has fewer slots than it was given")]
    return [Advice("routing.eject_after", "a smaller one would have taken the failing worker out of the choice earlier")]


def _about_tier(decision: RequestOutcome) -> list[Advice]:
    asked = "priority" if decision.asked_tier == "fast" else decision.asked_tier
    if not decision.served_tier or asked in (None, "auto", decision.served_tier):
        return []
    return [Advice("plan: tiers; workers", f"{decision.asked_tier} was asked for, and served as {decision.served_tier}: its pool was full")]


def _about_choice(decision: RequestOutcome) -> list[Advice]:
    seen = decision.snapshot
    if seen is None or not seen.shadow or not seen.shadow_choice or seen.shadow_choice == decision.worker_id:
        return []
    return [Advice("routing.policy", f"{seen.shadow} would have sent it to {seen.shadow_choice}")]
