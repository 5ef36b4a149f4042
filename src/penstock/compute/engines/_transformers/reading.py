"""What the model makes of a text that it only reads: vectors, and how likely each of its tokens was."""

from typing import Any

import torch

from penstock.domain.ports.engine import TokenLogprob

TOGETHER = 16
"""Inputs in one pass."""


def vectors(model: Any, inputs: list[list[int]], dimensions: int | None) -> list[bytes]:
    """The mean of the last hidden states of each input's tokens, of length one: little-endian 32-bit floats.

    With `dimensions` only the first of them, of length one again, as models that are trained for it expect.
    """
    found: list[bytes] = []
    for at in range(0, len(inputs), TOGETHER):
        pooled = _pooled(model, inputs[at : at + TOGETHER])[:, :dimensions]
        found += [row.tobytes() for row in torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy().astype("<f4")]
    return found


def _pooled(model: Any, inputs: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, inputs))
    ids = torch.tensor([one + [0] * (longest - len(one)) for one in inputs], device=model.device)
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in inputs], device=model.device)
    states = getattr(model, "base_model", model)(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def prompt_logprobs(model: Any, ids: list[int], texts: list[str], top: int, text_of: Any) -> list[TokenLogprob]:
    """How likely each token of a prompt was after those before it; the first has none before it, so it counts as certain."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    scores = logits.float().log_softmax(-1)
    found = [TokenLogprob(texts[0], 0.0)]
    for at in range(1, len(ids)):
        values, tokens = scores[at - 1].topk(min(top, scores.shape[-1]))
        likeliest = tuple((text_of(token), value) for token, value in zip(tokens.tolist(), values.tolist(), strict=True))
        found.append(TokenLogprob(texts[at], float(scores[at - 1, ids[at]]), likeliest))
    return found
