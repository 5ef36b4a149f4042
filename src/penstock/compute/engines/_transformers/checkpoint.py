"""A model's files: where they are, how large they are, and whether they fit, before anything is loaded."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from tqdm import tqdm

from penstock.compute.engines._problems import EngineUnavailable
from penstock.compute.engines._transformers.hardware import GIB

Progress = Callable[[str, float], None]
"""Told what is done, and the share of it from 0 to 1."""

_SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken"]
_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4}
_OVERHEAD = 1.15
"""What a forward pass needs beside the weights."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with a model in it. `parameters` counts weights, `stored_bytes` their size on disk."""

    folder: Path
    name: str
    config: dict[str, Any]
    parameters: int
    stored_bytes: int

    @property
    def stored_dtype(self) -> str:
        text = self.config.get("text_config") or {}
        return str(self.config.get("dtype") or self.config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype") or "float32")

    @property
    def generates(self) -> bool:
        """It makes text; otherwise it only reads it, to embed."""
        names = self.config.get("architectures") or []
        return any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in names)

    def weights_bytes(self, bytes_each: int) -> int:
        """In memory; quantised weights stay as they are stored."""
        return self.stored_bytes if "quantization_config" in self.config else self.parameters * bytes_each


def open_checkpoint(model: str, revision: str, progress: Progress) -> Checkpoint:
    """A folder of this machine, or a hub id, which is fetched unless it was before. Raises EngineUnavailable."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _look(folder.resolve(), folder.resolve().name)
    return _look(_fetch(model, revision, progress), model)


def check_fit(checkpoint: Checkpoint, bytes_each: int, cache_bytes: int, free_bytes: int, where: str) -> None:
    """Raises EngineUnavailable when weights and the smallest useful cache are more than there is."""
    needed = int(checkpoint.weights_bytes(bytes_each) * _OVERHEAD) + cache_bytes
    if needed > free_bytes:
        raise EngineUnavailable(
            f"{checkpoint.name} does not fit: it needs about {needed / GIB:.1f} GiB on {where}, where {free_bytes / GIB:.1f} GiB are free; "
            "take a smaller or quantised model, a smaller number format (--engine-option dtype=bfloat16), or another device"
        )


def cache_bytes_per_token(config: dict[str, Any], bytes_each: int) -> int:
    """Keys and values of one token in all layers."""
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    hidden = text.get("hidden_size") or text.get("n_embd") or 1
    layers = text.get("num_hidden_layers") or text.get("n_layer") or 1
    size = text.get("head_dim") or hidden // heads
    return int(2 * layers * (text.get("num_key_value_heads") or heads) * size * bytes_each)


def context_length(config: dict[str, Any]) -> int:
    text = config.get("text_config") or config
    return int(text.get("max_position_embeddings") or text.get("n_positions") or text.get("n_ctx") or 2048)


def _look(folder: Path, name: str) -> Checkpoint:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise EngineUnavailable(f"there is no model in {folder}: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"the config.json in {folder} cannot be read: {error}") from None
    tensors = sorted(folder.glob("*.safetensors"))
    if tensors:
        counts = [_count(path) for path in tensors]
        return Checkpoint(folder, name, config, sum(count for count, _ in counts), sum(size for _, size in counts))
    stored = sum(path.stat().st_size for path in folder.glob("*.bin"))
    if not stored:
        raise EngineUnavailable(f"there are no weights in {folder}: neither *.safetensors nor *.bin")
    return Checkpoint(folder, name, config, stored // 2, stored)


def _count(path: Path) -> tuple[int, int]:
    """Weights and bytes, from the header alone: eight bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError, MemoryError) as error:
        raise EngineUnavailable(f"{path.name} is not a safetensors file, or is incomplete: {error}") from None
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    counts = [math.prod(tensor["shape"]) for tensor in tensors]
    return sum(counts), sum(count * _BYTES.get(tensor["dtype"], 1) for count, tensor in zip(counts, tensors, strict=True))


def _fetch(model: str, revision: str, progress: Progress) -> Path:
    class Bar(tqdm):  # type: ignore[misc, unused-ignore, type-arg]  # typed only where its stubs are installed
        """Tells our progress too, where no terminal shows the bar."""

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.total and self.unit == "B":
                progress("fetching", self.n / self.total)
            return shown

    try:
        found = snapshot_download(model, revision=revision or None, allow_patterns=[*_SMALL_FILES, "*.safetensors"], tqdm_class=Bar)
        if not any(Path(found).glob("*.safetensors")):
            found = snapshot_download(model, revision=revision or None, allow_patterns=["pytorch_model*.bin"], tqdm_class=Bar)
        return Path(found)
    except GatedRepoError:
        raise EngineUnavailable(f"the hub gives {model} only to those who accepted its terms: do so there, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise EngineUnavailable(f"there is no model {model!r}: neither a folder here nor on the hub (HF_TOKEN for a private one)") from None
    except HFValidationError:
        raise EngineUnavailable(f"there is no model {model!r}: it is neither a folder here nor the id of one on the hub") from None
    except LocalEntryNotFoundError:
        raise EngineUnavailable(f"there is no folder {model!r}, it was not fetched before, and the hub is not reached from here") from None
    except (HfHubHTTPError, OSError) as error:
        raise EngineUnavailable(f"{model} could not be fetched: {error}") from None
