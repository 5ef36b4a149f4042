"""The limits of a key below its organisation's: what is taken from both, given back to both, and told to the client."""

from dataclasses import replace

import pytest

from penstock.domain.bucket import Bucket
from penstock.domain.call import Demand
from penstock.domain.clock import ManualClock
from penstock.domain.errors import PermissionDenied, RateLimited
from penstock.domain.policy import TIERS
from penstock.domain.principal import Pool, Principal, Scope, ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.serving.admission import limits as limits_module
from penstock.serving.admission.gate import Gate
from penstock.serving.admission.guards import Hold
from penstock.serving.admission.limits import KeyLimits, Limit, LimitBook
from penstock.storage.state.memory import MemoryQuotas
from tests.unit.serving.admission.principals import PLAN, demand, principal

NOW = 100.0
OWN = principal(requests_per_minute=6, tokens_per_minute=300)


class Quotas:
    """Buckets by name, of which a test may let one go, as `MemoryQuotas` does with one that is idle."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}

    def bucket(self, name: str, per_minute: int) -> Bucket:
        return self.buckets.setdefault(name, Bucket(per_minute, NOW))

    def forget(self, name: str) -> Bucket:
        bucket = self.buckets.pop(name)
        bucket.forgotten = True
        return bucket


def made() -> tuple[MemoryQuotas, Limit]:
    quotas = MemoryQuotas(ManualClock())
    return quotas, Limit(quotas, "tokens", OWN, 1000, 300)


def left(limit: Limit, now: float = NOW) -> list[int]:
    """Of the organisation's bucket, and of the key's."""
    return [bucket.remaining(now) for bucket in limit.buckets()]


def test_amount_is_taken_from_both_buckets_which_are_returned() -> None:
    _, limit = made()
    taken = limit.take(100, NOW)
    assert [bucket.remaining(NOW) for bucket in taken] == [900, 200]
    assert left(limit) == [900, 200]


def test_amount_that_the_key_may_not_take_is_given_back_to_the_organisation() -> None:
    _, limit = made()
    limit.take(250, NOW)
    with pytest.raises(RateLimited) as raised:
        limit.take(100, NOW)
    assert left(limit) == [750, 50]
    assert str(raised.value) == "Rate limit reached: 300 tokens per minute for this API key, 100 requested. Try again in 11s."
    assert raised.value.retry_after_seconds == pytest.approx(10.0, abs=1e-3)
    assert raised.value.retry is None


def test_amount_that_the_organisation_may_not_take_names_the_organisation() -> None:
    quotas, limit = made()
    quotas.bucket("org:org_1:tokens", 1000).reserve(950, NOW)
    with pytest.raises(RateLimited) as raised:
        limit.take(100, NOW)
    assert str(raised.value) == "Rate limit reached: 1000 tokens per minute for this organisation, 100 requested. Try again in 4s."
    assert left(limit) == [50, 300]


@pytest.mark.parametrize(
    ("what", "hint"), [("tokens", "lower max_tokens or shorten the prompt."), ("requests", "the limit must be raised.")]
)
def test_amount_above_the_limit_itself_is_refused_for_good_with_advice(what: str, hint: str) -> None:
    limit = Limit(MemoryQuotas(ManualClock()), what, OWN, 1000, 300)
    with pytest.raises(RateLimited) as raised:
        limit.take(301, NOW)
    assert str(raised.value) == (
        f"The request needs 301 {what}, more than the limit of 300 {what} per minute of this API key ever allows at once; {hint}"
    )
    assert (raised.value.retry, raised.value.retry_after_seconds) == (False, None)


@pytest.mark.parametrize(("wait", "retry"), [(60.0, None), (61.0, False)])
def test_refusal_tells_sdks_not_to_retry_only_beyond_60_seconds(wait: float, retry: bool | None) -> None:
    error = limits_module._too_many("tokens", "API key", MemoryQuotas(ManualClock()).bucket("b", 10), 1, wait)
    assert (error.retry, error.retry_after_seconds) == (retry, wait)


@pytest.mark.parametrize("forgotten", ["org:org_1:tokens", "key:key_1:tokens"])
def test_bucket_that_the_quotas_have_let_go_of_is_fetched_again(forgotten: str) -> None:
    """Otherwise two buckets of one name would each allow the whole limit."""
    quotas = Quotas()
    limit = Limit(quotas, "tokens", OWN, 1000, 300)
    old = quotas.forget(forgotten)
    limit.take(100, NOW)
    assert left(limit) == [900, 200]
    assert old.remaining(NOW) == old.limit


def test_bucket_of_a_limit_without_one_of_the_keys_own_is_fetched_again_only_when_forgotten() -> None:
    quotas = Quotas()
    limit = Limit(quotas, "tokens", principal(), 1000, None)
    (first,) = limit.take(100, NOW)
    assert limit.take(0, NOW) == (first,)
    assert limit.buckets() == (first,)
    quotas.forget("org:org_1:tokens")
    (second,) = limit.take(100, NOW)
    assert (second is first, second.remaining(NOW)) == (False, 900)


def test_settled_request_gives_back_unused_tokens_to_organisation_and_key() -> None:
    gate = Gate(MemoryQuotas(ManualClock()))
    admission = gate.admit(OWN, demand(20, 80), NOW)
    assert b"x-ratelimit-remaining-tokens: 200\r\n" in admission.header_block(NOW)
    admission.settle_tokens(TokenCount(30, 0))
    block = admission.header_block(NOW)
    assert b"x-ratelimit-limit-requests: 6\r\nx-ratelimit-remaining-requests: 5\r\n" in block
    assert b"x-ratelimit-limit-tokens: 300\r\nx-ratelimit-remaining-tokens: 270\r\n" in block
    other = replace(OWN, tokens_per_minute=None, requests_per_minute=None)
    assert b"x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 970\r\n" in gate.header_block(other, NOW)


def test_header_block_shows_the_keys_limit_when_both_have_the_same_left() -> None:
    gate = Gate(MemoryQuotas(ManualClock()))
    own = principal(tokens_per_minute=400, requests_per_minute=60)
    admission = gate.admit(own, demand(0, 0), NOW)
    assert b"x-ratelimit-limit-tokens: 400\r\n" in admission.header_block(NOW)
    gate.admit(principal("key_2"), demand(600, 0), NOW)
    assert b"x-ratelimit-limit-tokens: 400\r\nx-ratelimit-remaining-tokens: 400\r\n" in admission.header_block(NOW)


def test_header_block_of_a_second_pair_of_limits_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never changes for a pair is remembered: more pairs than are remembered, and one that comes again, are told right."""
    monkeypatch.setattr(limits_module, "_MOST_LINES", 2)
    monkeypatch.setattr(limits_module, "_LINES", {})
    gate = Gate(MemoryQuotas(ManualClock()))
    for requests, tokens in [(60, 1000), (1000, 60), (7, 8), (60, 1000)]:
        name = f"{requests}-{tokens}"
        who = principal(name, org_id=name, plan=replace(PLAN, requests_per_minute=requests, tokens_per_minute=tokens))
        assert gate.header_block(who, NOW).decode() == (
            f"x-ratelimit-limit-requests: {requests}\r\nx-ratelimit-remaining-requests: {requests}\r\nx-ratelimit-reset-requests: 0s\r\n"
            f"x-ratelimit-limit-tokens: {tokens}\r\nx-ratelimit-remaining-tokens: {tokens}\r\nx-ratelimit-reset-tokens: 0s\r\n"
            f'ratelimit-policy: "requests";q={requests};w=60, "tokens";q={tokens};w=60\r\n'
            f'ratelimit: "requests";r={requests};t=0, "tokens";r={tokens};t=0\r\n'
        )
        assert len(limits_module._LINES) <= 2


@pytest.mark.parametrize(("seconds", "told"), [(0.5, b"500ms"), (0.999, b"999ms"), (0.9991, b"1s"), (1.0, b"1s"), (90.0, b"1m30s")])
def test_reset_below_a_second_is_told_in_milliseconds_and_rounded_up_to_one_second(seconds: float, told: bytes) -> None:
    whole = {b"500ms": b"1", b"999ms": b"1", b"1s": b"1", b"1m30s": b"90"}[told]
    assert limits_module._reset(seconds) == (told, whole)


def test_edited_policy_leads_known_and_new_keys_to_other_pools() -> None:
    book = LimitBook(MemoryQuotas(ManualClock()))
    known = book.of(principal())
    assert known.tier("flex").pools == TIERS[ServiceTier.FLEX].pools
    tiers = {**TIERS, ServiceTier.FLEX: replace(TIERS[ServiceTier.FLEX], pools=(Pool.STANDARD,), downgrade=())}
    book.adopt(tiers)
    assert book.of(principal("key_2")).tier("flex").pools == (Pool.STANDARD,)
    assert known.tier("flex").pools == (Pool.STANDARD,)


def test_gate_adopts_the_tiers_of_an_edited_policy() -> None:
    gate = Gate(MemoryQuotas(ManualClock()))
    who = principal()
    assert gate.admit(who, demand(1, 1, "flex"), NOW).pools == TIERS[ServiceTier.FLEX].pools
    gate.adopt({**TIERS, ServiceTier.FLEX: replace(TIERS[ServiceTier.FLEX], pools=(Pool.STANDARD,), downgrade=())})
    assert gate.admit(who, demand(1, 1, "flex"), NOW).pools == (Pool.STANDARD,)


def book_of(capacity: int, *key_ids: str) -> tuple[LimitBook, dict[str, KeyLimits]]:
    book = LimitBook(MemoryQuotas(ManualClock()), capacity)
    return book, {key_id: book.of(principal(key_id)) for key_id in key_ids}


def test_book_remembers_as_many_keys_as_it_may_and_forgets_the_oldest() -> None:
    book, _ = book_of(3, "a", "b", "c")
    assert list(book.limits) == ["a", "b", "c"]
    book.of(principal("d"))
    assert list(book.limits) == ["b", "c", "d"]


def test_forgotten_key_leaves_what_it_has_running_with_its_organisation() -> None:
    book, known = book_of(2, "a", "b")
    known["a"].running.count = 3
    book.of(principal("c"))
    assert list(book.limits) == ["b", "c"]
    assert book.of(principal("a")).running.count == 3


def test_book_keeps_organisations_with_running_requests_and_looks_at_four_only() -> None:
    book = LimitBook(MemoryQuotas(ManualClock()), 5)
    running = [book.of(principal(f"key_{name}", name)).running for name in "abcde"]
    for each in running[:4]:
        each.count = 1
    book.of(principal("key_f", "f"))
    assert list(book._organisations) == ["e", "a", "b", "c", "d", "f"], "it does not look at a fifth, and is one over its capacity"
    book.of(principal("key_g", "g"))
    assert list(book._organisations) == ["a", "b", "c", "d", "f", "g"]


def test_refusal_of_a_missing_scope_tells_sdks_not_to_retry() -> None:
    gate = Gate(MemoryQuotas(ManualClock()))
    with pytest.raises(PermissionDenied) as raised:
        gate.admit(principal(scopes=frozenset({Scope.USAGE_READ})), demand(), NOW)
    assert raised.value.retry is False


class Recording:
    """A guard that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, object, float]] = []

    def admit(self, who: Principal, what: Demand, now: float, /) -> Hold | None:
        self.asked.append((who, what, now))
        return None


def test_guard_is_asked_with_principal_demand_and_time() -> None:
    guard = Recording()
    gate = Gate(MemoryQuotas(ManualClock()), guards=(guard,))
    who, what = principal(), demand()
    gate.admit(who, what, NOW)
    assert guard.asked == [(who, what, NOW)]
