"""`llamacpp`: runs a GGUF model with llama.cpp's `llama-server`, or with llama-cpp-python where only that is installed.

Options beside those of every supervised server (`_supervised/served.py`):
`slots` (requests at the same time), `context_length` (of each of them),
`gpu_layers` (how many layers go to the GPU), `threads`, `embeddings` (yes: the server embeds and does nothing else), `server`
(llama-server or llama_cpp.server; default: what is there).
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from penstock.compute.engines import _options as options_
from penstock.compute.engines._problems import EngineUnavailable
from penstock.compute.engines._supervised import served as _served
from penstock.domain.ports.engine import EngineFactory

OPTIONS = _served.OPTIONS | {"context_length", "gpu_layers", "threads", "embeddings", "server"}
SLOTS = 4
CONTEXT_LENGTH = 4096
_BINARY, _LIBRARY = "llama-server", "llama_cpp.server"


def member(options: options_.Options) -> _served.ServedEngine:
    """Raises BadOption, and EngineUnavailable for a file that is not there."""
    options_.check_names("llamacpp", options, OPTIONS)
    options_.needed("llamacpp", options, "model")
    model = Path(options["model"]).expanduser()
    if "command" not in options and not model.is_file():
        raise EngineUnavailable(f"there is no model at {model}: llamacpp needs a GGUF file")
    name, port, secret = options.get("name") or model.stem, _served.free_port(options), _served.new_secret()
    recipe = _binary if _kind(options) == _BINARY else _library
    return _served.ServedEngine(options, recipe(options, name, port, secret), port)


def _kind(options: options_.Options) -> str:
    wanted = options_.choice(options, "server", ("auto", _BINARY, _LIBRARY))
    if wanted != "auto":
        return wanted
    found = shutil.which(_BINARY) is not None or importlib.util.find_spec("llama_cpp") is None
    return _BINARY if found or "command" in options else _LIBRARY


def _binary(options: options_.Options, name: str, port: int, secret: str) -> _served.Recipe:
    slots = options_.whole(options, "slots", SLOTS)
    # llama-server shares one context among its slots.
    context = slots * options_.whole(options, "context_length", CONTEXT_LENGTH)
    arguments = [
        "--model",
        options["model"],
        "--alias",
        name,
        "--host",
        _served.HOST,
        "--port",
        str(port),
        "--metrics",
        "--slots",
        "--jinja",
    ]
    arguments += ["--parallel", str(slots), "--ctx-size", str(context), "--cont-batching"]
    for option, flag in (("gpu_layers", "--n-gpu-layers"), ("threads", "--threads")):
        if option in options:
            arguments += [flag, options[option]]
    embeds = options_.yes(options, "embeddings")
    return _served.Recipe(
        engine="llamacpp",
        program=_BINARY,
        arguments=[*arguments, "--embeddings"] if embeds else arguments,
        names=(name,),
        environment={"LLAMA_API_KEY": secret},
        secret=secret,
        capabilities=("embeddings",) if embeds else ("chat", "completions", "tools", "json_schema", "logprobs"),
        complete=True,
        slots=slots,
        missing="install llama.cpp or llama-cpp-python[server], or name its command with --engine-option command=...",
    )


def _library(options: options_.Options, name: str, port: int, secret: str) -> _served.Recipe:
    arguments = ["-m", _LIBRARY, "--model", options["model"], "--model_alias", name, "--host", _served.HOST, "--port", str(port)]
    arguments += ["--n_ctx", str(options_.whole(options, "context_length", CONTEXT_LENGTH)), "--interrupt_requests", "false"]
    for option, flag in (("gpu_layers", "--n_gpu_layers"), ("threads", "--n_threads")):
        if option in options:
            arguments += [flag, options[option]]
    embeds = options_.yes(options, "embeddings")
    return _served.Recipe(
        engine="llamacpp-python",
        program=sys.executable,
        arguments=[*arguments, "--embedding", "true"] if embeds else arguments,
        names=(name,),
        environment={"API_KEY": secret},
        secret=secret,
        capabilities=("chat", "completions", *(("embeddings",) if embeds else ())),
        complete=True,
        # It answers one request at a time; the others wait for its lock.
        slots=1,
        health="/v1/models",
        missing="pip install 'llama-cpp-python[server]'",
    )


MEMBER: EngineFactory = member
