"""A model in memory, ready to be asked: loaded where and as this machine does best."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from penstock.compute.engines import _options as options_
from penstock.compute.engines._problems import EngineUnavailable
from penstock.compute.engines._transformers import checkpoint as checkpoints
from penstock.compute.engines._transformers import hardware as machine
from penstock.compute.engines._transformers.batch import GenerationBatch
from penstock.compute.engines._transformers.prompts import Prompts
from penstock.compute.engines._transformers.rows import TogetherRows, rows_for
from penstock.compute.engines._transformers.sampling import SamplingDefaults, sampling_defaults

SLOTS = {"cpu": 8}
_SLOTS_ON_ACCELERATOR = 32
_SMALLEST_CACHE_TOKENS = 512
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a request needs to know of the model; `batch` is None where it only embeds."""

    name: str
    model: Any
    prompts: Prompts
    decoder: Any
    """A tokenizer of its own for the model's thread."""
    sampling_defaults: SamplingDefaults
    context_length: int
    slots: int
    batch: GenerationBatch
    generates: bool

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.decoder.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def decode_all(self, ids: Sequence[int]) -> str:
        return str(self.decoder.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @property
    def capabilities(self) -> tuple[str, ...]:
        if not self.generates:
            return ("embeddings",)
        chat = ("chat", *(("tools",) if self.prompts.calls_tools else ())) if self.prompts.chats else ()
        return (*chat, "completions", "embeddings", "logprobs")


def load(options: options_.Options, progress: checkpoints.Progress) -> Loaded:
    """Blocks, for minutes when the model must be fetched. Raises BadOption and EngineUnavailable."""
    transformers.utils.logging.disable_progress_bar()
    checkpoint = checkpoints.open_checkpoint(options["model"], options.get("revision", ""), progress)
    hardware = machine.find(options.get("device", "auto"))
    dtype = machine.dtype(options.get("dtype", "auto"), checkpoint.stored_dtype, checkpoint.parameters * 4, hardware)
    bytes_each = machine.DTYPES[dtype].itemsize
    per_token = checkpoints.cache_bytes_per_token(checkpoint.config, bytes_each)
    checkpoints.check_fit(checkpoint, bytes_each, per_token * _SMALLEST_CACHE_TOKENS, hardware.free_bytes, hardware.device)
    _log.info(
        "model_loading",
        model=checkpoint.name,
        parameters=checkpoint.parameters,
        gibibytes=round(checkpoint.weights_bytes(bytes_each) / machine.GIB, 2),
        device=hardware.device,
        dtype=dtype,
    )
    progress("loading", 0.0)
    began = time.perf_counter()
    model = _weights(checkpoint, hardware.device, dtype)
    progress("loading", 1.0)
    loaded = _ready(options, checkpoint, model, hardware, per_token)
    _log.info("model_loaded", model=loaded.name, seconds=round(time.perf_counter() - began, 1), batched=loaded.batch.is_together)
    return loaded


def _weights(checkpoint: checkpoints.Checkpoint, device: str, dtype: str) -> Any:
    kind = AutoModelForCausalLM if checkpoint.generates else AutoModel
    try:
        # Code that comes with a model is not run: serving a stranger's model would run the stranger's program.
        model = kind.from_pretrained(checkpoint.folder, dtype=machine.DTYPES[dtype], local_files_only=True, trust_remote_code=False)
        return model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise EngineUnavailable(f"{checkpoint.name} does not fit on {device}: {error}") from None
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EngineUnavailable(f"{checkpoint.name} cannot be loaded: {str(error).strip().splitlines()[0]}") from error


def _ready(options: options_.Options, checkpoint: checkpoints.Checkpoint, model: Any, hardware: machine.Hardware, per_token: int) -> Loaded:
    tokenizer = _tokenizer(checkpoint)
    own = checkpoints.context_length(checkpoint.config)
    slots = options_.whole(options, "slots", SLOTS.get(hardware.device, _SLOTS_ON_ACCELERATOR))
    wanted = min(own, options_.whole(options, "context_length", own))
    room = options_.whole(options, "kv_tokens", _room(hardware.device, per_token, slots * wanted))
    rows = rows_for(model) if checkpoint.generates else TogetherRows(model)
    return Loaded(
        name=options.get("name") or checkpoint.name,
        model=model,
        prompts=Prompts(tokenizer, model.get_input_embeddings().num_embeddings),
        decoder=copy.deepcopy(tokenizer),
        sampling_defaults=sampling_defaults(_generation_config(checkpoint, model), _ends(model, tokenizer)),
        context_length=min(wanted, room),
        slots=slots,
        batch=GenerationBatch(rows, slots, room),
        generates=checkpoint.generates,
    )


def _tokenizer(checkpoint: checkpoints.Checkpoint) -> Any:
    try:
        return AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EngineUnavailable(f"{checkpoint.name} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from error


def _generation_config(checkpoint: checkpoints.Checkpoint, model: Any) -> Any:
    if (checkpoint.folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(checkpoint.folder)
    return getattr(model, "generation_config", None)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's and those of the model's own list."""
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = declared if isinstance(declared, list) else [declared]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def _room(device: str, per_token: int, most: int) -> int:
    """Tokens that the cache may hold: what is left now but a fifth on an accelerator, half of it in main memory."""
    left = machine.find(device).free_bytes * (0.5 if device == "cpu" else 0.8)
    return max(_SMALLEST_CACHE_TOKENS, min(most, int(left / max(1, per_token))))
