"""On whose behalf a task runs: looked up, believed for one second, and looked up again."""

from dataclasses import dataclass, field

from penstock.accounts.bootstrap import PLANS
from penstock.domain.clock import ManualClock
from penstock.domain.principal import KeyActor, KeyRecord, Organisation, OrganisationActor, Plan, Principal, Scope, UserActor
from penstock.durable.tasks.submitters import SubmitterRevoked, Submitters

SCOPES = frozenset({Scope.TASKS_WRITE})


@dataclass
class Accounts:
    """Every organisation exists, and every key but those that a test removes; it counts how often it is asked."""

    removed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def organisation(self, org_id: str) -> Organisation | None:
        self.asked.append(org_id)
        return Organisation(org_id, org_id, PLANS[0].name, 1.0)

    async def plans(self) -> list[Plan]:
        return list(PLANS)

    async def key(self, key_id: str) -> KeyRecord | None:
        return None if key_id in self.removed else KeyRecord(key_id, "org_1", "name", b"", "", SCOPES, 1.0)


def made() -> tuple[Accounts, ManualClock, Submitters]:
    accounts, clock = Accounts(), ManualClock()
    return accounts, clock, Submitters(accounts, clock)


async def test_key_user_and_organisation_act_as_themselves() -> None:
    _, _, known = made()
    inference = frozenset({Scope.INFERENCE})
    assert await known.principal("org_1", "key_1") == Principal("org_1", KeyActor("key_1"), PLANS[0], SCOPES)
    assert await known.principal("org_1", "usr_1") == Principal("org_1", UserActor("usr_1"), PLANS[0], inference)
    assert await known.principal("org_2", "") == Principal("org_2", OrganisationActor("org_2"), PLANS[0], inference)


async def test_submitter_is_looked_up_again_only_after_one_second() -> None:
    accounts, clock, known = made()
    first = await known.principal("org_1", "key_1")
    clock.advance(0.99)
    assert await known.principal("org_1", "key_1") is first
    assert accounts.asked == ["org_1"]
    clock.advance(0.01)
    assert await known.principal("org_1", "key_1") is first, "unchanged: the same object, so that its limits are found faster"
    assert accounts.asked == ["org_1", "org_1"]
    clock.advance(0.99)
    await known.principal("org_1", "key_1")
    assert accounts.asked == ["org_1", "org_1"], "believed for another second from the second look-up on"


async def test_revoked_key_stops_its_tasks_within_one_second() -> None:
    accounts, clock, known = made()
    assert isinstance(await known.principal("org_1", "key_1"), Principal)
    accounts.removed.add("key_1")
    clock.advance(1.0)
    found = await known.principal("org_1", "key_1")
    assert found == SubmitterRevoked("key_revoked", "The API key that submitted this task has been revoked.")


async def test_the_same_key_under_another_organisation_is_another_submitter() -> None:
    accounts, _, known = made()
    assert isinstance(await known.principal("org_1", "key_1"), Principal)
    assert await known.principal("org_2", "key_1") == SubmitterRevoked(
        "key_revoked", "The API key that submitted this task has been revoked."
    )
    assert accounts.asked == ["org_1", "org_2"]


async def test_no_more_than_10000_submitters_are_remembered() -> None:
    accounts, _, known = made()
    for number in range(10_000):
        await known.principal("org_1", f"key_{number}")
    await known.principal("org_1", "key_0")
    assert len(accounts.asked) == 10_000, "all of them are remembered"
    await known.principal("org_1", "key_new")
    await known.principal("org_1", "key_0")
    assert len(accounts.asked) == 10_002, "the one too many made room by forgetting the others"
