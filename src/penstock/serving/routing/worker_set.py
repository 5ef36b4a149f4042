"""The gateway's view of all its workers: who is there, in which state, and which models that makes available."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from penstock.domain.clock import Clock
from penstock.domain.policy import Policy
from penstock.domain.workers import ModelOffer, WorkerLoad, WorkerRecord, WorkerState
from penstock.serving.routing import slow_start
from penstock.serving.routing.adaptive_limit import LatencyKind, LimitRules
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.health import HealthRules, note_failure, note_success, silent_verdicts
from penstock.serving.routing.member import Member
from penstock.serving.routing.serving import Serving


@dataclass(frozen=True, slots=True)
class RoutingRules:
    health: HealthRules = HealthRules()
    priority_reserve: float = 0.1
    overflow_reserve: float = 0.3
    limits: LimitRules | None = LimitRules()
    """None: a worker gets as many requests as it has slots, however slow it becomes."""
    slow_start_seconds: float = 10.0


PRIVATE: Final = "private"
"""In place of the names of models that only organisations' own workers serve, where others can see them."""
ServingKey = tuple[str, str | None]
"""A model, and the organisation whose own workers serve it (None: every organisation's)."""


class WorkerEvent(NamedTuple):
    """Something that an operator wants to know: a worker's new state, or `ejected`, `returned`."""

    worker_id: str
    name: str
    what: str


class WorkerSet:
    """Every edit goes through a method here, which rebuilds the models concerned and tells those who wait for a slot."""

    def __init__(self, policies: RoutingPolicies, rules: RoutingRules, clock: Clock) -> None:
        self._policies = policies
        self._rules = rules
        self._now = clock.monotonic
        self._members: dict[str, Member] = {}
        self._models: dict[ServingKey, Serving] = {}
        self._elastic: set[ServingKey] = set()
        self._reserves: tuple[float | None, float | None] = (None, None)
        self.own_first: frozenset[str] = frozenset()
        self.on_change: Callable[[frozenset[ServingKey]], None] = lambda keys: None
        """Called with the models whose workers changed: those who wait may now be placed."""
        self.on_event: Callable[[WorkerEvent], None] = lambda event: None

    # reading

    def serving(self, model: str, org_id: str | None) -> Serving | None:
        """The workers of a model for an organisation; None: none was ever there.

        The platform's, where it serves or has served the model: an organisation's own worker does not take over its name. Otherwise the
        organisation's own. For those in `own_first` its own, while they can serve and fall back to the platform's otherwise.
        """
        shared = self._models.get((model, None))
        own = None if org_id is None else self._models.get((model, org_id))
        if own is None or not (own.known or own.elastic):
            return shared
        if shared is None:
            return own
        if org_id not in self.own_first:
            return shared
        return own if own.available or own.elastic or not shared.available else shared

    def exact(self, key: ServingKey) -> Serving | None:
        return self._models.get(key)

    def is_public(self, model: str) -> bool:
        """Whether the platform serves it or has served it: its name is no secret of an organisation."""
        return (model, None) in self._models

    def prefer_own(self, org_ids: frozenset[str]) -> None:
        """The organisations whose own workers serve a model that the platform serves too."""
        self.own_first = org_ids
        self.on_change(frozenset(self._models))

    def forget_unused(self, in_use: Callable[[Serving], bool]) -> list[Serving]:
        """Drop what organisations had and have no worker for, so that models that come and go leave nothing."""
        gone = [
            key for key, each in self._models.items() if each.owner is not None and not each.known and not each.elastic and not in_use(each)
        ]
        return [self._models.pop(key) for key in gone]

    def members(self) -> list[Member]:
        return list(self._members.values())

    def member(self, worker_id: str) -> Member | None:
        return self._members.get(worker_id)

    def offers(self, org_id: str | None) -> dict[str, ModelOffer]:
        """The models that a request of an organisation could use now, each as one of its workers offers it."""
        offers: dict[str, ModelOffer] = {}
        for member in self._members.values():
            if member.state is WorkerState.READY and member.record.org_id in (None, org_id):
                for offer in member.record.models:
                    offers.setdefault(offer.id, offer)
        return offers

    def shadows(self) -> dict[str, tuple[int, int]]:
        """By model that has or had a shadow policy: how often the two agreed, and how often not."""
        counts: dict[str, tuple[int, int]] = {}
        for serving in self._models.values():
            if serving.shadow_agreed or serving.shadow_differed:
                name = serving.model if self.is_public(serving.model) else PRIVATE
                agreed, differed = counts.get(name, (0, 0))
                counts[name] = agreed + serving.shadow_agreed, differed + serving.shadow_differed
        return counts

    def servings(self) -> list[Serving]:
        """Every model, for all organisations or for one, that had a worker since this gateway started."""
        return list(self._models.values())

    # how workers are chosen

    def set_policy(self, model: str, name: str, shadow: str | None = None) -> None:
        """From the next request on. Raises family.UnknownMember."""
        before = self._policies.names(model)
        self._policies.set(model, name, shadow)
        self._follow(model, before)

    def unset_policy(self, model: str) -> None:
        """Back to what the settings say."""
        before = self._policies.names(model)
        self._policies.unset(model)
        self._follow(model, before)

    def adopt(self, policy: Policy) -> None:
        """Another policy: how workers are chosen, and which share of the slots is kept for whom. Raises family.UnknownMember."""
        before = {model: self._policies.names(model) for model, _ in self._models}
        self._policies.adopt(policy)
        self._reserves = policy.priority_reserve, policy.overflow_reserve
        for model, names in before.items():
            self._follow(model, names)
        for serving in self._models.values():
            serving.reserve(*self._kept())
        self.on_change(frozenset(self._models))

    def _kept(self) -> tuple[float, float]:
        """The reserves of the priority and the overflow pool."""
        priority, overflow = self._reserves
        rules = self._rules
        return rules.priority_reserve if priority is None else priority, rules.overflow_reserve if overflow is None else overflow

    def _follow(self, model: str, before: tuple[str, str | None]) -> None:
        if self._policies.names(model) != before:
            for (name, _), serving in self._models.items():
                if name == model:
                    serving.follow(self._policies.choice(model))

    # workers come, change and go

    def put(self, record: WorkerRecord) -> Member:
        """Add a worker, or take over its new record."""
        member = self._members.get(record.id)
        touched = _keys(record)
        if member is None:
            member = self._members[record.id] = Member(record, self._now(), self._rules.limits)
        else:
            touched |= _keys(member.record)
            joined_again = record.joined_at != member.record.joined_at
            member.adopt(record, self._now())
            if joined_again:
                self._start_again(member)
            self._relimit(member)
        if record.draining and member.state is not WorkerState.DRAINING:
            self._move(member, WorkerState.DRAINING)
        self._rebuild(touched)
        return member

    def remove(self, worker_id: str) -> None:
        member = self._members.pop(worker_id, None)
        if member is not None:
            self._rebuild(_keys(member.record))

    def alive(self, worker_id: str, load: WorkerLoad | None = None, *, draining: bool = False) -> None:
        """A sign of life: from any state the worker serves again (or drains)."""
        member = self._members.get(worker_id)
        if member is None:
            return
        member.last_sign = self._now()
        member.refused = False
        if load is not None:
            member.load = load
        state = WorkerState.DRAINING if draining or member.record.draining else WorkerState.READY
        if member.state is not state:
            self._move(member, state)

    def heard(self, worker_id: str, load: WorkerLoad, *, draining: bool = False) -> None:
        """It reported to a gateway by itself. It lives; whether requests reach it only a connection to it shows."""
        member = self._members.get(worker_id)
        if member is None:
            return
        member.last_sign = self._now()
        member.load = load
        if draining and member.state is WorkerState.READY:
            self._move(member, WorkerState.DRAINING)
        elif member.state is WorkerState.DEAD:
            self._move(member, WorkerState.SUSPECT)

    def set_elastic(self, model: str, org_id: str | None = None, *, elastic: bool = True) -> None:
        """From now on workers of a model are started when its requests need them: so those wait while there is none.

        Not elastic any more: without a ready worker they are refused, those in the queue at their deadlines.
        """
        key = (model, org_id)
        if elastic:
            self._elastic.add(key)
        else:
            self._elastic.discard(key)
        self._rebuild((key,))

    def set_unsupported_parameters(self, worker_id: str, parameters: frozenset[str]) -> None:
        """What the engine there drops without a word, as a probe found out."""
        member = self._members.get(worker_id)
        if member is not None:
            member.unsupported = parameters

    def lost(self, worker_id: str, *, refused: bool = False) -> None:
        """Its connection broke: nothing new for it until it gives a sign of life. `refused`: nothing listens there any more."""
        member = self._members.get(worker_id)
        if member is None:
            return
        member.refused = refused
        if member.state is WorkerState.READY:
            self._move(member, WorkerState.SUSPECT)

    def succeeded(self, member: Member) -> None:
        if member.failures_in_a_row or member.ejections:
            note_success(member)

    def record_latency(self, member: Member, kind: LatencyKind, seconds: float, tokens: int) -> None:
        """So long took that many tokens, at a worker that has its request still; cheap while the worker has little to do."""
        adaptive = member.adaptive
        if adaptive is not None and member.in_flight * 2 >= adaptive.value and tokens > 0:
            adaptive.note(kind, seconds / tokens, member.in_flight)
            self._relimit(member)

    def failed(self, member: Member, *, busy: bool = False) -> None:
        """It did not do what it was asked to. `busy`: because it is full, as it says; its limit was too high then, and it is well."""
        if busy and member.adaptive is not None:
            member.adaptive.refused(member.in_flight)
            self._relimit(member)
        if busy:
            return
        if note_failure(member, self._of_owner(member.record.org_id), self._rules.health, self._now()):
            self.on_event(WorkerEvent(member.id, member.record.name, "ejected"))
            self._rebuild(_keys(member.record))

    def rest(self, member: Member, seconds: float) -> None:
        """Its rate limit is used up: no requests for so long. It is well."""
        until = self._now() + seconds
        if seconds > 0 and until > member.resting_until:
            member.resting_until = until
            self._rebuild(_keys(member.record))

    def count_sent(self, member: Member, prompt_tokens: int) -> None:
        """A request goes to a worker whose rate is limited."""
        if member.rate is not None:
            self.rest(member, member.rate.sent(prompt_tokens, self._now()))

    def count_used(self, member: Member, tokens: int) -> None:
        """So many tokens more than when the request was sent."""
        if member.rate is not None:
            self.rest(member, member.rate.used(tokens, self._now()))

    def sweep(self) -> None:
        """About once a second: judge the silent, let the ejected return."""
        now = self._now()
        for org_id in {member.record.org_id for member in self._members.values()}:
            for member, state in silent_verdicts(self._of_owner(org_id), self._rules.health, now):
                self._move(member, state)
        for member in self._members.values():
            if member.warming_since is not None and self._relimit(member):
                self.on_change(frozenset(_keys(member.record)))
            if 0 < member.resting_until <= now:
                member.resting_until = 0.0
                self._rebuild(_keys(member.record))
            if 0 < member.ejected_until <= now:
                member.ejected_until = 0.0
                self._begin_slowly(member)
                self.on_event(WorkerEvent(member.id, member.record.name, "returned"))
                self._rebuild(_keys(member.record))

    def _of_owner(self, org_id: str | None) -> list[Member]:
        """The workers of an organisation or of the platform: shares are counted among them, so that no tenant's weigh on another's."""
        return [member for member in self._members.values() if member.record.org_id == org_id]

    def _move(self, member: Member, state: WorkerState) -> None:
        before = member.state
        if member.move(state):
            member.state_since = self._now()
            if before is WorkerState.DEAD:
                self._start_again(member)
            if state is WorkerState.READY:
                # It may have restarted: what it did before does not count against it.
                member.failures_in_a_row, member.ejected_until = 0, 0.0
                if before in (WorkerState.SUSPECT, WorkerState.DEAD):
                    self._begin_slowly(member)
            self.on_event(WorkerEvent(member.id, member.record.name, state.value))
            self._rebuild(_keys(member.record))

    def _start_again(self, member: Member) -> None:
        member.start_again()
        for key in _keys(member.record):
            if (serving := self._models.get(key)) is not None:
                serving.prefixes.forget(member.id)

    def _begin_slowly(self, member: Member) -> None:
        if self._rules.slow_start_seconds > 0:
            slow_start.begin(member, self._members.values(), self._now(), self._rules.slow_start_seconds)
            self._relimit(member)

    def _relimit(self, member: Member) -> bool:
        """Bring a worker's limit up to date, and the pools of its models with it; True when it changed."""
        warm = 1.0
        if member.warming_since is not None:
            warm = slow_start.share(member.warming_since, self._now(), self._rules.slow_start_seconds)
            if warm >= 1.0:
                member.warming_since = None
        if not member.relimit(warm):
            return False
        for key in _keys(member.record):
            if (serving := self._models.get(key)) is not None:
                serving.recount()
        return True

    def _rebuild(self, keys: Iterable[ServingKey]) -> None:
        keys = frozenset(keys)
        now = self._now()
        for key in keys:
            serving = self._models.get(key)
            if serving is None:
                serving = self._models[key] = Serving(key[0], self._policies.choice(key[0]), *self._kept())
                serving.owner = key[1]
            known = [member for member in self._members.values() if key in _keys(member.record)]
            there = [member for member in known if member.state is WorkerState.READY]
            ready = [member for member in there if member.resting_until <= now]
            # Fail open: when every worker is ejected, a doubtful one is better than none.
            serving.elastic = key in self._elastic
            serving.resting_until = 0.0 if ready or not there else min(member.resting_until for member in there)
            serving.rebuild([member for member in ready if member.ejected_until <= now] or ready, len(known))
        self.on_change(keys)


def _keys(record: WorkerRecord) -> set[ServingKey]:
    return {(offer.id, record.org_id) for offer in record.models}
