"""The engine `transformers` against the library's own `generate`, on models of a few thousand weights."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.compute.engines import BadOption, EngineUnavailable
from penstock.compute.engines.transformers import TransformersEngine
from penstock.domain.errors import BadRequest, Overloaded, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer
from tests.support.tiny.place import require, tiny_model
from tests.support.waiting import until

ASK = [{"role": "user", "content": "Tell me about water."}]


@pytest.fixture(scope="module")
def model() -> Path:
    return tiny_model()


@contextlib.asynccontextmanager
async def engine(model: Path | str, **options: str) -> AsyncIterator[TransformersEngine]:
    one = TransformersEngine({"model": str(model), "threads": "1", "device": "cpu", **options})
    await one.open()
    try:
        yield one
    finally:
        await one.close()


async def ask(one: TransformersEngine, path: Operation = Operation.CHAT, **body: Any) -> Any:
    """The JSON of a whole answer; of a stream the joined texts."""
    [offer] = await one.models()
    given = {"messages": ASK} if path is Operation.CHAT and "messages" not in body else {}
    answer: Answer = await one.answer(path, json.dumps({"model": offer.id, **given, **body}).encode())
    if isinstance(answer.body, bytes):
        return json.loads(answer.body)
    events = b"".join([chunk async for chunk in answer.body]).decode().split("\n\n")[:-2]
    choices = [choice for event in events for choice in json.loads(event.removeprefix("data: "))["choices"]]
    return "".join((choice["delta"].get("content") if "delta" in choice else choice["text"]) or "" for choice in choices)


def generated(model: Path, prompt: str | None = None, seed: int | None = None, **asked: Any) -> str:
    """What the library itself makes of the same; no `prompt`: of the conversation."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = prompt or tokenizer.apply_chat_template(ASK, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=prompt is not None)
    if seed is not None:
        torch.manual_seed(seed)
        asked = {"do_sample": True, "top_k": 0, **asked}
    else:
        asked = {"do_sample": False, **asked}
    made = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).generate(**ids, **asked)[0, ids["input_ids"].shape[1] :]
    return str(tokenizer.decode(made, skip_special_tokens=True))


async def test_greedy_text_equals_that_of_generate(model: Path) -> None:
    expected = generated(model, max_new_tokens=40)
    async with engine(model) as one:
        assert await ask(one, temperature=0, max_tokens=40, stream=True) == expected
        assert (await ask(one, temperature=0, max_tokens=40))["choices"][0]["message"]["content"] == expected


@pytest.mark.parametrize("asked", [{}, {"temperature": 1.7}, {"top_p": 0.6}, {"temperature": 0.7, "top_p": 0.9}])
async def test_sampled_text_equals_that_of_generate_with_the_same_seed(model: Path, asked: dict[str, Any]) -> None:
    async with engine(model) as one:
        for seed in (1, 2):
            assert await ask(one, seed=seed, max_tokens=40, stream=True, **asked) == generated(model, seed=seed, max_new_tokens=40, **asked)


async def test_seed_gives_the_same_text_alone_and_in_a_batch(model: Path) -> None:
    async with engine(model) as one:
        alone = [await ask(one, seed=seed, temperature=1.2) for seed in range(12)]
        together = await asyncio.gather(*(ask(one, seed=seed, temperature=1.2) for seed in range(12)))
    assert [answer["choices"] for answer in together] == [answer["choices"] for answer in alone]


async def test_without_a_seed_answers_differ(model: Path) -> None:
    async with engine(model) as one:
        assert len({(await ask(one))["choices"][0]["message"]["content"] for _ in range(4)}) > 1


async def test_a_short_answer_does_not_wait_for_the_end_of_a_long_one(model: Path) -> None:
    async with engine(model) as one:
        long = asyncio.create_task(ask(one, max_tokens=4000, ignore_eos=True))
        await until(lambda: one.load().running, 30)
        async with asyncio.timeout(30):
            await asyncio.gather(*(ask(one, max_tokens=5) for _ in range(5)))
        assert not long.done()
        assert one.load().running == 1
        long.cancel()
        await asyncio.wait([long])


async def test_a_long_prompt_is_read_in_pieces_to_the_same_end(model: Path) -> None:
    prompt = "Water river stone. " * 150
    expected = generated(model, prompt, max_new_tokens=12)
    async with engine(model) as one:
        assert await ask(one, Operation.COMPLETION, prompt=prompt, temperature=0, max_tokens=12, stream=True) == expected


async def test_when_the_cache_is_full_sequences_take_turns_and_lose_nothing(model: Path) -> None:
    asked: dict[str, Any] = {"max_tokens": 120, "ignore_eos": True}
    async with engine(model) as one:
        expected = [(await ask(one, seed=seed, **asked))["choices"] for seed in range(5)]
    async with engine(model, kv_tokens="320") as one:
        answers = await asyncio.gather(*(ask(one, seed=seed, **asked) for seed in range(5)))
    assert [answer["choices"] for answer in answers] == expected


async def test_penalties_and_bias_change_the_text(model: Path) -> None:
    async with engine(model) as one:
        plain = (await ask(one, temperature=0, max_tokens=30, ignore_eos=True))["choices"][0]["message"]["content"]
        for name in ("frequency_penalty", "presence_penalty"):
            asked: dict[str, Any] = {"temperature": 0, "max_tokens": 30, "ignore_eos": True, name: 2.0}
            penalised = (await ask(one, **asked))["choices"][0]["message"]["content"]
            assert len(set(penalised.split())) > len(set(plain.split()))


async def test_embeddings_are_the_mean_of_the_last_states(model: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["a river", "a much longer text about stones in a river"]
    tokenizer, plain = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    with torch.inference_mode():
        means = [plain(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(1)[0] for text in texts]
        expected = torch.stack([mean / mean.norm() for mean in means])
    async with engine(model) as one:
        data = (await ask(one, Operation.EMBEDDING, input=texts))["data"]
    assert torch.allclose(torch.tensor([each["embedding"] for each in data]), expected, atol=1e-5)


# --- other kinds of models -----------------------------------------------------------------------------------------


def random_model(kind: str, folder: Path, tokenizer_of: Path) -> Path:
    """A model that learned nothing, of another architecture, with the tiny model's tokenizer."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    common = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    match kind:
        case "mistral":
            config = transformers.MistralConfig(**sizes, **common, sliding_window=8)
            made = transformers.MistralForCausalLM(config)
        case "gemma2":
            made = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**sizes, **common, head_dim=8, sliding_window=8))
        case "gpt2":
            made = transformers.GPT2LMHeadModel(transformers.GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=256))
        case "mamba":
            made = transformers.MambaForCausalLM(transformers.MambaConfig(**common, hidden_size=32, state_size=8, num_hidden_layers=2))
        case "bert":
            sizes.pop("num_key_value_heads")
            made = transformers.BertModel(transformers.BertConfig(**sizes, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id))
        case _:
            raise ValueError(kind)
    made.save_pretrained(folder / kind)
    tokenizer.save_pretrained(folder / kind)
    return folder / kind


@pytest.mark.parametrize(("kind", "together"), [("mistral", True), ("gemma2", True), ("gpt2", True), ("mamba", False)])
async def test_other_architectures_equal_generate_also_in_a_batch(model: Path, tmp_path: Path, kind: str, together: bool) -> None:
    other = random_model(kind, tmp_path, model)
    prompts = ["One two three four five six seven", "Water", "A stone in the river and a cloud in the sky above it"]
    end = json.loads((other / "config.json").read_text())["eos_token_id"]
    asked: dict[str, Any] = {"max_new_tokens": 24, "suppress_tokens": [end], "eos_token_id": None}
    expected = [generated(other, prompt, **asked) for prompt in prompts]
    async with engine(other) as one:
        assert one.batch_is_together is together
        answers = await asyncio.gather(
            *(ask(one, Operation.COMPLETION, prompt=prompt, temperature=0, max_tokens=24, ignore_eos=True) for prompt in prompts)
        )
    assert [answer["choices"][0]["text"] for answer in answers] == expected


async def test_a_model_that_only_reads_embeds_and_says_that_it_makes_no_text(model: Path, tmp_path: Path) -> None:
    async with engine(random_model("bert", tmp_path, model)) as one:
        [offer] = await one.models()
        assert offer.capabilities == ("embeddings",)
        assert len((await ask(one, Operation.EMBEDDING, input="a river"))["data"][0]["embedding"]) == 32
        with pytest.raises(UnsupportedParameter, match="only embeddings"):
            await ask(one)


async def test_a_model_without_a_template_continues_texts_and_refuses_chats(model: Path, tmp_path: Path) -> None:
    other = random_model("gpt2", tmp_path, model)
    (other / "chat_template.jinja").unlink()
    async with engine(other) as one:
        assert (await ask(one, Operation.COMPLETION, prompt="One", max_tokens=2))["usage"]["completion_tokens"] == 2
        with pytest.raises(BadRequest, match="no chat template"):
            await ask(one)


# --- what cannot be served -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": "/nowhere/at/all"}, "that folder does not exist"),
        ({"model": "a b"}, "neither a folder here nor the id of one on the hub"),
        ({"model": "somebody/something"}, "not fetched before, and the hub is not reached"),
    ],
)
async def test_a_model_that_is_not_there(options: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch", "transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineUnavailable, match=problem):
        await TransformersEngine(options).open()


def test_no_model_and_wrong_options_are_said() -> None:
    with pytest.raises(BadOption, match="needs a model"):
        TransformersEngine({})
    with pytest.raises(BadOption, match="has no option 'wings'"):
        TransformersEngine({"model": "x", "wings": "2"})
    with pytest.raises(BadOption, match="slots must be a positive number"):
        TransformersEngine({"model": "x", "slots": "0"})


@pytest.mark.parametrize(
    ("options", "problem"), [({"device": "cuda:9"}, "torch sees no such device"), ({"dtype": "int3"}, "dtype must be")]
)
async def test_missing_device_is_named_in_the_error(model: Path, options: dict[str, str], problem: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(BadOption, match=problem):
        await TransformersEngine({"model": str(model), **options}).open()


async def test_broken_files_are_said(model: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"no config\.json"):
        await TransformersEngine({"model": str(tmp_path)}).open()
    (tmp_path / "config.json").write_text((model / "config.json").read_text())
    with pytest.raises(EngineUnavailable, match="no weights"):
        await TransformersEngine({"model": str(tmp_path)}).open()
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:100])
    with pytest.raises(EngineUnavailable, match="or is incomplete"):
        await TransformersEngine({"model": str(tmp_path)}).open()


async def test_model_too_large_for_memory_is_refused_before_loading(model: Path, tmp_path: Path) -> None:
    """The header promises a hundred billion weights, the file holds none of them."""
    (tmp_path / "config.json").write_text((model / "config.json").read_text())
    header = json.dumps({"a": {"dtype": "BF16", "shape": [100_000, 1_000_000], "data_offsets": [0, 200_000_000_000]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(EngineUnavailable, match=r"does not fit: it needs about 2\d\d\.\d GiB on cpu, where .* smaller number format"):
        await TransformersEngine({"model": str(tmp_path), "device": "cpu"}).open()


async def test_a_device_that_is_full_fails_those_who_run_and_serves_the_next(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from penstock.compute.engines._transformers.rows import TogetherRows

    join, full = TogetherRows.join, [True]

    def fails_once(self: TogetherRows, *given: Any, **named: Any) -> None:
        if full:
            full.clear()
            raise torch.OutOfMemoryError("no room")
        join(self, *given, **named)

    async with engine(model) as one:
        monkeypatch.setattr(TogetherRows, "join", fails_once)
        with pytest.raises(Overloaded, match="out of memory"):
            await asyncio.wait_for(ask(one, n=2, max_tokens=4, ignore_eos=True), 20)
        assert (await ask(one, max_tokens=4, ignore_eos=True))["usage"]["completion_tokens"] == 4
        assert one.load().waiting == 0
