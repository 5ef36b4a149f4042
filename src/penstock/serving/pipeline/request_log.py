"""The log line of one finished request: always for a slow one, for every one when the operator wants it."""

import structlog

from penstock.domain.call import Call
from penstock.domain.inference import OPERATION_NAMES
from penstock.domain.principal import Principal
from penstock.domain.tokens import Doubt, TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.usage.meter import Meter

log = structlog.get_logger("penstock.inference")


def finished(
    principal: Principal, call: Call, model: str, meter: Meter, outcome: Outcome, count: TokenCount, seconds: float, *, slow: bool
) -> None:
    """Ids and numbers; nothing of what was asked or answered."""
    write = log.warning if slow else log.info
    write(
        "slow_request" if slow else "request",
        request_id=call.request_id,
        organisation=principal.org_id,
        key_id=principal.actor_id,
        plan=principal.plan.name,
        model=model,
        service_tier=meter.tier,
        operation=OPERATION_NAMES[call.operation],
        worker_id=meter.worker_id,
        outcome=outcome.value,
        prompt_tokens=count.prompt,
        completion_tokens=count.completion,
        queue_seconds=round(meter.queue_seconds, 6),
        seconds=round(seconds, 6),
        retries=meter.retries,
        client_retry=call.retry_count,
    )


def doubted(call: Call, model: str, worker_id: str, count: TokenCount, doubt: Doubt) -> None:
    """The engine's report of its tokens was not taken as it is."""
    log.warning(
        "usage_disputed" if doubt.disputed else "usage_unreadable",
        request_id=call.request_id,
        model=model,
        worker_id=worker_id,
        reported_prompt_tokens=doubt.prompt,
        reported_completion_tokens=doubt.completion,
        prompt_tokens=count.prompt,
        completion_tokens=count.completion,
        unreadable=doubt.unreadable[:200],
    )
