"""How a gateway is wired: which edit reaches which part, and that a failed start leaves nothing open."""

import socket
from dataclasses import replace

import pytest

from penstock.app.gateway.assembly import Gateway, open_gateway
from penstock.app.settings import Settings
from penstock.domain import keys
from penstock.domain.models import ModelRecord, Price
from penstock.domain.policy import Policy, PolicyVersion, RoutingPolicy
from penstock.domain.ports import SchemaOutdated
from penstock.domain.principal import Principal
from penstock.storage.stores import open_store
from tests.unit.app.worker_records import upstream


async def save_policy(gateway: Gateway, number: int, routing: str | None = None) -> None:
    plans = tuple(await gateway.store.accounts.plans())
    policy = Policy(plans=plans, routing=RoutingPolicy(policy=routing))
    assert await gateway.store.policies.save(PolicyVersion(number, policy, "test", "", 1.0))


async def test_an_edited_policy_is_in_force_after_the_next_question(gateway: Gateway) -> None:
    await save_policy(gateway, 1, "round_robin")
    assert gateway.metrics.policy_version == 0
    await gateway.changes.ask()
    assert gateway.metrics.policy_version == 1
    gateway.workers.put(upstream())
    serving = gateway.workers.serving("m", None)
    assert serving is not None
    assert serving.choice.name == "round_robin"


async def test_a_policy_that_names_a_missing_member_leaves_the_last_one_in_force(gateway: Gateway) -> None:
    await save_policy(gateway, 1, "round_robin")
    await gateway.changes.ask()
    await save_policy(gateway, 2, "installed_elsewhere")
    await gateway.changes.ask()
    assert gateway.metrics.policy_version == 1


async def test_an_edited_model_has_its_new_price_and_aliases_after_the_next_question(gateway: Gateway) -> None:
    await gateway.store.catalog.save_model(ModelRecord("m", Price(7), ("short",)))
    await gateway.changes.ask()
    assert gateway.deps.catalogue.price("m") == Price(7)
    assert gateway.deps.catalogue.resolve("short") == "m"
    await gateway.store.catalog.remove_model("m")
    await gateway.changes.ask()
    assert gateway.deps.catalogue.price("m") == Price()


async def test_a_worker_that_another_gateway_saved_or_removed_is_followed(gateway: Gateway) -> None:
    await gateway.store.workers.save(upstream("ups_a"))
    await gateway.changes.ask()
    assert [member.id for member in gateway.workers.members()] == ["ups_a"]
    await gateway.store.workers.remove("ups_a")
    await gateway.changes.ask()
    assert gateway.workers.members() == []


async def test_upstreams_of_the_settings_stay_when_the_store_names_other_workers(settings: Settings) -> None:
    own = settings.model_copy(update={"upstreams": ()})
    gateway = await open_gateway(Settings(**(own.model_dump() | {"upstreams": ("m=http://127.0.0.1:1",)})), migrate=True)
    try:
        (configured,) = gateway.workers.members()
        await gateway.store.workers.save(upstream("ups_a"))
        await gateway.changes.ask()
        assert {member.id for member in gateway.workers.members()} == {configured.id, "ups_a"}
    finally:
        await gateway.close()


@pytest.mark.parametrize("edited", ["key", "organisation", "plan"])
async def test_a_key_that_was_seen_is_asked_for_again_when_a_part_of_it_was_edited(gateway: Gateway, edited: str) -> None:
    assert gateway.first is not None
    header = f"Bearer {gateway.first.api_key}".encode()
    asked = gateway.keys.find(header, "127.0.0.1")
    assert not isinstance(asked, Principal)
    await asked.resolve()
    assert isinstance(gateway.keys.find(header, "127.0.0.1"), Principal)
    await edit(gateway, edited)
    await gateway.changes.ask()
    assert not isinstance(gateway.keys.find(header, "127.0.0.1"), Principal)


async def edit(gateway: Gateway, kind: str) -> None:
    accounts = gateway.store.accounts
    (key,) = await accounts.keys()
    if kind == "key":
        await accounts.revoke_key(key.id, 1.0)
    elif kind == "organisation":
        (organisation,) = await accounts.organisations()
        await accounts.update_organisation(replace(organisation, name="renamed"))
    else:
        (plan,) = [plan for plan in await accounts.plans() if plan.name == "enterprise"]
        await accounts.save_plan(replace(plan, concurrency=7))


async def test_the_first_start_tells_its_secrets_and_a_later_one_does_not(settings: Settings) -> None:
    first = await open_gateway(settings, migrate=True)
    facts = first.facts()
    await first.close()
    later = await open_gateway(settings, migrate=False)
    assert set(facts) - set(later.facts()) == {"api_key", "join_token", "admin_email", "admin_password"}
    assert later.facts()["base_url"] == f"http://127.0.0.1:{later.port}/v1"
    digest = keys.digest(later.secret_key, facts["api_key"])
    assert await later.store.accounts.key_by_digest(digest) is not None
    await later.close()


async def test_a_port_in_use_is_refused_before_the_store_is_made(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings.model_copy(update={"port": other.getsockname()[1]})
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1 port {taken.port}"):
            await open_gateway(taken, migrate=True)
    assert not settings.data_dir.exists()


async def test_a_schema_that_is_missing_leaves_the_port_and_the_store_free(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fixed = settings.model_copy(update={"port": port})
    with pytest.raises(SchemaOutdated):
        await open_gateway(fixed, migrate=False)
    await is_free(fixed)


async def test_a_start_that_fails_late_leaves_the_port_and_the_store_free(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fixed = settings.model_copy(update={"port": port})
    settings.data_dir.mkdir()
    (settings.data_dir / "journal").write_text("in the way")
    with pytest.raises(OSError, match="journal"):
        await open_gateway(fixed, migrate=True)
    await is_free(fixed)


async def is_free(settings: Settings) -> None:
    socket.create_server(("127.0.0.1", settings.port)).close()
    await (await open_store(settings.store_url, migrate=True)).close()
