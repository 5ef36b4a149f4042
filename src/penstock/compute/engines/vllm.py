"""`vllm`: runs `vllm serve` on this machine's GPUs and keeps it running.

Options beside those of every supervised server (`_supervised/served.py`):
`tensor_parallel_size`, `dtype`, `max_model_len`, `gpu_memory_utilization`,
`max_num_seqs`, `quantization`, `lora` (NAME=PATH,NAME=PATH: adapters, which clients name as models), `tool_call_parser` (with it the model
calls tools), `enforce_eager`.
"""

from penstock.compute.engines import _options as options_
from penstock.compute.engines._supervised import served as _served
from penstock.domain.ports.engine import EngineFactory

_VALUES = ("tensor_parallel_size", "dtype", "max_model_len", "gpu_memory_utilization", "max_num_seqs", "quantization", "tool_call_parser")
OPTIONS = _served.OPTIONS | {*_VALUES, "lora", "enforce_eager"}


def member(options: options_.Options) -> _served.ServedEngine:
    """Raises BadOption."""
    options_.check_names("vllm", options, OPTIONS)
    options_.needed("vllm", options, "model")
    name, port, secret = _served.served_name(options), _served.free_port(options), _served.new_secret()
    adapters = options_.pairs(options, "lora")
    arguments = ["serve", options["model"], "--host", _served.HOST, "--port", str(port), "--served-model-name", name]
    for option in _VALUES:
        if option in options:
            arguments += [f"--{option.replace('_', '-')}", options[option]]
    if "tool_call_parser" in options:
        arguments.append("--enable-auto-tool-choice")
    if options_.yes(options, "enforce_eager"):
        arguments.append("--enforce-eager")
    if adapters:
        arguments += ["--enable-lora", "--lora-modules", *(f"{adapter}={path}" for adapter, path in adapters.items())]
    tools = ("tools",) if "tool_call_parser" in options else ()
    return _served.ServedEngine(
        options,
        _served.Recipe(
            engine="vllm",
            program="vllm",
            arguments=arguments,
            names=(name, *adapters),
            # In the environment: a command line is seen by every user of the machine.
            environment={"VLLM_API_KEY": secret},
            secret=secret,
            capabilities=("chat", "completions", *tools, "json_schema", "logprobs"),
            slots=options_.whole(options, "max_num_seqs", 256),
            missing="install vLLM on this machine (it needs a GPU), or name its command with --engine-option command=...",
        ),
        port,
    )


MEMBER: EngineFactory = member
