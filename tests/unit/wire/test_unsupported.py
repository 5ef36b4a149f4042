"""Parameters that an engine does not have, or has under an older name."""

import json
from typing import Any

import pytest

from penstock.wire.chat.unsupported import needed, with_older_names

LACKING = frozenset({"n", "response_format", "presence_penalty", "max_completion_tokens"})


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"n": 1, "response_format": {"type": "text"}, "presence_penalty": 0.0}, None),
        ({"n": None, "temperature": 2}, None),
        ({"max_completion_tokens": 5}, None),
    ],
)
def test_parameter_that_asks_for_nothing_passes_and_any_other_is_refused(asked: dict[str, Any], param: str | None) -> None:
    refusal = needed(json.dumps(asked).encode(), LACKING)
    assert (None if refusal is None else refusal.param) == param


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_completion_tokens": 5, "top_p": 0.5}, {"max_tokens": 5, "top_p": 0.5}),
        ({"max_completion_tokens": 5, "max_tokens": 9}, {"max_tokens": 5}),
        ({"max_completion_tokens": None, "max_tokens": 9}, {"max_tokens": 9}),
        ({"messages": ["max_completion_tokens"]}, {"messages": ["max_completion_tokens"]}),
    ],
)
def test_newer_name_becomes_the_older(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    assert json.loads(with_older_names(json.dumps(asked).encode(), LACKING)) == sent


def test_body_for_an_engine_that_has_the_newer_name_is_left_alone() -> None:
    body = b'{"max_completion_tokens": 5}'
    assert with_older_names(body, frozenset({"n"})) is body
