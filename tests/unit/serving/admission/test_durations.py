"""Durations in rate-limit headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.admission.limits import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (-1.0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9991, "1s"),
        (1.0, "1s"),
        (1.2, "2s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3599, "59m59s"),
        (3600, "1h0m0s"),
        (90061, "25h1m1s"),
    ],
)
def test_duration_text_is_rounded_up_in_openai_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(1e-6, 1e6))
def test_duration_text_is_at_least_the_duration_and_less_than_a_second_over(seconds: float) -> None:
    text = duration(seconds)
    told = float(text[:-2]) / 1000 if text.endswith("ms") else _seconds(text)
    assert seconds - 1e-9 <= told < seconds + 1.0


def _seconds(text: str) -> float:
    total, number = 0.0, ""
    for char in text:
        if char.isdigit():
            number += char
        else:
            total += int(number) * {"h": 3600, "m": 60, "s": 1}[char]
            number = ""
    return total
