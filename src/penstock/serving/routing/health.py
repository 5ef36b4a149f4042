"""Who is fit to serve: verdicts from signs of life and from results, and when to withhold a verdict."""

from collections.abc import Collection
from dataclasses import dataclass

from penstock.domain.workers import WorkerState
from penstock.serving.routing.member import Member


@dataclass(frozen=True, slots=True)
class HealthRules:
    """Starting values, described in docs/explanation/routing.md (Envoy's outlier detection; Kubernetes' node eviction)."""

    suspect_seconds: float = 10.0
    dead_seconds: float = 30.0
    hold_share: float = 0.3
    """When more than this share of the workers falls silent together, the fault is more likely ours: no verdict of death."""
    eject_after: int = 5
    eject_seconds: float = 30.0
    longest_eject_seconds: float = 300.0
    eject_share: float = 0.1


def note_success(member: Member) -> None:
    """Earlier ejections are not forgotten for that: a worker that flaps is well every other moment."""
    member.failures_in_a_row = 0


def note_failure(member: Member, members: Collection[Member], rules: HealthRules, now: float) -> bool:
    """Count a failure; True when it ejects the worker: for 30 s, then 60 s, and so on, and never more than a tenth of all (but one).

    Each half minute without an ejection takes one of them back.
    """
    member.failures_in_a_row += 1
    if member.failures_in_a_row < rules.eject_after or member.ejected_until > now:
        return False
    ejected = sum(1 for other in members if other.ejected_until > now)
    if ejected >= max(1, int(len(members) * rules.eject_share)):
        return False
    forgiven = int((now - member.rested_until) / rules.eject_seconds)
    member.ejections = max(0, member.ejections - forgiven) + 1
    member.failures_in_a_row = 0
    member.ejected_until = member.rested_until = now + min(rules.eject_seconds * member.ejections, rules.longest_eject_seconds)
    return True


def silent_verdicts(members: Collection[Member], rules: HealthRules, now: float) -> list[tuple[Member, WorkerState]]:
    """Whose silence has lasted too long. The verdict of death is withheld while too many are silent together.

    A single silent worker says nothing of the network, nor does one that was never reached, or whose machine refuses connections.
    """
    alive = [member for member in members if member.state is not WorkerState.DEAD]
    silent = [member for member in alive if now - member.last_sign > rules.suspect_seconds]
    known = sum(member.state is not WorkerState.JOINING for member in alive)
    doubtful = sum(member.state is not WorkerState.JOINING and not member.refused for member in silent)
    hold = doubtful > 1 and doubtful > known * rules.hold_share
    verdicts = []
    for member in silent:
        certain = member.refused or member.state is WorkerState.JOINING
        if now - member.last_sign > rules.dead_seconds and (certain or not hold):
            verdicts.append((member, WorkerState.DEAD))
        elif member.state is WorkerState.READY:
            verdicts.append((member, WorkerState.SUSPECT))
    return verdicts
