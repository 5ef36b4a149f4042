"""Decisions: kept as they were, each once, by organisation, and forgotten in time."""

from msgspec.structs import replace

from penstock.domain.decisions import Advice, CandidateView, Explanation, FailedTry, LimitStanding, ShadowChoice, Step
from penstock.domain.ports import Store

FULL = Explanation(
    id="req_1",
    org_id="org_a",
    key_id="key_1",
    plan="free",
    service_class="free",
    model="m",
    asked_tier="priority",
    pools=("priority", "standard"),
    pool="standard",
    tier="default",
    policy="power_of_two",
    worker_id="wrk_2",
    outcome="answered",
    status=200,
    code="",
    message="",
    started_at=100.0,
    seconds=1.5,
    queue_seconds=0.5,
    waiting=3,
    ttft_seconds=0.75,
    timeout_seconds=None,
    prompt_tokens=10,
    max_tokens=20,
    completion_tokens=5,
    limits=(LimitStanding("requests", 60, 59, 1.0),),
    candidates=(CandidateView("wrk_2", 1, 4, 30, 0, 30.0, chosen=True, usable=True),),
    available=2,
    shadow=ShadowChoice("round_robin", "wrk_1", agreed=False),
    tries=(FailedTry("wrk_1", "refused", 0.6, busy=False),),
    timeline=(Step(0.0, "came in"),),
    advice=(Advice("workers", "more of them"),),
)


async def test_what_is_kept_comes_back_as_it_was(store: Store) -> None:
    other = replace(FULL, id="req_2", org_id="org_b", started_at=200.0)
    await store.decisions.save([FULL, other])
    await store.decisions.save([])
    assert await store.decisions.get("req_1") == FULL
    assert await store.decisions.get("req_9") is None
    assert await store.decisions.latest(None, 10) == [other, FULL]
    assert await store.decisions.latest("org_a", 10) == [FULL]
    assert await store.decisions.latest(None, 1) == [other]


async def test_the_first_version_stays(store: Store) -> None:
    await store.decisions.save([FULL])
    await store.decisions.save([replace(FULL, model="another"), replace(FULL, id="req_3")])
    assert await store.decisions.get("req_1") == FULL
    assert await store.decisions.get("req_3") is not None


async def test_old_ones_are_forgotten(store: Store) -> None:
    await store.decisions.save([FULL, replace(FULL, id="req_2", started_at=200.0)])
    assert await store.decisions.forget(150.0) == 1
    assert await store.decisions.forget(150.0) == 0
    assert [each.id for each in await store.decisions.latest(None, 10)] == ["req_2"]
