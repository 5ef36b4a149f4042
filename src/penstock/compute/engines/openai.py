"""`openai`: any server that speaks OpenAI's API (vLLM, SGLang, llama.cpp, Ollama, TGI, a hosted one). Bodies pass untouched.

Options: `base_url` (without `/v1`), `secret`, `model` (serve this one only; default: all that it lists), `slots`, `engine` (its name in
`load_signals.toml`; default: found out), `probe_seconds`, `connect_seconds`, `read_seconds` (longest silence).
"""

from penstock.compute.engines import _options as options_
from penstock.compute.engines._relay import OpenAiRelay
from penstock.domain.ports.engine import EngineFactory

OPTIONS = frozenset({"base_url", "secret", "model", "slots", "engine", "probe_seconds", "connect_seconds", "read_seconds"})


class OpenAiEngine(OpenAiRelay):
    """The relay, told by options."""

    def __init__(self, options: options_.Options) -> None:
        options_.check_names("openai", options, OPTIONS)
        if not options.get("base_url"):
            raise options_.BadOption("the engine 'openai' needs base_url: the address of the server, without /v1")
        super().__init__(
            options["base_url"],
            secret=options.get("secret", ""),
            only=options.get("model", ""),
            engine=options.get("engine", ""),
            slots=options_.whole(options, "slots", 64),
            probe_seconds=options_.number(options, "probe_seconds", 2.0),
            connect_seconds=options_.number(options, "connect_seconds", 5.0),
            read_seconds=options_.number(options, "read_seconds", 300.0),
        )


MEMBER: EngineFactory = OpenAiEngine
