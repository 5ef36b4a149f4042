"""A policy comes into force: every room that it concerns is told, at once and without a pause; who waits goes on waiting."""

from penstock.domain.policy import Policy
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.scheduling.rules import QueueRules


def apply(policy: Policy, deps: Collaborators) -> None:
    """Plans are not part of it: they come with the keys of their organisations.

    Raises family.UnknownMember for a routing policy that is not installed here; nothing has changed then.
    """
    deps.workers.adopt(policy)
    deps.gate.adopt(policy.tiers)
    deps.task_gate.adopt(policy.tiers)
    deps.preempt_batch = policy.preempt_batch
    deps.queue_rules = QueueRules.of(policy)
    for queue in deps.queues.values():
        queue.adopt(deps.queue_rules)
