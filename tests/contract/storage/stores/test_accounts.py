import asyncio
from dataclasses import replace

import pytest

from penstock.domain.errors import Conflict, NotFound
from penstock.domain.ports import Store
from tests.contract.storage.stores import store_records


async def test_an_organisation_comes_back_as_it_was(store: Store) -> None:
    older, newer = store_records.organisation("org_b", created_at=1.0), store_records.organisation("org_a", created_at=2.0)
    await store.accounts.create_organisation(newer)
    await store.accounts.create_organisation(older)
    assert await store.accounts.organisation("org_a") == newer
    assert await store.accounts.organisations() == [older, newer]
    assert await store.accounts.organisation("org_none") is None


async def test_an_organisation_can_be_changed(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    changed = replace(store_records.organisation(), name="other", plan="premium", disabled=True)
    assert await store.accounts.update_organisation(changed)
    assert await store.accounts.organisation("org_a") == changed
    assert not await store.accounts.update_organisation(store_records.organisation("org_none"))


async def test_an_id_is_given_once(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    with pytest.raises(Conflict):
        await store.accounts.create_organisation(store_records.organisation())


async def test_a_user_is_found_by_address_without_regard_to_case(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    await store.accounts.create_user(store_records.user(email="Straße@Example.org"))
    assert await store.accounts.user_by_email("STRASSE@example.ORG") == store_records.user(email="Straße@Example.org")
    assert await store.accounts.user_by_email("nobody@example.org") is None
    with pytest.raises(Conflict):
        await store.accounts.create_user(store_records.user("usr_b", email="strasse@example.org"))


async def test_nothing_belongs_to_an_organisation_that_is_not_there(store: Store) -> None:
    for creation in (store.accounts.create_user(store_records.user()), store.accounts.create_key(store_records.key())):
        with pytest.raises(NotFound) as refused:
            await creation
        assert refused.value.param == "org_id"


async def test_a_key_comes_back_as_it_was(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    await store.accounts.create_key(store_records.key())
    assert await store.accounts.key("key_a") == store_records.key()
    assert await store.accounts.key_by_digest(store_records.key().digest) == store_records.key()
    assert await store.accounts.key("key_none") is None
    assert await store.accounts.key_by_digest(b"\0" * 32) is None


async def test_a_key_without_limits_and_expiry(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    bare = replace(store_records.key(), expires_at=None, allowed_networks=(), requests_per_minute=None, tokens_per_minute=None)
    await store.accounts.create_key(bare)
    assert await store.accounts.key("key_a") == bare


async def test_keys_are_listed_newest_first(store: Store) -> None:
    for org in ("org_a", "org_b"):
        await store.accounts.create_organisation(store_records.organisation(org))
    mine = [store_records.key(f"key_{n}", created_at=float(n)) for n in range(3)]
    foreign = store_records.key("key_x", "org_b", created_at=1.5)
    for key in (*mine, foreign):
        await store.accounts.create_key(key)
    assert await store.accounts.keys("org_a") == mine[::-1]
    assert await store.accounts.keys() == [mine[2], foreign, mine[1], mine[0]]
    assert await store.accounts.keys("org_none") == []


async def test_two_keys_cannot_share_a_digest(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    await store.accounts.create_key(store_records.key("key_a", digest=b"d" * 32))
    with pytest.raises(Conflict):
        await store.accounts.create_key(store_records.key("key_b", digest=b"d" * 32))


async def test_revoking_twice_keeps_the_first_time(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    await store.accounts.create_key(store_records.key())
    assert await store.accounts.revoke_key("key_a", 100.0)
    assert await store.accounts.revoke_key("key_a", 200.0)
    assert await store.accounts.key("key_a") == replace(store_records.key(), revoked_at=100.0)
    assert not await store.accounts.revoke_key("key_none", 100.0)


async def test_a_plan_is_replaced_by_its_name(store: Store) -> None:
    await store.accounts.save_plan(store_records.plan("b"))
    await store.accounts.save_plan(store_records.plan("a"))
    changed = replace(store_records.plan("a"), requests_per_minute=1, tiers=(), spill=False)
    await store.accounts.save_plan(changed)
    assert await store.accounts.plans() == [changed, store_records.plan("b")]


async def test_a_join_token_lives_like_a_key(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    platform, own = store_records.join_token("jtk_a", created_at=1.0), store_records.join_token("jtk_b", "org_a", created_at=2.0)
    await store.accounts.create_join_token(platform)
    await store.accounts.create_join_token(own)
    assert await store.accounts.join_tokens() == [own, platform]
    assert await store.accounts.join_token_by_digest(own.digest) == own
    assert await store.accounts.join_token_by_digest(b"?") is None
    assert await store.accounts.revoke_join_token("jtk_a", 100.0)
    assert await store.accounts.revoke_join_token("jtk_a", 200.0)
    assert await store.accounts.join_token_by_digest(platform.digest) == replace(platform, revoked_at=100.0)
    assert not await store.accounts.revoke_join_token("jtk_none", 100.0)


async def test_one_of_many_first_starts_is_first(store: Store) -> None:
    async def start(number: int) -> bool:
        org = f"org_{number}"
        return await store.accounts.first_start(
            [store_records.plan("free"), store_records.plan("premium")],
            store_records.organisation(org),
            store_records.user(f"usr_{number}", org),
            store_records.key(f"key_{number}", org),
            store_records.join_token(f"jtk_{number}"),
        )

    was_first = await asyncio.gather(*(start(number) for number in range(5)))
    winner = was_first.index(True)
    assert was_first.count(True) == 1
    assert [org.id for org in await store.accounts.organisations()] == [f"org_{winner}"]
    assert [key.id for key in await store.accounts.keys()] == [f"key_{winner}"]
    assert [token.id for token in await store.accounts.join_tokens()] == [f"jtk_{winner}"]
    assert [plan.name for plan in await store.accounts.plans()] == ["free", "premium"]
    assert await store.accounts.user_by_email("ada@example.org") == store_records.user(f"usr_{winner}", f"org_{winner}")


async def test_the_first_secret_of_a_name_stays(store: Store) -> None:
    candidates = [bytes([number]) * 32 for number in range(8)]
    answers = await asyncio.gather(*(store.secret("jwt", candidate) for candidate in candidates))
    assert len(set(answers)) == 1
    assert answers[0] in candidates
    assert await store.secret("jwt", b"later") == answers[0]
    assert await store.secret("other", b"\0\xff") == b"\0\xff"
