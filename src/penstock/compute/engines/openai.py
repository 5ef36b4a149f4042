"""`openai`: any server that speaks OpenAI's API (vLLM, SGLang, llama.cpp, Ollama, TGI, a hosted one). Bodies pass untouched.

Options: `base_url` (without `/v1`; a path that names another version is taken as it is), `secret`, `model` (serve this one only; default:
all that it lists), `slots`, `engine` (its name in `load_signals.toml`; default: found out), `probe_seconds`, `connect_seconds`,
`read_seconds` (longest silence), and how the server wants to be called: `query`, `headers` (NAME=VALUE,NAME=VALUE), `ca_file`,
`client_cert_file`, `client_key_file`, `proxy`, `probe_path` (empty: it is never asked).
"""

from pathlib import Path

from penstock.compute.engines import _options as options_
from penstock.compute.engines._relay import OpenAiRelay
from penstock.domain.ports.engine import EngineFactory
from penstock.domain.workers import UpstreamAccess
from penstock.net.upstream_tls import upstream_tls
from penstock.wire.upstream_access import headers_of, probe_path_of, proxy_of, query_of

_ACCESS = frozenset({"query", "headers", "ca_file", "client_cert_file", "client_key_file", "proxy", "probe_path"})
OPTIONS = _ACCESS | {"base_url", "secret", "model", "slots", "engine", "probe_seconds", "connect_seconds", "read_seconds"}


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
            access=_access(options),
        )


def _access(options: options_.Options) -> UpstreamAccess:
    """Raises BadOption."""
    try:
        access = UpstreamAccess(
            query=query_of(options.get("query", "")),
            secret_headers=tuple(headers_of(options_.pairs(options, "headers")).items()),
            ca=_text(options, "ca_file"),
            client_certificate=_text(options, "client_cert_file"),
            client_key=_text(options, "client_key_file"),
            proxy=proxy_of(options.get("proxy", "")),
            probe_path=probe_path_of(options["probe_path"]) if "probe_path" in options else None,
        )
        upstream_tls(access.ca, access.client_certificate, access.client_key)
    except ValueError as error:
        raise options_.BadOption(str(error)) from error
    if access.probe_path is not None and not options.get("model"):
        raise options_.BadOption("probe_path needs the option 'model': nothing is asked for its list")
    return access


def _text(options: options_.Options, name: str) -> str:
    """What a file has. Raises BadOption."""
    path = options.get(name)
    try:
        return Path(path).expanduser().read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise options_.BadOption(f"{name} {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from error


MEMBER: EngineFactory = OpenAiEngine
