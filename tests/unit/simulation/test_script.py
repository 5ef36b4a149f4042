"""What the simulated model says."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Conversation, GenerationRequest, Message, Token, Tool, ToolCallArguments
from penstock.simulation import tokens
from penstock.simulation.script import LONGEST_ANSWER, SHORTEST_ANSWER, Script, write


def asked(text: str = "Hello", **fields: Any) -> GenerationRequest:
    prompt = Conversation((Message("user", text),))
    return GenerationRequest(**{"operation": Operation.CHAT, "model": "m", "prompts": (prompt,), **fields})


def said(script: Script) -> str:
    return "".join(step.text for step in script.steps if isinstance(step, Token))


def shown(script: Script) -> Sequence[str | None]:
    return [step.text if isinstance(step, Token) else None for step in script.steps]


def test_an_answer_is_made_of_its_own_tokens() -> None:
    for seed in range(50):
        [script] = write(asked(seed=seed), room=1000)
        assert tokens.split(said(script)) == shown(script)
        assert SHORTEST_ANSWER <= len(script.steps) <= LONGEST_ANSWER
        assert script.end.reason == "stop"


def test_the_model_the_seed_and_the_prompt_decide_and_nothing_else() -> None:
    [first] = write(asked(), room=1000)
    assert [first] == write(asked(temperature=1.5, top_p=0.1), room=1000)
    for other in (asked("Hallo"), asked(seed=1), asked(model="other")):
        assert write(other, room=1000) != [first]


def test_a_shorter_limit_says_the_beginning() -> None:
    [whole] = write(asked(), room=1000)
    [cut] = write(asked(max_tokens=5), room=1000)
    assert (shown(cut), cut.end.reason) == (shown(whole)[:5], "length")
    assert len(write(asked(), room=3)[0].steps) == 3


def test_ignoring_the_end_goes_on_to_the_limit() -> None:
    [script] = write(asked(max_tokens=500, ignore_eos=True), room=1000)
    assert (len(script.steps), script.end.reason) == (500, "length")


def test_a_stop_text_across_tokens_counts_the_tokens_that_it_swallowed() -> None:
    [whole] = write(asked(), room=1000)
    pieces = [piece or "" for piece in shown(whole)]
    stop = pieces[3][-1] + pieces[4][:2]
    [cut] = write(asked(stop=(stop, "zzz")), room=1000)
    assert shown(cut) == [*pieces[:3], pieces[3][:-1], None]
    assert cut.end.reason == "stop"


def test_the_stop_text_that_is_complete_first_counts() -> None:
    [whole] = write(asked(), room=1000)
    text = said(whole)
    [cut] = write(asked(stop=(text[10:30], text[12:15])), room=1000)
    assert said(cut) == text[: text.index(text[12:15])]


def test_a_forbidden_word_is_not_said() -> None:
    [script] = write(asked(logit_bias={0: -100, 1: -100}, max_tokens=2000, ignore_eos=True), room=5000)
    assert not {"water", "gate"} & set(said(script).split())
    [every] = write(asked(logit_bias=dict.fromkeys(range(len(tokens.VOCABULARY)), -100.0)), room=5000)
    assert said(every)


@pytest.mark.parametrize("top", [0, 1, 20])
def test_as_many_alternatives_as_were_asked_for(top: int) -> None:
    [script] = write(asked(top_logprobs=top), room=1000)
    for step in script.steps:
        assert isinstance(step, Token)
        assert step.logprob is not None
        assert len(step.logprob.top) == top
        assert len({token for token, _ in step.logprob.top}) == top
        assert list(step.logprob.top) == sorted(step.logprob.top, key=lambda one: -one[1])


def test_an_echo_of_token_ids_says_their_words() -> None:
    request = GenerationRequest(operation=Operation.COMPLETION, model="m", prompts=((0, 1),), echo=True, max_tokens=1)
    [script] = write(request, room=10)
    assert [step.text for step in script.echo if isinstance(step, Token)] == ["water", " gate"]
    assert said(script).startswith(" ")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"type": "object", "properties": {}}, {"type": "object", "properties": {}, "required": [], "additionalProperties": True}],
)
def test_tool_without_parameters_is_called_without_arguments(parameters: dict[str, Any]) -> None:
    [script] = write(asked(tools=(Tool("now", parameters),)), room=1000)
    assert "".join(step.text for step in script.steps if isinstance(step, ToolCallArguments)) == "{}"


@pytest.mark.parametrize("parameters", [{"minProperties": 1}, {"required": ["city"]}, {"properties": {"city": {"type": "string"}}}])
def test_tool_that_needs_arguments_gets_them(parameters: dict[str, Any]) -> None:
    [script] = write(asked(tools=(Tool("weather", {"type": "object", **parameters}),)), room=1000)
    assert len(json.loads("".join(step.text for step in script.steps if isinstance(step, ToolCallArguments)))) == 1
