"""`penstock env-example`: every setting as a commented line of an environment file, made from the settings tree."""

import json
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

from penstock.cli.command import command, single

_HEADER = """\
# Every setting of Penstock with its default. Made by `penstock env-example`; a test keeps it so.
# Precedence: flags > environment > settings file (TOML, the same names) > defaults."""


app = single()


@app.command(epilog="Example: penstock env-example")
@command
def env_example() -> None:
    """Print every setting as a line of an environment file."""
    sys.stdout.write(document())


def document() -> str:
    from penstock.app.settings import ENVIRONMENT_PREFIX, Settings

    lines = [_HEADER, *_section(Settings, ENVIRONMENT_PREFIX)]
    return "\n".join(lines) + "\n"


def _section(section: Any, prefix: str) -> Iterator[str]:
    """Plain settings first, then the sections below, as the tree has them."""
    for name, field in section.model_fields.items():
        variable = f"{prefix}{name}".upper()
        if _is_section(field.default):
            yield f"\n# --- {name}: {type(field.default).__doc__}"
            yield from _section(type(field.default), f"{variable}__")
        else:
            yield f"\n# {field.description}"
            yield f"#{variable}={_written(field.default)}"


def _is_section(default: Any) -> bool:
    return hasattr(type(default), "model_fields")


def _written(default: Any) -> str:
    """A default as the environment would hold it; empty where there is none or it depends on the machine."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return json.dumps(default) if isinstance(default, (int, float)) else default if isinstance(default, str) else ""
