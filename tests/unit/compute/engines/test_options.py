"""Engine options from a command line."""

from collections.abc import Mapping

import pytest

from penstock.compute.engines import BadOption
from penstock.compute.engines.openai import OpenAiEngine
from penstock.compute.engines.sim import SimEngine


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sped": "2"}, "no option 'sped'; it has: .*speed"),
        ({"speed": "fast"}, "speed must be a positive number, not 'fast'"),
        ({"speed": "0"}, "positive"),
        ({"speed": "nan"}, "positive"),
        ({"slots": "1.5"}, "slots must be a whole number"),
        ({"slots": "inf"}, "slots must be a whole number"),
    ],
)
def test_a_wrong_option_is_explained(options: Mapping[str, str], said: str) -> None:
    with pytest.raises(BadOption, match=said):
        SimEngine(options)


def test_openai_needs_an_address() -> None:
    with pytest.raises(BadOption, match="base_url"):
        OpenAiEngine({})


async def test_models_by_name_and_their_context() -> None:
    engine = SimEngine({"models": "sim-large, my-model", "context_length": "4096", "kv_tokens": "100", "slots": "7"})
    await engine.open()
    offers = await engine.models()
    await engine.close()
    assert [(offer.id, offer.context_length) for offer in offers] == [("sim-large", 4096), ("my-model", 4096)]
    assert engine.slots == 7
