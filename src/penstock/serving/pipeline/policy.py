"""A policy comes into force: every room that it concerns is told, at once and without a pause; who waits goes on waiting."""

from penstock.domain.policy import Policy
from penstock.serving.pipeline.rooms import Rooms
from penstock.serving.scheduling.rules import LineRules


def apply(policy: Policy, rooms: Rooms) -> None:
    """Plans are no part of it: they come with the keys of their organisations.

    Raises family.UnknownMember for a routing policy that is not installed here; nothing has changed then.
    """
    rooms.fleet.adopt(policy)
    rooms.gate.adopt(policy.tiers)
    rooms.preempt_batch = policy.preempt_batch
    rooms.line_rules = LineRules.of(policy)
    for line in rooms.lines.values():
        line.adopt(rooms.line_rules)
