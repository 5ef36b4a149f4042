"""What only Ollama's native API has: fetching, durations, its own errors, what it has no word for."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.compute.engines import BadOption, ProbeFailed
from penstock.compute.engines.ollama import OllamaEngine
from tests.contract.compute.engines.ollama_server import OllamaServer
from tests.contract.compute.engines.subjects import FAST, Subject, serving

HELLO = [{"role": "user", "content": "Hello"}]


@contextlib.asynccontextmanager
async def ollama(directory: Path, server: OllamaServer, **options: str) -> AsyncIterator[Subject]:
    async with (
        server.serving() as base_url,
        serving(directory, "ollama", {"base_url": base_url, **options}) as worker,
    ):
        assert worker.engine is not None
        offer = (await worker.engine.models())[0]
        headers = {"authorization": f"Bearer {worker.secret}", "content-type": "application/json"}
        async with httpx.AsyncClient(base_url=worker.base_url, headers=headers, timeout=10, trust_env=False) as http:
            yield Subject(http, offer.id, offer, (worker,))


async def test_capabilities_of_a_model_are_asked_from_ollama(tmp_path: Path) -> None:
    async with ollama(tmp_path, OllamaServer(FAST)) as served:
        assert served.offer.id == "sim-small:latest"
        assert served.offer.context_length == 32_768
        assert set(served.offer.capabilities) == {"chat", "completions", "json_schema", "tools", "embeddings", "logprobs"}


async def test_a_missing_model_is_fetched_and_known_by_the_name_that_was_asked_for(tmp_path: Path) -> None:
    server = OllamaServer(FAST, models=())
    async with ollama(tmp_path, server, model="sim-small", keep_alive="10m", num_ctx="2048") as served:
        assert server.models == ["sim-small:latest"]
        assert (served.offer.id, served.offer.context_length) == ("sim-small", 2048)
        assert (await served.chat())["model"] == "sim-small"
    [(path, body)] = server.asked
    assert (path, body["model"], body["keep_alive"], body["options"]["num_ctx"]) == ("/api/chat", "sim-small:latest", "10m", 2048)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"model": "sim-small", "pull": "no"}, "fetch it: ollama pull sim-small"),
        ({"model": "missing"}, "cannot fetch the model 'missing:latest': pull model manifest"),
    ],
)
async def test_model_that_cannot_be_pulled_is_reported_at_the_start(tmp_path: Path, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ProbeFailed, match=complaint):
        async with ollama(tmp_path, OllamaServer(FAST, models=()), **options):
            pass


async def test_missing_ollama_server_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="there is no Ollama at"):
        async with serving(tmp_path, "ollama", {"base_url": "http://127.0.0.1:9"}):
            pass


@pytest.mark.parametrize(("options", "complaint"), [({"pull": "perhaps"}, "yes, no"), ({"nonsense": "1"}, "no option 'nonsense'")])
def test_wrong_options_are_explained(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadOption, match=complaint):
        OllamaEngine(options)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "time"}}], "tool_choice": "required"}, "tool_choice"),
        ({"ignore_eos": True}, "ignore_eos"),
    ],
)
async def test_parameter_that_ollama_lacks_is_refused(tmp_path: Path, body: dict[str, Any], param: str) -> None:
    server = OllamaServer(FAST)
    async with ollama(tmp_path, server) as served:
        status, error = await served.error("/v1/chat/completions", messages=HELLO, **body)
    assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", param)
    assert server.asked == []


async def test_an_old_server_has_no_log_probabilities(tmp_path: Path) -> None:
    async with ollama(tmp_path, OllamaServer(FAST, version="0.12.3")) as served:
        status, error = await served.error("/v1/chat/completions", messages=HELLO, logprobs=True)
        assert (status, error["param"]) == (400, "logprobs")
        assert "logprobs" not in served.offer.capabilities


async def test_every_sampling_field_reaches_ollama_under_its_name(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    sampling = {"seed": 7, "temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.2}
    async with ollama(tmp_path, server) as served:
        await served.chat(**sampling, stop="never", max_completion_tokens=3)
    [(_, body)] = server.asked
    assert body["options"] == {**sampling, "stop": ["never"], "num_predict": 3}
    assert (body["truncate"], body["shift"], body["stream"]) == (False, False, True)


async def test_a_conversation_with_tools_keeps_its_names(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    call = {"id": "call_9", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bath"}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_9", "content": "Rain."},
    ]
    async with ollama(tmp_path, server) as served:
        await served.chat(messages=messages)
    [(_, body)] = server.asked
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bath"}}}]},
        {"role": "tool", "content": "Rain.", "tool_name": "weather"},
    ]


async def test_a_legacy_completion_goes_on_where_the_text_ends(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    async with ollama(tmp_path, server) as served:
        answer = (await served.post("/v1/completions", prompt=["One", "Two"], max_tokens=2, echo=True)).json()
        tokens = await served.error("/v1/completions", prompt=[1, 2, 3])
    assert [choice["text"][:3] for choice in answer["choices"]] == ["One", "Two"]
    assert answer["usage"]["completion_tokens"] == 4
    assert [(path, body["prompt"], body["raw"]) for path, body in server.asked] == [
        ("/api/generate", "One", True),
        ("/api/generate", "Two", True),
    ]
    assert (tokens[0], tokens[1]["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        ([b'{"error": "llama runner process has terminated"}\n'], 502, "upstream_error"),
        ([b'{"error": "the input length exceeds the context length"}\n'], 400, "context_length_exceeded"),
        ([b'{"message": {"role": "assistant", "content": "cut"}, "done": false}\n'], 502, "upstream_error"),
        ([b"<html>busy</html>\n"], 502, "upstream_error"),
        ([b'{"message": 7}\n'], 502, "upstream_error"),
        ([b"x" * (1 << 20), b"y"], 502, "upstream_error"),
        ([], 502, "upstream_error"),
    ],
)
async def test_cut_or_malformed_ollama_answer_is_a_typed_error(tmp_path: Path, lines: list[bytes], status: int, code: str) -> None:
    server = OllamaServer(FAST)
    async with ollama(tmp_path, server) as served:
        server.next_lines = lines
        assert (await served.error("/v1/chat/completions", messages=HELLO))[0] == status
        server.next_lines = lines
        response = await served.post("/v1/chat/completions", messages=HELLO, stream=True)
        assert code in response.text
        assert "[DONE]" not in response.text
        assert (await served.chat(max_tokens=1))["usage"]["completion_tokens"] == 1


async def test_counts_that_ollama_does_not_report_are_left_to_the_gateway(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    said = b'{"message": {"role": "assistant", "content": "one"}, "done": false}\n'
    async with ollama(tmp_path, server) as served:
        server.next_lines = [said, said, b'{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}\n']
        answer = await served.chat()
    assert answer["choices"][0]["message"]["content"] == "oneone"
    assert "usage" not in answer


@pytest.mark.parametrize(
    ("effort", "think"), [(None, False), ("none", False), ("low", "low"), ("high", "high"), ("minimal", True)], ids=str
)
async def test_model_thinks_as_much_as_the_request_says(tmp_path: Path, effort: str | None, think: bool | str) -> None:
    server = OllamaServer(FAST)
    server.thinks = True
    fields = {} if effort is None else {"reasoning_effort": effort}
    async with ollama(tmp_path, server) as served:
        await served.chat(max_tokens=1, **fields)
    assert server.asked[0][1]["think"] == think


async def test_thoughts_of_a_model_are_its_reasoning(tmp_path: Path) -> None:
    server = OllamaServer(FAST)
    lines = [
        b'{"message": {"role": "assistant", "content": "", "thinking": "Let "}, "done": false}\n',
        b'{"message": {"role": "assistant", "content": "", "thinking": "me see"}, "done": false}\n',
        b'{"message": {"role": "assistant", "content": "4"}, "done": false}\n',
        b'{"done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}\n',
    ]
    async with ollama(tmp_path, server) as served:
        server.next_lines = lines
        answer = await served.chat()
        server.next_lines = lines
        streamed = (await served.post("/v1/chat/completions", messages=HELLO, stream=True)).text
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("4", "Let me see")
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    assert streamed.count('"reasoning_content"') == 2


async def test_the_time_to_the_first_token_is_the_servers_own(tmp_path: Path) -> None:
    async with ollama(tmp_path, OllamaServer(FAST)) as served:
        engine = served.workers[0].engine
        assert engine is not None
        assert engine.load().ttft_seconds is None
        await served.chat()
        assert engine.load().ttft_seconds == pytest.approx(0.0025)
        assert engine.load().running == 0
