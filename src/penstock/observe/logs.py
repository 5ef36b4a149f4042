"""Logs: one JSON object a line (a console for people), with the same few names everywhere, and never a secret."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog

from penstock.domain.keys import API_KEY, JOIN_TOKEN

Format = Literal["json", "console", "auto"]
HIDDEN = "[hidden]"
_SECRET_NAMES = frozenset({"authorization", "api_key", "key", "secret", "token", "join_token", "password", "cookie", "secret_key"})
_SECRET_TEXT = re.compile(
    rf"(?:{API_KEY}|{JOIN_TOKEN}|sk-)[A-Za-z0-9_-]{{16,}}|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{{8,}}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_CHATTY = ("uvicorn.access", "httpx", "httpcore", "asyncio", "alembic", "aiosqlite", "sqlalchemy.engine")


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: nothing that looks like a key, a token or a password gets further, wherever in the event it is."""
    for name, value in event.items():
        event[name] = HIDDEN if name.lower() in _SECRET_NAMES and value is not None else _clean(value)
    return event


def _clean(value: Any) -> Any:
    match value:
        case str():
            return _SECRET_TEXT.sub(HIDDEN, value)
        case dict():
            return {name: HIDDEN if str(name).lower() in _SECRET_NAMES else _clean(item) for name, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
    return value


def on_terminal(style: Format, stream: TextIO | None = None) -> bool:
    """Whether a person reads the log as it is written."""
    return style == "console" or (style == "auto" and (stream or sys.stderr).isatty())


def configure(level: str = "info", style: Format = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and, through it, the standard library's loggers. `auto`: a console on a terminal, otherwise JSON lines."""
    out = stream or sys.stderr
    console = on_terminal(style, out)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=_rendering(console, out), foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _rendering(console: bool, out: TextIO) -> list[Any]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if console:
        plain = structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
        return [remove_meta, structlog.processors.format_exc_info, hide_secrets, plain]
    # The trace is made into text first, so that a secret inside an exception's message is hidden too.
    return [remove_meta, structlog.processors.format_exc_info, hide_secrets, structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: Any, **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
