"""What this field's issue trackers are full of: each of these has a test that carries the issue's name."""

import re

import pytest

from tests.support.sources import ROOT, text

ISSUES = (
    "gpustack_6231",
    "gpustack_5935",
    "xorbits_2402",
    "production_stack_420",
    "production_stack_619",
    "production_stack_749",
    "production_stack_382",
    "ray_18925",
    "kubeai_67",
    "dynamo_13559",
    "dynamo_7836",
    "sglang_14305",
    "litellm_3341",
    "litellm_14457",
    "litellm_27736",
    "portkey_1797",
)
_TESTS = "\n".join(text(path) for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("issue", ISSUES)
def test_it_has_a_test(issue: str) -> None:
    assert re.search(rf"^(async )?def test_{issue}_\w+\(", _TESTS, re.MULTILINE)
