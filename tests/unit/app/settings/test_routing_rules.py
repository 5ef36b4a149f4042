"""How workers are chosen, from the settings to the names that routing is given."""

from pathlib import Path

import pytest

from penstock.app.gateway.rules import policy_names, routing_rules
from penstock.app.settings import SettingsError, load
from penstock.serving.routing.choice import PolicyNames


def test_each_model_may_have_a_policy_and_a_shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text('[routing]\npolicy = "least_outstanding_tokens"\n[routing.policies]\n"org/model:70b" = "prefix_affinity"\n')
    monkeypatch.setenv("PENSTOCK_ROUTING__SHADOW_POLICIES", '{"org/model:70b": "round_robin"}')
    names = policy_names(load({}, file))
    assert names == PolicyNames("least_outstanding_tokens", None, {"org/model:70b": "prefix_affinity"}, {"org/model:70b": "round_robin"})


@pytest.mark.parametrize("flags", [{"policy": "fastest"}, {"shadow_policy": "fastest"}, {"policies": {"m": "fastest"}}])
def test_an_unknown_policy_is_refused_before_anything_starts(tmp_path: Path, flags: dict[str, object]) -> None:
    settings = load({"routing": flags, "data_dir": tmp_path})
    with pytest.raises(SettingsError, match=r"routing: there is no 'fastest' in policies; there are: least_outstanding_tokens, "):
        policy_names(settings)


def test_limits_and_slow_start_can_be_switched_off(tmp_path: Path) -> None:
    rules = routing_rules(load({"routing": {"adaptive_limits": False, "slow_start_seconds": 0}, "data_dir": tmp_path}))
    assert (rules.limits, rules.slow_start_seconds) == (None, 0)
