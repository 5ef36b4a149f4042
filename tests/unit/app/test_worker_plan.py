"""From settings to what a worker is told at its start."""

from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.app.settings import Settings, WorkerSettings
from penstock.app.worker import worker_plan
from penstock.compute.worker import WorkerPlan


def settings(tmp_path: Path, **worker: Any) -> Settings:
    return Settings(data_dir=tmp_path, profile=tmp_path / "none", worker=WorkerSettings(**worker))


def test_every_worker_setting_reaches_the_plan(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "join": "http://127.0.0.1:8000",
        "token": "pjt-x",
        "name": "gpu-1",
        "engine": "openai",
        "model": "m",
        "host": "127.0.0.2",
        "port": 9000,
        "advertise": "http://gpu-1:9000",
        "slots": 3,
        "pool": "priority",
        "state_dir": tmp_path / "state",
        "upstream_url": "http://127.0.0.1:9",
        "upstream_secret": "s",
    }
    assert worker_plan(settings(tmp_path, **given), True, {"speed": "2"}) == WorkerPlan(
        state_dir=tmp_path / "state",
        engine="openai",
        engine_options={"model": "m", "base_url": "http://127.0.0.1:9", "secret": "s", "speed": "2"},
        join="http://127.0.0.1:8000",
        token="pjt-x",
        name="gpu-1",
        host="127.0.0.2",
        port=9000,
        advertise="http://gpu-1:9000",
        slots=3,
        pool="priority",
        allow_faults=True,
        version=__version__,
    )


def test_worker_without_a_name_is_named_by_machine_and_engine_and_keeps_its_state_under_that_name(tmp_path: Path) -> None:
    plan = worker_plan(settings(tmp_path, engine="sim"), False, {})
    assert plan.name.endswith("-sim")
    assert plan.state_dir == tmp_path / "workers" / plan.name
    assert (plan.token, plan.pool, plan.engine_options) == (None, None, {})


def test_engine_option_given_by_name_comes_before_the_setting(tmp_path: Path) -> None:
    plan = worker_plan(settings(tmp_path, model="from the setting"), False, {"model": "from the option"})
    assert plan.engine_options == {"model": "from the option"}
