"""What the command line makes of its words."""

import pytest

from bench.__main__ import command_line, contenders, make_parser


def line(*words: str) -> str:
    parser = make_parser()
    return command_line(parser, vars(parser.parse_args(words)))


def test_the_command_that_is_quoted_measures_the_same_and_names_no_place() -> None:
    assert line() == "python -m bench race"
    assert (
        line("memory", "--requests", "1000000", "--write", "page.md", "--cache", "somewhere", "--json")
        == "python -m bench memory --requests 1000000"
    )


def test_heavy_contenders_take_part_on_request() -> None:
    assert contenders("", "") == ("nginx", "penstock", "vllm-router", "sglang-router")
    assert contenders("", "litellm")[-1] == "litellm"
    assert contenders("penstock,nginx", "") == ("nginx", "penstock")


def test_unknown_contenders_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown contender: apache"):
        contenders("nginx,apache", "")
