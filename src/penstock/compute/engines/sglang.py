"""`sglang`: runs SGLang's server on this machine's GPUs and keeps it running.

Options beside those of every supervised server (`_supervised/served.py`): `tp_size`, `dtype`, `context_length`, `mem_fraction_static`,
`max_running_requests`, `quantization`, `lora` (NAME=PATH,NAME=PATH: adapters, which clients name as models), `tool_call_parser` (with it
the model calls tools), `python` (the interpreter that has SGLang; default: python3).
"""

from penstock.compute.engines import _options as options_
from penstock.compute.engines._supervised import served as _served
from penstock.domain.ports.engine import EngineFactory

_VALUES = ("tp_size", "dtype", "context_length", "mem_fraction_static", "max_running_requests", "quantization", "tool_call_parser")
OPTIONS = _served.OPTIONS | {*_VALUES, "lora", "python"}


def member(options: options_.Options) -> _served.ServedEngine:
    """Raises BadOption."""
    options_.check_names("sglang", options, OPTIONS)
    options_.needed("sglang", options, "model")
    name, port = _served.served_name(options), _served.free_port(options)
    adapters = options_.pairs(options, "lora")
    arguments = ["-m", "sglang.launch_server", "--model-path", options["model"], "--served-model-name", name]
    arguments += ["--host", _served.HOST, "--port", str(port), "--enable-metrics"]
    for option in _VALUES:
        if option in options:
            arguments += [f"--{option.replace('_', '-')}", options[option]]
    if adapters:
        arguments += ["--enable-lora", "--lora-paths", *(f"{adapter}={path}" for adapter, path in adapters.items())]
    tools = ("tools",) if "tool_call_parser" in options else ()
    return _served.ServedEngine(
        options,
        _served.Recipe(
            engine="sglang",
            program=options.get("python", "python3"),
            arguments=arguments,
            names=(name, *adapters),
            capabilities=("chat", "completions", *tools, "json_schema", "logprobs"),
            slots=options_.whole(options, "max_running_requests", 256),
            missing="install SGLang on this machine (it needs a GPU), or name its command with --engine-option command=...",
        ),
        port,
    )


MEMBER: EngineFactory = member
