"""Keys: what is believed without asking, what is asked once, what is never believed."""

import asyncio
import gc
from dataclasses import replace

import pytest

from penstock.domain import keys
from penstock.domain.clock import ManualClock
from penstock.domain.errors import PermissionDenied, PortUnavailable, StoreUnavailable, Unauthenticated
from penstock.domain.principal import KeyActor, KeyRecord, Organisation, Principal
from penstock.serving.admission import keyring
from penstock.serving.admission.keyring import KeyRing, Pending
from tests.unit.serving.admission.principals import PLAN, SECRET_KEY, MemoryAccounts

HERE = "127.0.0.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def accounts() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def ring(accounts: MemoryAccounts, clock: ManualClock) -> KeyRing:
    return KeyRing(accounts, SECRET_KEY, clock)


async def test_a_key_is_asked_for_once_and_then_known(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    first = ring.find(header, HERE)
    assert isinstance(first, Pending)
    principal = await first.resolve()
    assert (principal.org_id, principal.actor, principal.plan) == ("org_1", KeyActor("key_1"), PLAN)
    assert ring.find(header, HERE) is principal
    assert ring.find(header, HERE) is principal
    assert accounts.lookups == 1


@pytest.mark.parametrize("change", [b"bearer ", b"BEARER ", b"Bearer   "])
async def test_the_scheme_is_read_loosely_and_kept_once(ring: KeyRing, accounts: MemoryAccounts, change: bytes) -> None:
    header = accounts.add_key()
    await ring.identify(header, HERE)
    assert isinstance(ring.find(header.replace(b"Bearer ", change), HERE), Principal)
    assert len(ring) == 1


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Bearer psk-short", b"Basic abc", b"Bearer \xff\xfe", b"psk-x"])
def test_header_without_a_well_formed_key_is_refused_without_a_store_lookup(
    ring: KeyRing, accounts: MemoryAccounts, header: bytes | None
) -> None:
    with pytest.raises(Unauthenticated):
        ring.find(header, HERE)
    assert accounts.lookups == 0


def test_a_mistyped_key_never_reaches_the_store(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    with pytest.raises(Unauthenticated) as refusal:
        ring.find(header[:-1] + (b"A" if header[-1:] != b"A" else b"B"), HERE)
    assert accounts.lookups == 0
    assert header.decode()[8:] not in refusal.value.message


async def test_a_join_token_is_not_a_key(ring: KeyRing, accounts: MemoryAccounts) -> None:
    with pytest.raises(Unauthenticated):
        ring.find(b"Bearer " + keys.new_secret(keys.JOIN_TOKEN).encode(), HERE)


async def test_an_unknown_key_is_asked_for_once_in_a_while(ring: KeyRing, accounts: MemoryAccounts, clock: ManualClock) -> None:
    header = b"Bearer " + keys.new_secret(keys.API_KEY).encode()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await ring.identify(header, HERE)
    assert accounts.lookups == 1
    clock.advance(31)
    with pytest.raises(Unauthenticated):
        await ring.identify(header, HERE)
    assert accounts.lookups == 2


async def test_many_who_wait_for_one_key_ask_one_question(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    found = await asyncio.gather(*(ring.identify(header, HERE) for _ in range(50)))
    assert len({id(principal) for principal in found}) == 1
    assert accounts.lookups == 1


async def test_one_who_leaves_does_not_take_the_answer_away(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    leaving, staying = asyncio.create_task(ring.identify(header, HERE)), asyncio.create_task(ring.identify(header, HERE))
    await asyncio.wait([leaving], timeout=0)
    leaving.cancel()
    assert (await staying).actor_id == "key_1"
    assert accounts.lookups == 1


async def test_a_revoked_key_is_refused_as_soon_as_the_change_is_known(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header, other = accounts.add_key(), accounts.add_key("key_2")
    await ring.identify(header, HERE)
    kept = await ring.identify(other, HERE)
    accounts.revoke("key_1")
    ring.forget({("key", "key_1")})
    with pytest.raises(Unauthenticated, match="revoked"):
        await ring.identify(header, HERE)
    assert ring.find(other, HERE) is kept


async def test_changes_of_other_things_forget_nothing(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    principal = await ring.identify(header, HERE)
    ring.forget({("worker", "wrk_1"), ("model", "key_1"), ("key", "key_2")})
    assert ring.find(header, HERE) is principal


async def test_a_changed_plan_takes_effect(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    await ring.identify(header, HERE)
    accounts.save_plan(replace(PLAN, requests_per_minute=7))
    ring.forget({("plan", "premium")})
    assert (await ring.identify(header, HERE)).plan.requests_per_minute == 7


async def test_an_organisation_is_disabled_and_enabled_again(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    organisation = Organisation("org_1", "One", PLAN.name, 0.0)
    for disabled in (True, False):
        accounts.save_organisation(replace(organisation, disabled=disabled))
        ring.forget({("organisation", "org_1")})
        if disabled:
            with pytest.raises(PermissionDenied, match="disabled"):
                await ring.identify(header, HERE)
        else:
            assert (await ring.identify(header, HERE)).org_id == "org_1"


async def test_a_plan_that_is_gone_refuses(ring: KeyRing, accounts: MemoryAccounts) -> None:
    accounts.save_organisation(Organisation("org_1", "One", "no such plan", 0.0))
    with pytest.raises(PermissionDenied, match="plan"):
        await ring.identify(accounts.add_key(), HERE)


class SlowMemoryAccounts(MemoryAccounts):
    """Answers a key's question only when it is let go; the answer is what the key was when asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self.failing = False

    async def key_by_digest(self, digest: bytes) -> KeyRecord | None:
        key = await super().key_by_digest(digest)
        self.asked.set()
        await self.let_go.wait()
        if self.failing:
            raise PortUnavailable
        return key


async def test_an_answer_that_was_overtaken_by_a_change_is_not_kept(clock: ManualClock) -> None:
    accounts = SlowMemoryAccounts()
    ring = KeyRing(accounts, SECRET_KEY, clock)
    header = accounts.add_key()
    early = asyncio.create_task(ring.identify(header, HERE))
    await asyncio.wait_for(accounts.asked.wait(), 5)
    accounts.revoke("key_1")
    ring.forget({("key", "key_1")})
    late = asyncio.create_task(ring.identify(header, HERE))
    accounts.let_go.set()
    assert (await early).actor_id == "key_1"
    with pytest.raises(Unauthenticated):
        await late
    assert len(ring) == 0


async def test_a_question_that_is_asked_late_replaces_what_was_known(accounts: MemoryAccounts, clock: ManualClock) -> None:
    ring = KeyRing(accounts, SECRET_KEY, clock, capacity=1)
    header = accounts.add_key()
    late = ring.find(header, HERE)
    assert isinstance(late, Pending)
    await ring.identify(header, HERE)
    accounts.save_plan(replace(PLAN, name="other"))
    accounts.save_organisation(Organisation("org_1", "One", "other", 0.0))
    await late.resolve()
    ring.forget({("plan", PLAN.name)})
    assert isinstance(ring.find(header, HERE), Principal)
    ring.forget({("plan", "other")})
    assert isinstance(ring.find(header, HERE), Pending)


async def test_expiry_needs_nobodys_word(ring: KeyRing, accounts: MemoryAccounts, clock: ManualClock) -> None:
    header = accounts.add_key(expires_at=clock.time() + 10)
    assert isinstance(await ring.identify(header, HERE), Principal)
    clock.advance(10)
    with pytest.raises(Unauthenticated, match="expired"):
        ring.find(header, HERE)


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::5"])
async def test_an_allowed_address_is_let_in(ring: KeyRing, accounts: MemoryAccounts, address: str) -> None:
    header = accounts.add_key(allowed_networks=("192.0.2.0/24", "2001:db8::/32"))
    principal = await ring.identify(header, address)
    assert ring.find(header, address) is principal


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db9::5", "", "not an address"])
async def test_another_address_is_refused(ring: KeyRing, accounts: MemoryAccounts, address: str) -> None:
    header = accounts.add_key(allowed_networks=("192.0.2.0/24", "2001:db8::/32"))
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            await ring.identify(header, address)


async def test_a_silent_store_is_believed_for_the_grace_and_no_longer(ring: KeyRing, accounts: MemoryAccounts, clock: ManualClock) -> None:
    header = accounts.add_key()
    principal = await ring.identify(header, HERE)
    accounts.unreachable = True
    clock.advance(60)
    assert ring.find(header, HERE) is principal
    clock.advance(0.1)
    with pytest.raises(StoreUnavailable) as refusal:
        ring.find(header, HERE)
    assert refusal.value.retry_after_seconds == 2.0
    ring.confirm(clock.monotonic())
    assert ring.find(header, HERE) is principal
    assert ring.fresh_until == clock.monotonic() + 60


async def test_a_key_that_was_never_seen_needs_the_store(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    accounts.unreachable = True
    with pytest.raises(StoreUnavailable):
        await ring.identify(header, HERE)
    accounts.unreachable = False
    assert (await ring.identify(header, HERE)).actor_id == "key_1"


async def test_forgetting_all_asks_again(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    await ring.identify(header, HERE)
    ring.forget_all()
    assert isinstance(ring.find(header, HERE), Pending)
    await ring.identify(header, HERE)
    ring.forget({("worker", "*")})
    assert isinstance(ring.find(header, HERE), Principal)
    ring.forget({("plan", "*")})
    assert isinstance(ring.find(header, HERE), Pending)


async def test_memory_is_bounded(accounts: MemoryAccounts, clock: ManualClock) -> None:
    ring = KeyRing(accounts, SECRET_KEY, clock, capacity=3)
    headers = [accounts.add_key(f"key_{number}") for number in range(5)]
    for header in headers:
        await ring.identify(header, HERE)
    assert len(ring) == 3
    assert [isinstance(ring.find(header, HERE), Pending) for header in headers] == [True, True, False, False, False]


async def test_the_keys_own_limits_travel_with_the_principal(ring: KeyRing, accounts: MemoryAccounts) -> None:
    principal = await ring.identify(accounts.add_key(requests_per_minute=5), HERE)
    assert (principal.requests_per_minute, principal.tokens_per_minute) == (5, None)


async def test_valid_key_under_another_scheme_than_bearer_is_refused(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    for scheme in (b"Basic ", b"Token ", b""):
        with pytest.raises(Unauthenticated):
            ring.find(header.replace(b"Bearer ", scheme), HERE)
    assert accounts.lookups == 0


async def test_every_refusal_of_a_key_tells_sdks_not_to_retry(ring: KeyRing, accounts: MemoryAccounts, clock: ManualClock) -> None:
    """They would send the same key again."""
    unknown = b"Bearer " + keys.new_secret(keys.API_KEY).encode()
    expiring = accounts.add_key("key_2", expires_at=clock.time() + 10)
    elsewhere = accounts.add_key("key_3", allowed_networks=("192.0.2.0/24",))
    await ring.identify(expiring, HERE)
    clock.advance(10)
    said = []
    for header in (None, b"Bearer nonsense", unknown, unknown, expiring, elsewhere):
        with pytest.raises((Unauthenticated, PermissionDenied)) as refusal:
            await ring.identify(header, HERE)
        said.append(refusal.value.retry)
    assert said == [False] * 6


async def test_unknown_key_is_asked_for_again_after_30_seconds_exactly(ring: KeyRing, accounts: MemoryAccounts, clock: ManualClock) -> None:
    header = b"Bearer " + keys.new_secret(keys.API_KEY).encode()
    for seconds, questions in ((0.0, 1), (29.5, 1), (0.5, 2)):
        clock.advance(seconds)
        with pytest.raises(Unauthenticated):
            await ring.identify(header, HERE)
        assert accounts.lookups == questions


async def test_refused_keys_are_remembered_up_to_a_capacity_the_oldest_first(
    ring: KeyRing, accounts: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_NEGATIVE_CAPACITY", 2)
    headers = [b"Bearer " + keys.new_secret(keys.API_KEY).encode() for _ in range(3)]

    async def refused(header: bytes) -> int:
        """How often the store has been asked by then."""
        with pytest.raises(Unauthenticated):
            await ring.identify(header, HERE)
        return accounts.lookups

    assert [await refused(header) for header in headers] == [1, 2, 3]
    assert [await refused(header) for header in (headers[2], headers[1], headers[0])] == [3, 3, 4]


async def test_waiting_key_says_whether_the_store_is_being_asked_already(accounts: MemoryAccounts, clock: ManualClock) -> None:
    ring = KeyRing(accounts, SECRET_KEY, clock)
    header = accounts.add_key()
    first, second = ring.find(header, HERE), ring.find(header, HERE)
    assert isinstance(first, Pending)
    assert isinstance(second, Pending)
    assert (first.asked, second.asked) == (False, False)
    first.ask()
    assert (first.asked, second.asked) == (True, True)
    found = await asyncio.gather(second.resolve(), first.resolve())
    assert found[0] is found[1]
    assert accounts.lookups == 1
    assert not first.asked


async def test_change_of_any_organisation_and_a_named_plan_forgets_every_key(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    await ring.identify(header, HERE)
    ring.forget({("organisation", "*"), ("plan", "another")})
    assert isinstance(ring.find(header, HERE), Pending)


async def test_change_of_the_organisation_alone_forgets_its_keys(ring: KeyRing, accounts: MemoryAccounts) -> None:
    header = accounts.add_key()
    await ring.identify(header, HERE)
    ring.forget({("organisation", "org_2")})
    assert isinstance(ring.find(header, HERE), Principal)
    ring.forget({("organisation", "org_1")})
    assert isinstance(ring.find(header, HERE), Pending)


@pytest.mark.parametrize("forget_all", [True, False])
async def test_forgotten_keys_leave_nothing_in_memory(ring: KeyRing, accounts: MemoryAccounts, forget_all: bool) -> None:
    for number in range(3):
        await ring.identify(accounts.add_key(f"key_{number}"), HERE)
    if forget_all:
        ring.forget_all()
    else:
        ring.forget({("plan", PLAN.name)})
    assert (len(ring), ring._by_subject) == (0, {})


async def test_refused_key_is_asked_for_again_after_everything_was_forgotten(ring: KeyRing, accounts: MemoryAccounts) -> None:
    accounts.save_organisation(Organisation("org_1", "One", "no such plan", 0.0))
    header = accounts.add_key()
    with pytest.raises(PermissionDenied):
        await ring.identify(header, HERE)
    accounts.save_organisation(Organisation("org_1", "One", PLAN.name, 0.0))
    ring.forget_all()
    assert (await ring.identify(header, HERE)).org_id == "org_1"


async def test_key_that_was_judged_twice_is_forgotten_by_its_newest_parts_only(accounts: MemoryAccounts, clock: ManualClock) -> None:
    """What it was made of before must not be found under it any more: forgetting that twice would fail."""
    ring = KeyRing(accounts, SECRET_KEY, clock)
    header = accounts.add_key()
    late = ring.find(header, HERE)
    assert isinstance(late, Pending)
    await ring.identify(header, HERE)
    accounts.save_plan(replace(PLAN, name="other"))
    accounts.save_organisation(Organisation("org_1", "One", "other", 0.0))
    await late.resolve()
    for _ in range(2):
        ring.forget({("plan", PLAN.name)})
        assert isinstance(ring.find(header, HERE), Principal)
    assert set(ring._by_subject) == {("key", "key_1"), ("organisation", "org_1"), ("plan", "other")}


async def test_question_whose_askers_have_all_left_fails_silently(accounts: MemoryAccounts, clock: ManualClock) -> None:
    """Python would report an exception that nobody has looked at."""
    slow = SlowMemoryAccounts()
    ring = KeyRing(slow, SECRET_KEY, clock)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    asking = asyncio.create_task(ring.identify(slow.add_key(), HERE))
    await asyncio.wait_for(slow.asked.wait(), 5)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    slow.failing = True
    slow.let_go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert (reported, ring._asking) == ([], {})
