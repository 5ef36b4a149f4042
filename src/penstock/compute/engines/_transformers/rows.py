"""The caches of the sequences that are generated together.

`TogetherRows` keeps all of them in one tensor for each layer and advances them in one pass of the model: continuous batching, in which a
row joins and leaves at any step. `SeparateRows` advances one after the other, for models whose cache is of another kind (state-space
models, models of chunked attention). `rows_for` tries the first on the model itself and takes the second when the answers differ.
"""

import copy
import inspect
from typing import Any, Protocol

import structlog
import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

_GROWTH = 256
"""Tokens by which the tensors grow, so that they are not copied at each step."""
_log = structlog.get_logger()


class Rows(Protocol):
    """Rows are numbered 0 to n-1; the last one takes the number of one that leaves."""

    lengths: list[int]
    """Tokens in the cache of each row."""

    def prefill(self, ids: list[int], cache: Any) -> tuple[torch.Tensor, Any]:
        """Read some tokens (of one sequence) on top of its cache, None at first; gives the last token's logits [V] and the cache."""
        ...

    def join(self, cache: Any, length: int, *, last: bool) -> None:
        """Append a row that begins with this cache, of so many tokens; `last`: it is not used again."""
        ...

    def leave(self, row: int) -> None: ...

    def step(self, tokens: list[int]) -> torch.Tensor:
        """One token more for each row; gives logits [rows, V]."""
        ...


def rows_for(model: Any) -> Rows:
    if not _is_plain(model.config.get_text_config(decoder=True)):
        return SeparateRows(model)
    try:
        apart = _disagreement(model)
    except Exception as error:  # any model code: after any error it can still be run row by row
        _log.info("batching_disabled", reason=f"{type(error).__name__}: {error}")
        return SeparateRows(model)
    if apart > (0.1 if model.dtype in (torch.bfloat16, torch.float16) else 1e-3):
        _log.info("batching_disabled", reason="in a batch this model answers otherwise")
        return SeparateRows(model)
    return TogetherRows(model)


def _is_plain(config: Any) -> bool:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds <= {"full_attention", "sliding_attention"} and not getattr(config, "is_encoder_decoder", False)


def _disagreement(model: Any) -> float:
    """How far the logits of two rows in a batch are from those of each alone, as a share of the largest."""
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    prompts = [[number % vocabulary for number in range(3, 12)], [number % vocabulary for number in range(7, 10)]]
    together, separate = TogetherRows(model), SeparateRows(model)
    found = []
    for rows in (together, separate):
        with torch.inference_mode():
            for prompt in prompts:
                _, cache = rows.prefill(prompt, None)
                rows.join(cache, len(prompt), last=True)
            rows.step([1, 2])
            found.append(rows.step([3, 4]).float())
    return float((found[0] - found[1]).abs().max() / found[1].abs().max().clamp(min=1e-6))


class SeparateRows:
    """A cache for each row, of the model's own kind."""

    def __init__(self, model: Any) -> None:
        self.lengths: list[int] = []
        self._model = model
        # State-space models call theirs otherwise.
        known = inspect.signature(model.forward).parameters
        self._cache_name = "past_key_values" if "past_key_values" in known else "cache_params"
        self._caches: list[Any] = []

    def prefill(self, ids: list[int], cache: Any) -> tuple[torch.Tensor, Any]:
        read = torch.tensor([ids], device=self._model.device)
        out = self._model(input_ids=read, use_cache=True, logits_to_keep=1, **{self._cache_name: cache})
        return out.logits[0, -1], out[self._cache_name]

    def join(self, cache: Any, length: int, *, last: bool) -> None:
        self._caches.append(cache if last else copy.deepcopy(cache))
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        for kept in (self._caches, self.lengths):
            kept[row] = kept[-1]
            kept.pop()

    def step(self, tokens: list[int]) -> torch.Tensor:
        logits = []
        for row, token in enumerate(tokens):
            one, self._caches[row] = self.prefill([token], self._caches[row])
            self.lengths[row] += 1
            logits.append(one)
        return torch.stack(logits)


class TogetherRows:
    """Keys and values [rows, heads, tokens, size] of each layer; what a row has not reached yet is masked."""

    def __init__(self, model: Any) -> None:
        self.lengths: list[int] = []
        self._model = model
        self._layers: list[_Layer] = []
        config = model.config.get_text_config(decoder=True)
        self._by_kind = getattr(config, "layer_types", None) is not None
        self._window: int | None = getattr(config, "sliding_window", None)

    def prefill(self, ids: list[int], cache: Any) -> tuple[torch.Tensor, Any]:
        # Without the model's configuration the cache keeps what slid out of a window: here the mask hides it.
        cache = DynamicCache() if cache is None else cache
        read = torch.tensor([ids], device=self._model.device)
        out = self._model(input_ids=read, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1], cache

    def join(self, cache: Any, length: int, *, last: bool) -> None:
        if not self._layers:
            self._layers = [_Layer() for _ in cache.layers]
        row = len(self.lengths)
        for layer, given in zip(self._layers, cache.layers, strict=True):
            layer.put(row, given.keys[0], given.values[0])
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        last = len(self.lengths) - 1
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        for layer in self._layers:
            layer.move(last, row, self.lengths[row] if row < last else 0)

    def step(self, tokens: list[int]) -> torch.Tensor:
        device = self._model.device
        positions = torch.tensor(self.lengths, device=device)
        longest = max(self.lengths) + 1
        for layer in self._layers:
            layer.expect(positions, longest)
        out = self._model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            position_ids=positions[:, None],
            attention_mask=self._masks(positions, longest),
            past_key_values=Cache(layers=list(self._layers)),
            use_cache=True,
            logits_to_keep=1,
        )
        self.lengths = [length + 1 for length in self.lengths]
        return out.logits[:, -1]

    def _masks(self, positions: torch.Tensor, longest: int) -> Any:
        """What each row may look at, [rows, 1, 1, tokens]; by kind of layer where the model tells kinds apart."""
        at = torch.arange(longest, device=positions.device)[None, :]
        reached = at <= positions[:, None]
        near = reached & (at > positions[:, None] - self._window) if self._window else reached
        if self._by_kind:
            return {"full_attention": self._additive(reached), "sliding_attention": self._additive(near)}
        return self._additive(near)

    def _additive(self, allowed: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(allowed.shape, dtype=self._model.dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(self._model.dtype).min)[:, None, None, :]


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # the library has no types
    """One layer's keys and values, with room to grow."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self._positions = torch.empty(0, dtype=torch.long)
        self._rows = torch.empty(0, dtype=torch.long)
        self._longest = 0

    def put(self, row: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """[heads, tokens, size] as the row's beginning."""
        tokens = keys.shape[1]
        self._make_room(row + 1, tokens, keys, values)
        self.keys[row, :, :tokens] = keys
        self.values[row, :, :tokens] = values

    def move(self, source: int, target: int, tokens: int) -> None:
        if tokens:
            self.keys[target, :, :tokens] = self.keys[source, :, :tokens]
            self.values[target, :, :tokens] = self.values[source, :, :tokens]

    def expect(self, positions: torch.Tensor, longest: int) -> None:
        """Before a step: where each row's next token goes."""
        self._make_room(len(positions), longest, self.keys[0], self.values[0])
        self._positions, self._longest = positions, longest
        self._rows = torch.arange(len(positions), device=positions.device)

    def _make_room(self, rows: int, tokens: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Tensors for so many rows and tokens, of the heads and sizes that these have; what is there stays."""
        had = (0, 0) if self.keys is None else (self.keys.shape[0], self.keys.shape[2])
        if rows <= had[0] and tokens <= had[1]:
            return
        rows, tokens = max(rows, had[0]), had[1] if tokens <= had[1] else tokens + _GROWTH
        for name, like in (("keys", keys), ("values", values)):
            before = getattr(self, name)
            # Zeros: what is masked is still multiplied, and what memory happened to hold may be no number.
            grown = torch.zeros((rows, like.shape[0], tokens, like.shape[2]), dtype=like.dtype, device=like.device)
            if before is not None:
                grown[: had[0], :, : had[1]] = before
            setattr(self, name, grown)
        self.is_initialized = True

    # --- what the library asks -----------------------------------------------------------------------------------------

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise AssertionError("rows join before they step")

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys[self._rows, :, self._positions] = key_states[:, :, 0]
        self.values[self._rows, :, self._positions] = value_states[:, :, 0]
        return self.keys[: len(self._rows), :, : self._longest], self.values[: len(self._rows), :, : self._longest]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._longest, 0

    def get_seq_length(self) -> int:
        return max(0, self._longest - 1)

    def get_max_length(self) -> int:
        return -1
