"""From the facts of a decision to what people read."""

import re
from collections.abc import Mapping

from penstock.domain.decisions import Explanation, LimitStanding, ScoredCandidate, ShadowChoice, Step
from penstock.domain.outcome import RequestOutcome, RoutingSnapshot
from penstock.serving.explain.advice import advice_for

_LIMIT = re.compile(rb"x-ratelimit-limit-(requests|tokens): (\d+)")
_STANDING = re.compile(rb'"(requests|tokens)";r=(-?\d+);t=(\d+)')
_OUTCOMES = {"": "answered", "client_left": "client_left", "replayed": "replayed"}


def explanation(decision: RequestOutcome) -> Explanation:
    """A decision as people read it, with its timeline and the settings that would have changed it."""
    seen, demand = decision.snapshot, decision.demand
    return Explanation(
        id=decision.request_id,
        org_id=decision.org_id,
        key_id=decision.principal.actor_id,
        plan=decision.principal.plan.name,
        service_class=decision.service_class.name.lower(),
        model=decision.model,
        asked_tier=decision.asked_tier,
        pools=tuple(map(str, decision.pools)),
        pool="" if decision.pool is None else str(decision.pool),
        tier=decision.served_tier,
        policy="" if seen is None else seen.policy,
        worker_id=decision.worker_id,
        outcome=outcome(decision),
        status=decision.status,
        code=decision.code,
        message=decision.message,
        started_at=decision.started_at,
        seconds=decision.seconds,
        queue_seconds=decision.queue_seconds,
        waiting=decision.waiting,
        ttft_seconds=decision.ttft_seconds,
        timeout_seconds=decision.timeout_seconds,
        prompt_tokens=0 if demand is None else demand.prompt_tokens,
        max_tokens=0 if demand is None else demand.max_tokens,
        completion_tokens=decision.completion_tokens,
        limits=limits(decision.limits),
        candidates=() if seen is None else candidates(seen, decision),
        available=0 if seen is None else seen.available,
        shadow=shadow(seen, decision.worker_id),
        tries=decision.tries,
        timeline=timeline(decision),
        advice=advice_for(decision),
    )


def outcome(decision: RequestOutcome) -> str:
    if decision.code == "upstream_failed" and decision.status == 200:
        return "broke_off"
    return _OUTCOMES.get(decision.code, "refused")


def limits(block: bytes) -> tuple[LimitStanding, ...]:
    """From the header lines that the client got."""
    most = {name: int(limit) for name, limit in _LIMIT.findall(block)}
    return tuple(
        LimitStanding(name.decode(), most[name], int(remaining), float(reset))
        for name, remaining, reset in _STANDING.findall(block)
        if name in most
    )


def candidates(seen: RoutingSnapshot, decision: RequestOutcome) -> tuple[ScoredCandidate, ...]:
    """The workers from which one was chosen, with their numbers just before the choice."""
    failed = {each.worker_id for each in decision.tries}
    views = []
    numbers = zip(seen.candidates, seen.numbers[0::3], seen.numbers[1::3], seen.limits, strict=True)
    for worker, in_flight, tokens, limit in numbers:
        cached = seen.cached.get(worker.id, 0)
        measured: Mapping[str, int] = {"outstanding_tokens": tokens, "in_flight": in_flight, "cached_tokens": cached}
        score = measured.get(seen.measure)
        views.append(
            ScoredCandidate(
                worker.id,
                in_flight,
                limit,
                tokens,
                cached,
                None if score is None else float(score),
                chosen=worker.id == decision.worker_id,
                usable=in_flight < limit and worker.id not in failed,
            )
        )
    return tuple(views)


def shadow(seen: RoutingSnapshot | None, chosen: str) -> ShadowChoice | None:
    if seen is None or not seen.shadow:
        return None
    return ShadowChoice(seen.shadow, seen.shadow_choice, seen.shadow_choice == chosen)


def timeline(decision: RequestOutcome) -> tuple[Step, ...]:
    steps = [Step(0.0, f"arrived for {decision.model or 'a model'}, class {decision.service_class.name.lower()}")]
    if decision.waiting:
        steps.append(Step(0.0, f"no free slot in {' or '.join(decision.pools)}: queued at position {decision.waiting}"))
    steps += [Step(each.at_seconds, f"{each.worker_id} {'was full' if each.busy else 'failed'}: {each.reason}") for each in decision.tries]
    if decision.snapshot is not None:
        sent = max(decision.queue_seconds, decision.tries[-1].at_seconds if decision.tries else 0.0)
        if decision.status == 200 or not decision.tries:
            steps.append(Step(sent, f"sent to {decision.worker_id} in pool {decision.pool}, chosen by {decision.snapshot.policy}"))
    if decision.ttft_seconds is not None:
        steps.append(Step(decision.ttft_seconds, "first token"))
    steps.append(Step(decision.seconds, _end(decision)))
    return tuple(sorted(steps, key=lambda step: step.at_seconds))


def _end(decision: RequestOutcome) -> str:
    what = outcome(decision)
    if what == "answered":
        return f"answered: {decision.completion_tokens} tokens, tier {decision.served_tier}"
    if what == "client_left":
        return "the client left"
    if what == "broke_off":
        return f"the worker's answer was cut off after {decision.completion_tokens} tokens"
    if what == "replayed":
        return "answered with what the first request of its Idempotency-Key got"
    return f"refused with {decision.status} {decision.code}: {decision.message}"
