"""Upstreams from the settings, and those that are discovered on this machine."""

import pytest
from pydantic import SecretStr

from penstock.app.gateway import upstreams
from penstock.app.gateway.upstreams import Discovery, configured
from penstock.app.settings import UpstreamSettings
from penstock.compute.engines import Probe, ProbeFailed
from penstock.domain.principal import Pool
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord
from tests.unit.app.worker_records import offers

URL = "http://127.0.0.1:8001"


def test_a_configured_upstream_becomes_a_record_with_all_that_the_settings_say() -> None:
    named = UpstreamSettings(model="gpt", url=URL, secret=SecretStr("hush"), slots=9, pool=Pool.PRIORITY)
    (record,) = configured([named])
    assert record == WorkerRecord(
        id=record.id, name="gpt", kind=WorkerKind.UPSTREAM, engine="openai", base_url=URL, models=(ModelOffer("gpt"),), slots=9,
        pool="priority", secret="hush",
    )  # fmt: skip


def test_an_upstream_without_a_model_offers_what_it_lists_and_is_named_after_its_address() -> None:
    (record,) = configured([UpstreamSettings(url=URL)])
    assert (record.name, record.models, record.pool, record.secret) == (URL, (), None, "")


def test_ids_stay_the_same_over_restarts_and_differ_between_upstreams() -> None:
    settings = [UpstreamSettings(model="a", url=URL), UpstreamSettings(model="b", url=URL), UpstreamSettings(model="a", url=f"{URL}0")]
    first, second = configured(settings), configured(settings)
    assert [record.id for record in first] == [record.id for record in second]
    assert len({record.id for record in first}) == 3
    assert all(record.id.startswith("ups_") for record in first)


class Machine:
    """What answers on which port of this machine."""

    def __init__(self, **models: tuple[ModelOffer, ...]) -> None:
        self.models = {int(port.removeprefix("port_")): found for port, found in models.items()}
        self.asked: list[str] = []

    async def probe(self, url: str, secret: str, timeout: float) -> Probe:
        self.asked.append(url)
        models = self.models.get(int(url.rpartition(":")[2]))
        if models is None:
            raise ProbeFailed("nothing there")
        return Probe(models, "ollama", None, frozenset())


async def look(machine: Machine, monkeypatch: pytest.MonkeyPatch, ports: tuple[int, ...], times: int = 1) -> list[WorkerRecord]:
    found: list[WorkerRecord] = []
    monkeypatch.setattr(upstreams, "probe", machine.probe)
    discovery = Discovery(ports, found.append)
    for _ in range(times):
        await discovery.look()
    return found


async def test_a_server_that_lists_models_is_added_with_whatever_it_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = await look(Machine(port_1=offers("a", "b")), monkeypatch, (1, 2))
    assert (record.name, record.kind, record.engine, record.base_url) == ("ollama-1", WorkerKind.UPSTREAM, "ollama", "http://127.0.0.1:1")
    assert (record.models, record.secret) == ((), "")


async def test_a_server_without_models_is_not_added_until_it_lists_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(port_1=())
    assert await look(machine, monkeypatch, (1,), times=2) == []
    machine.models[1] = offers("a")
    assert len(await look(machine, monkeypatch, (1,))) == 1


async def test_a_server_is_added_once_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(port_1=offers("a"))
    assert len(await look(machine, monkeypatch, (1,), times=3)) == 1
    assert machine.asked == ["http://127.0.0.1:1"]


async def test_the_id_of_a_found_server_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(port_1=offers("a"), port_2=offers("a"))
    first = await look(machine, monkeypatch, (1, 2))
    second = await look(machine, monkeypatch, (1, 2))
    assert [record.id for record in first] == [record.id for record in second]
    assert len({record.id for record in first}) == 2


async def test_only_the_given_ports_of_this_machine_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    await look(machine, monkeypatch, (7, 8))
    assert sorted(machine.asked) == ["http://127.0.0.1:7", "http://127.0.0.1:8"]


async def test_without_ports_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    await look(machine, monkeypatch, ())
    assert machine.asked == []
