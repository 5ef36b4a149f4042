"""Counts are exact: what usage says is what was sent, whatever was asked."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.compute.engines.subjects import Subject, lacks, text_of

ASKED = st.fixed_dictionaries(
    {"content": st.text(max_size=60)},
    optional={
        "max_tokens": st.integers(1, 80),
        "n": st.integers(1, 3),
        "seed": st.integers(-(2**31), 2**31),
        "temperature": st.floats(0, 2),
        "stop": st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4),
    },
)


@pytest.mark.feature("exact usage")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(asked=st.lists(ASKED, min_size=1, max_size=4))
async def test_unary_equals_stream_and_usage_equals_tokens(served: Subject, engine: str, asked: list[dict[str, Any]]) -> None:
    for each in asked:
        body = {name: value for name, value in each.items() if not lacks(engine, name)}
        unary = await served.chat(**body)
        stream = await served.stream(**body, stream_options={"include_usage": True})
        assert stream[-1]["usage"] == unary["usage"]
        for choice in unary["choices"]:
            assert text_of(stream, choice["index"]) == choice["message"]["content"]
            assert choice["finish_reason"] in {"stop", "length"}
        usage = unary["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        if "stop" not in body:  # a stop text may swallow tokens that were made
            tokens = sum(bool(choice["delta"].get("content")) for chunk in stream for choice in chunk["choices"])
            assert tokens == usage["completion_tokens"]
