"""The next token of one sequence, as `model.generate` would choose it: the library's own processors in the library's order.

A sequence has a random stream of its own, so that a seed gives the same text whichever other sequences run beside it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from penstock.domain.ports.engine import GenerationRequest

_COLDEST = 1e-5
"""Below this a division would leave no numbers: the likeliest token it is."""
_APART = 0x9E3779B97F4A7C15
"""Added to the seed for each choice: a prime, so that a choice of one seed is not the first choice of the next."""


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What the model's own generation_config.json asks for; a request's parameters come before it."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    suppressed: tuple[int, ...] = ()
    ends: frozenset[int] = frozenset()
    """Tokens that end an answer."""


def sampling_defaults(config: Any, ends: frozenset[int]) -> SamplingDefaults:
    """From a `GenerationConfig`. Its sampling counts only where it says that the model is meant to be sampled."""
    sampled = bool(getattr(config, "do_sample", False))
    return SamplingDefaults(
        temperature=_of(config, "temperature", 1.0) if sampled else 1.0,
        top_p=_of(config, "top_p", 1.0) if sampled else 1.0,
        top_k=int(_of(config, "top_k", 0)) if sampled else 0,
        min_p=_of(config, "min_p", 0.0) if sampled else 0.0,
        repetition_penalty=_of(config, "repetition_penalty", 1.0),
        suppressed=tuple(getattr(config, "suppress_tokens", None) or ()),
        ends=ends,
    )


def _of(config: Any, name: str, default: float) -> float:
    value = getattr(config, name, None)
    return default if value is None else float(value)


class Sampler:
    """Chooses token after token of one choice. `device` is where the logits are."""

    def __init__(self, request: GenerationRequest, choice: int, own: SamplingDefaults, device: Any) -> None:
        temperature = own.temperature if request.temperature is None else request.temperature
        self.greedy = temperature < _COLDEST
        self._processors = [*_shaping(request, own, device), *([] if self.greedy else _warpers(request, own, temperature))]
        self._presence, self._frequency = request.presence_penalty, request.frequency_penalty
        self._bias = _bias(request, device)
        self._random = torch.Generator(device=device)
        seed = int.from_bytes(os.urandom(7), "big") if request.seed is None else request.seed
        self._random.manual_seed(seed if not choice and 0 <= seed < 1 << 63 else (seed + choice * _APART) % (1 << 63))

    @property
    def plain(self) -> bool:
        """The likeliest token; what came before does not count."""
        return self.greedy and not self._processors and self._bias is None and not self._presence and not self._frequency

    def pick(self, ids: Sequence[int], made: Sequence[int], logits: torch.Tensor) -> int:
        """`ids`: prompt and answer so far, `made`: the answer, `logits`: [V] as the model gave them."""
        scores = logits[None].float()
        if self._bias is not None:
            scores = scores.index_add(1, self._bias[0], self._bias[1])
        if made and (self._presence or self._frequency):
            scores = self._penalised(scores, made)
        if self._processors:
            before = torch.tensor([ids], device=logits.device)
            for process in self._processors:
                scores = process(before, scores)
        if self.greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._random))

    def _penalised(self, scores: torch.Tensor, made: Sequence[int]) -> torch.Tensor:
        tokens, counts = torch.tensor(made, device=scores.device).unique(return_counts=True)
        return scores.index_add(1, tokens, -(self._presence + self._frequency * counts)[None])


def _shaping(request: GenerationRequest, own: SamplingDefaults, device: Any) -> list[Any]:
    shaping: list[Any] = []
    if own.repetition_penalty != 1.0:
        shaping.append(RepetitionPenaltyLogitsProcessor(own.repetition_penalty))
    silent = [*own.suppressed, *(own.ends if request.ignore_eos else ())]
    if silent:
        shaping.append(SuppressTokensLogitsProcessor(silent, device=str(device)))
    return shaping


def _warpers(request: GenerationRequest, own: SamplingDefaults, temperature: float) -> list[Any]:
    warpers: list[Any] = []
    top_p = own.top_p if request.top_p is None else request.top_p
    if temperature != 1.0:
        warpers.append(TemperatureLogitsWarper(float(temperature)))
    if own.top_k:
        warpers.append(TopKLogitsWarper(own.top_k))
    if top_p < 1.0:
        warpers.append(TopPLogitsWarper(float(top_p)))
    if own.min_p:
        warpers.append(MinPLogitsWarper(own.min_p))
    return warpers


def _bias(request: GenerationRequest, device: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    if not request.logit_bias:
        return None
    tokens = torch.tensor(list(request.logit_bias), device=device)
    return tokens, torch.tensor([[float(weight) for weight in request.logit_bias.values()]], device=device)


def logprobs(logits: torch.Tensor, token: int, top: int) -> tuple[float, list[tuple[int, float]]]:
    """The token's log probability before any sampling parameter, and the likeliest tokens with theirs."""
    scores = logits.float().log_softmax(-1)
    values, tokens = scores.topk(min(top, len(scores)))
    return float(scores[token]), list(zip(tokens.tolist(), values.tolist(), strict=True))
