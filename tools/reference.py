"""Writes docs/reference/settings.md and cli.md from the code: `make docs`. A test fails when they have drifted."""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from typer import Context, Typer
from typer.main import get_command

from penstock.app.settings import ENVIRONMENT_PREFIX, Settings, UpstreamSettings
from penstock.cli.main import app

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

_SETTINGS_HEAD = """\
# Settings

A process reads its settings once, when it starts. Flags override the environment, which overrides the settings file, which overrides the
defaults below. An invalid value, or an unknown name in a file or in a section (`PENSTOCK_ROUTING__...`), stops the process with exit code 2
and a message that names it and its source. `penstock doctor` reports unknown `PENSTOCK_` variables.

- **Settings file** (TOML): `--config FILE`, else `PENSTOCK_CONFIG`, else `penstock.toml` in the data directory. A section below is a
  table of the file: `[routing]`, then `eject_after = 5`.
- **Environment**: the name in capitals with `PENSTOCK_` in front and two underscores between section and name:
  `PENSTOCK_ROUTING__EJECT_AFTER=5`. A list is written with commas or as JSON.

Made from the code by `make docs`.
"""

_CLI_HEAD = """\
# Command line

Data goes to standard output, everything else to standard error. `--json` prints data as JSON. Colours follow `NO_COLOR`. `penstock
--install-completion` installs shell completion. `penstock env-example` prints every setting as an environment file.

[Errors](errors.md#exit-codes-of-penstock) has the table of exit codes.

Commands that talk to a gateway find it in this order: the flags `--base-url` and `--api-key`, the profile named by `--profile`, the
environment (`PENSTOCK_BASE_URL`, `PENSTOCK_API_KEY`), the default profile (`penstock up` writes one), then `OPENAI_BASE_URL` and
`OPENAI_API_KEY`. A key from a profile or from OpenAI's variables is sent only to the address that it belongs to.

Made from the code by `make docs`.
"""


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    parts = [_SETTINGS_HEAD, "## At the top\n", *_table(Settings, ENVIRONMENT_PREFIX)]
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            section = type(field.default)
            parts += [f"\n## {name}\n", f"{section.__doc__}\n", *_table(section, f"{ENVIRONMENT_PREFIX}{name}__".upper())]
    parts += ["\n## upstreams, each entry\n", f"{UpstreamSettings.__doc__}\n", *_table(UpstreamSettings, "")]
    return "\n".join(parts) + "\n"


def _table(section: type[BaseModel], prefix: str) -> Iterator[str]:
    yield "| name | type | default | what it does |\n|---|---|---|---|"
    for name, field in section.model_fields.items():
        if not isinstance(field.default, BaseModel):
            yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_cell(field.description or '')} |"
    if prefix:
        yield f"\nIn the environment: `{prefix}<NAME>`."


def _type(annotation: Any) -> str:
    """A type as somebody who writes a settings file thinks of it."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join("unset" if part is type(None) else _type(part) for part in get_args(annotation))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list"
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    names = {bool: "yes or no", int: "whole number", float: "number", str: "text", Path: "path", SecretStr: "secret"}
    return names.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if field.is_required():
        return "required"
    if field.default_factory is dict:
        return "empty"
    if field.default_factory is not None:
        return "the user's data directory for `penstock`"
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value != "" else "empty"


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(typer_app: Typer = app) -> dict[str, Any]:
    """Every command that people may call by its whole name (`keys create`), without groups and hidden commands."""

    def walk(node: Any, name: str) -> Iterator[tuple[str, Any]]:
        if not hasattr(node, "list_commands"):
            yield name, node
            return
        context = Context(node)
        for child in node.list_commands(context):
            command = node.get_command(context, child)
            if not command.hidden:
                yield from walk(command, f"{name} {child}".strip())

    return dict(walk(get_command(typer_app), ""))


def options(command: Any) -> dict[str, Any]:
    """A command's parameters by each of their spellings."""
    return {spelling: param for param in command.params for spelling in (*param.opts, *param.secondary_opts)}


def cli_page() -> str:
    parts = [_CLI_HEAD]
    for name, command in commands().items():
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        flags = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
        usage = " ".join(["penstock", name, *(["[OPTIONS]"] if flags else []), *map(_argument, arguments)])
        parts += [f"## penstock {name}\n", f"{command.help or ''}\n", f"    {usage}\n"]
        rows = [*(_row(f"`{_argument(param)}`", param) for param in arguments), *(_row(_spellings(param), param) for param in flags)]
        parts += ["| | |\n|---|---|", *rows, ""] if rows else []
        parts += [f"{command.epilog.partition(': ')[0]}: `{command.epilog.partition(': ')[2]}`\n"] if command.epilog else []
    return "\n".join(parts)


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name).upper()
    if param.required:
        return name
    return f"[{name.removesuffix('...').strip('[]')}]{'...' if param.nargs < 0 else ''}"


def _spellings(param: Any) -> str:
    value = "" if param.is_flag else f" {param.metavar or param.type.name.upper()}"
    return f"`{' / '.join([*param.opts, *param.secondary_opts])}{value}`"


def _row(spelling: str, param: Any) -> str:
    return f"| {_cell(spelling)} | {_cell(getattr(param, 'help', None) or '')} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"settings.md": settings_page, "cli.md": cli_page}


def main() -> int:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
