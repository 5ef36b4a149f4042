"""Choices, stops, seeds, limits, log probabilities."""

import math

import pytest

from tests.contract.compute.engines.features import TOKEN_IDS
from tests.contract.compute.engines.subjects import Subject, lacks, text_of


@pytest.mark.feature("n")
async def test_n_gives_as_many_answers_and_counts_them_all(served: Subject) -> None:
    answer = await served.chat(n=3, max_tokens=8)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 24


@pytest.mark.feature("n")
async def test_n_in_a_stream_names_the_choice_in_each_chunk(served: Subject) -> None:
    unary = await served.chat(n=2, max_tokens=4)
    stream = await served.stream(n=2, max_tokens=4)
    assert [text_of(stream, at) for at in (0, 1)] == [choice["message"]["content"] for choice in unary["choices"]]
    ends = [choice for chunk in stream for choice in chunk["choices"] if choice["finish_reason"]]
    assert sorted((end["index"], end["finish_reason"]) for end in ends) == [(0, "length"), (1, "length")]


@pytest.mark.feature("stop")
@pytest.mark.parametrize("listed", [False, True])
async def test_stop_ends_before_the_text_in_both_forms(served: Subject, listed: bool) -> None:
    whole = (await served.chat())["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2 : len(whole) // 2 + 5]
    asked = [stop, "never said"] if listed else stop
    cut = await served.chat(stop=asked)
    assert cut["choices"][0]["message"]["content"] == whole[: whole.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert text_of(await served.stream(stop=asked)) == whole[: whole.index(stop)]


@pytest.mark.feature("max_tokens")
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_max_tokens_is_obeyed_and_reported_as_length(served: Subject, name: str) -> None:
    answer = await served.chat(**{name: 2})
    assert answer["usage"]["completion_tokens"] == 2
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.feature("max_tokens")
async def test_without_a_limit_an_answer_ends_by_itself(served: Subject) -> None:
    assert (await served.chat())["choices"][0]["finish_reason"] == "stop"


@pytest.mark.feature("ignore_eos")
async def test_an_answer_goes_on_to_its_limit_when_asked(served: Subject) -> None:
    answer = await served.chat(max_tokens=100, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 100
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.feature("seed")
async def test_same_seed_gives_the_same_text_and_another_does_not(served: Subject) -> None:
    texts = [(await served.chat(seed=seed))["choices"][0]["message"]["content"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.feature("logit_bias")
async def test_bias_leaves_only_the_tokens_it_favours(served: Subject) -> None:
    answer = await served.chat(logit_bias={"0": 100}, max_tokens=3)
    assert len(set(answer["choices"][0]["message"]["content"].split())) == 1


@pytest.mark.feature("logprobs", needs="logprobs")
async def test_chat_returns_log_probabilities_when_asked(served: Subject) -> None:
    choice = (await served.chat(max_tokens=3, logprobs=True, top_logprobs=2))["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in content) == choice["message"]["content"]
    for one in content:
        assert bytes(one["bytes"]).decode() == one["token"]
        assert len(one["top_logprobs"]) == 2
        assert one["top_logprobs"][0]["logprob"] >= one["top_logprobs"][1]["logprob"]
        assert math.exp(one["logprob"]) <= 1


@pytest.mark.feature("logprobs", needs="logprobs")
async def test_log_probabilities_in_a_stream_and_none_unasked(served: Subject) -> None:
    unary = await served.chat(max_tokens=3, logprobs=True)
    stream = await served.stream(max_tokens=3, logprobs=True)
    streamed = [one for chunk in stream for choice in chunk["choices"] if choice["logprobs"] for one in choice["logprobs"]["content"]]
    assert streamed == unary["choices"][0]["logprobs"]["content"]
    assert (await served.chat(max_tokens=3))["choices"][0]["logprobs"] is None


@pytest.mark.feature("legacy completions", needs="completions", uses=["log probabilities of the prompt"])
async def test_completion_returns_log_probabilities_and_echo(served: Subject) -> None:
    asked = {"prompt": "One two", "max_tokens": 2, "echo": True, "logprobs": 1}
    choice = (await served.post("/v1/completions", **asked)).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"].startswith("One two")
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert [choice["text"][at:].startswith(token) for at, token in zip(logprobs["text_offset"], logprobs["tokens"], strict=True)] == [
        True
    ] * len(logprobs["tokens"])
    assert len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == len(logprobs["tokens"])


@pytest.mark.feature("legacy completions", needs="completions")
@pytest.mark.parametrize(
    ("prompt", "answers"),
    [("One", 1), (["One", "Two"], 2), pytest.param([1, 2, 3], 1, marks=TOKEN_IDS), pytest.param([[1, 2], [3]], 2, marks=TOKEN_IDS)],
)
async def test_completion_prompt_of_every_form_is_answered(served: Subject, engine: str, prompt: object, answers: int) -> None:
    choices = 1 if lacks(engine, "n") else 2
    on = {} if lacks(engine, "ignore_eos") else {"ignore_eos": True}  # what a real model would say to this may be nothing
    body = (await served.post("/v1/completions", prompt=prompt, max_tokens=2, n=choices, **on)).json()
    assert [choice["index"] for choice in body["choices"]] == list(range(answers * choices))
    assert body["usage"]["completion_tokens"] == answers * choices * 2
