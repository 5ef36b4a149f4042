"""The limits of one key and its organisation, ready to be asked, and the headers that tell where they stand."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from penstock.domain.bucket import Bucket
from penstock.domain.errors import RateLimited
from penstock.domain.policy import TIERS, TierPolicy
from penstock.domain.ports import Quotas
from penstock.domain.principal import Principal, Scope, ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.serving.admission.tiers import TierChoice, resolve
from penstock.wire.decimals import decimal

_LONGEST_WAIT_SECONDS: Final = 60.0  # the SDKs do not wait longer: beyond it we tell them not to try

_BYTES_A_REQUEST: Final = 1 << 20
"""Of the bytes a minute, for each request a minute that a plan allows."""
LEAST_BYTES_PER_MINUTE: Final = 128 << 20

Buckets = tuple[Bucket, ...]
"""The organisation's bucket and, where the key has a limit of its own, the key's."""


class Limit:
    """Requests or tokens per minute: the organisation's limit, and the key's own below it where it has one."""

    __slots__ = ("_bucket", "_org", "_org_limit", "_org_name", "_own", "_own_limit", "_own_name", "_what", "last")

    def __init__(self, quotas: Quotas, what: str, principal: Principal, org_limit: int, own_limit: int | None) -> None:
        self._bucket = quotas.bucket
        self._what = what
        self._org_name = f"org:{principal.org_id}:{what}"
        self._org_limit = org_limit
        self._own_name = f"key:{principal.actor_id}:{what}"
        self._own_limit = own_limit
        self._org, self._own = self._fetch()
        self.last: Buckets = (self._org,) if self._own is None else (self._org, self._own)
        """Those of which the latest units were taken."""

    def _fetch(self) -> tuple[Bucket, Bucket | None]:
        own = None if self._own_limit is None else self._bucket(self._own_name, self._own_limit)
        return self._bucket(self._org_name, self._org_limit), own

    def take(self, amount: int, now: float) -> Buckets:
        """Take units of both or of none. Raises RateLimited. A refusal costs nothing: who keeps knocking does not wait longer."""
        bucket = self._org
        if self._own is not None or bucket.forgotten:
            return self._take_both(amount, now)
        if wait := bucket.reserve(amount, now):
            raise _too_many(self._what, "organisation", bucket, amount, wait)
        return self.last

    def _take_both(self, amount: int, now: float) -> Buckets:
        bucket, own = self._org, self._own
        if bucket.forgotten or (own is not None and own.forgotten):
            bucket, own = self._org, self._own = self._fetch()
            self.last = (bucket,) if own is None else (bucket, own)
        if wait := bucket.reserve(amount, now):
            raise _too_many(self._what, "organisation", bucket, amount, wait)
        if own is not None and (wait := own.reserve(amount, now)):
            bucket.settle(amount)
            raise _too_many(self._what, "API key", own, amount, wait)
        return self.last

    def buckets(self) -> Buckets:
        """To be read."""
        bucket, own = self._fetch()
        return (bucket,) if own is None else (bucket, own)


class Running:
    """How many requests of one organisation are running, whichever of its keys has sent them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class OwnPlaces:
    """The requests of one key that may run at the same time, where it has such a limit; each of them is a `Hold`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def hold(self) -> "OwnPlaces":
        """Raises RateLimited."""
        if self.count >= self.limit:
            raise RateLimited(f"This API key has reached its limit of {self.limit} requests at the same time.", retry_after_seconds=1.0)
        self.count += 1
        return self

    def settle(self, count: TokenCount) -> None:
        self.count -= 1

    def release(self) -> None:
        self.count -= 1


class KeyLimits:
    """What one key may still do. The organisation's buckets and running requests are shared by all its keys."""

    __slots__ = (
        "_least_bytes",
        "_quotas",
        "bytes",
        "choices",
        "concurrency",
        "may_infer",
        "own",
        "principal",
        "requests",
        "running",
        "tiers",
        "tokens",
    )

    def __init__(
        self, quotas: Quotas, principal: Principal, tiers: Mapping[ServiceTier, TierPolicy], running: Running, least_bytes: int
    ) -> None:
        """`least_bytes`: what large bodies of a minute may have together, however few requests the plan allows."""
        self._quotas = quotas
        self._least_bytes = least_bytes
        self.tiers = tiers
        self.running = running
        self.own: OwnPlaces | None = None
        self.adopt(principal)

    def adopt(self, principal: Principal) -> None:
        """The key or its plan was edited: new limits from here on; what is running goes on counting."""
        plan = principal.plan
        self.principal = principal
        self.concurrency = plan.concurrency
        if principal.concurrency is None:
            self.own = None
        elif self.own is None:
            self.own = OwnPlaces(principal.concurrency)
        else:
            self.own.limit = principal.concurrency
        self.may_infer = principal.may(Scope.INFERENCE)
        self.requests = Limit(self._quotas, "requests", principal, plan.requests_per_minute, principal.requests_per_minute)
        self.tokens = Limit(self._quotas, "tokens", principal, plan.tokens_per_minute, principal.tokens_per_minute)
        bytes_per_minute = max(self._least_bytes, plan.requests_per_minute * _BYTES_A_REQUEST)
        self.bytes = Limit(self._quotas, "bytes", principal, bytes_per_minute, None)
        self.choices: dict[str | None, TierChoice] = {}
        """What `tier` has answered: only names that it accepts, so there are never more than a few."""

    def tier(self, asked: str | None) -> TierChoice:
        """`tiers.resolve`, remembered."""
        choice = self.choices.get(asked)
        if choice is None:
            choice = self.choices[asked] = resolve(self.principal.plan, asked, self.tiers)
        return choice


class LimitBook:
    """The limits of every key that was used lately."""

    def __init__(self, quotas: Quotas, capacity: int = 100_000, least_bytes: int = LEAST_BYTES_PER_MINUTE) -> None:
        self._quotas = quotas
        self._capacity = capacity
        self._least_bytes = least_bytes
        self.limits: OrderedDict[str, KeyLimits] = OrderedDict()
        self._organisations: OrderedDict[str, Running] = OrderedDict()
        self._tiers: Mapping[ServiceTier, TierPolicy] = TIERS

    def adopt(self, tiers: Mapping[ServiceTier, TierPolicy]) -> None:
        """Tiers lead to other pools from here on; who has been admitted goes where it was admitted to."""
        self._tiers = tiers
        for limits in self.limits.values():
            limits.tiers = tiers
            limits.adopt(limits.principal)

    def __len__(self) -> int:
        return len(self.limits)

    def of(self, principal: Principal) -> KeyLimits:
        limits = self.limits.get(principal.actor_id)
        if limits is None:
            self._make_room()
            limits = KeyLimits(self._quotas, principal, self._tiers, self._running(principal.org_id), self._least_bytes)
            self.limits[principal.actor_id] = limits
        elif limits.principal is not principal:
            limits.adopt(principal)
        return limits

    def _running(self, org_id: str) -> Running:
        running = self._organisations.get(org_id)
        if running is None:
            if len(self._organisations) >= self._capacity:
                self._forget_idle_organisation()
            running = self._organisations[org_id] = Running()
        return running

    def _make_room(self) -> None:
        """Forget the oldest key; its buckets live on with the quotas, and what it has running with its organisation.

        One that counts its own running requests stays until they have ended; looks at a few only.
        """
        for _ in range(4):
            if len(self.limits) < self._capacity:
                return
            key_id, limits = self.limits.popitem(last=False)
            if limits.own is not None and limits.own.count:
                self.limits[key_id] = limits

    def _forget_idle_organisation(self) -> None:
        """The oldest one that has nothing running; looks at a few only."""
        for _ in range(4):
            org_id, running = self._organisations.popitem(last=False)
            if not running.count:
                return
            self._organisations[org_id] = running


def _too_many(what: str, whose: str, bucket: Bucket, amount: float, wait: float) -> RateLimited:
    """The refusal, with the limit that was met and, when waiting helps, for how long."""
    if math.isinf(wait):
        hint = {"tokens": "lower max_tokens or shorten the prompt", "bytes": "send a smaller body"}.get(what, "the limit must be raised")
        return RateLimited(
            f"The request needs {amount:.0f} {what}, more than the limit of {bucket.limit} {what} per minute of this {whose}"
            f" ever allows at once; {hint}.",
            retry=False,
        )
    return RateLimited(
        f"Rate limit reached: {bucket.limit} {what} per minute for this {whose}, {amount:.0f} requested. Try again in {duration(wait)}.",
        retry_after_seconds=wait,
        retry=False if wait > _LONGEST_WAIT_SECONDS else None,
    )


def header_block(requests: Buckets, tokens: Buckets, now: float) -> bytes:
    """OpenAI's six headers and the two of the IETF draft (draft-ietf-httpapi-ratelimit-headers), each line with its CRLF.

    Of an organisation's and a key's limit the one that leaves less is shown.
    """
    request = requests[0] if len(requests) == 1 else _narrowest(requests, now)
    token = tokens[0] if len(tokens) == 1 else _narrowest(tokens, now)
    number, seconds = request.standing(now)
    requests_left = decimal(number)
    requests_reset, requests_seconds = _reset(seconds) if seconds else _FULL
    number, seconds = token.standing(now)
    tokens_left = decimal(number)
    tokens_reset, tokens_seconds = _reset(seconds) if seconds else _FULL
    first, second, third = _LINES.get((request.limit, token.limit)) or _lines(request.limit, token.limit)
    return b'%b%b\r\nx-ratelimit-reset-requests: %b\r\n%b%b\r\nx-ratelimit-reset-tokens: %b\r\n%b%b;t=%b, "tokens";r=%b;t=%b\r\n' % (
        first,
        requests_left,
        requests_reset,
        second,
        tokens_left,
        tokens_reset,
        third,
        requests_left,
        requests_seconds,
        tokens_left,
        tokens_seconds,
    )


_FULL: Final = (b"0s", b"0")
_MOST_LINES: Final = 1024
_LINES: Final[dict[tuple[int, int], tuple[bytes, bytes, bytes]]] = {}
"""What `_lines` has answered."""


def _lines(requests_limit: int, tokens_limit: int) -> tuple[bytes, bytes, bytes]:
    """What never changes for a pair of limits: before what is left of the requests, of the tokens, and of the requests once more."""
    if len(_LINES) >= _MOST_LINES:
        _LINES.clear()
    lines = _LINES[requests_limit, tokens_limit] = (
        f"x-ratelimit-limit-requests: {requests_limit}\r\nx-ratelimit-remaining-requests: ".encode("ascii"),
        f"x-ratelimit-limit-tokens: {tokens_limit}\r\nx-ratelimit-remaining-tokens: ".encode("ascii"),
        f'ratelimit-policy: "requests";q={requests_limit};w=60, "tokens";q={tokens_limit};w=60\r\nratelimit: "requests";r='.encode("ascii"),
    )
    return lines


def _reset(seconds: float) -> tuple[bytes, bytes]:
    """A time until a bucket is full in OpenAI's notation and in whole seconds; both rounded up."""
    if seconds <= 0.0:
        return _FULL
    if seconds <= 0.999:
        return b"%bms" % (decimal(_ceiling(seconds * 1000.0)),), b"1"
    whole = _ceiling(seconds)
    return _whole_duration(whole), decimal(whole)


def _ceiling(number: float) -> int:
    whole = int(number)
    return whole + 1 if whole < number else whole


def _whole_duration(seconds: int) -> bytes:
    minutes, seconds = seconds // 60, seconds % 60
    if not minutes:
        return b"%bs" % (decimal(seconds),)
    hours, minutes = minutes // 60, minutes % 60
    return b"%dh%dm%ds" % (hours, minutes, seconds) if hours else b"%bm%bs" % (decimal(minutes), decimal(seconds))


def duration(seconds: float) -> str:
    """As OpenAI writes it: `0s`, `20ms`, `1s`, `6m0s`, `1h0m0s`; rounded up, so that no client comes back too early."""
    return _reset(seconds)[0].decode("ascii")


def _narrowest(buckets: Buckets, now: float) -> Bucket:
    shared, own = buckets
    return own if own.remaining(now) <= shared.remaining(now) else shared
