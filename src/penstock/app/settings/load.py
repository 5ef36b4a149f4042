"""Reading the tree: flags over environment over file over defaults, and where a bad value came from."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as EnvironmentProblem

from penstock.app.settings.tree import ENVIRONMENT_PREFIX, Settings, default_data_dir

CONFIG_VARIABLE = "PENSTOCK_CONFIG"
CONFIG_NAME = "penstock.toml"


class SettingsError(Exception):
    """A setting is unknown or has a bad value; the message names the setting and where it came from."""


def load(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """The settings of this process. `flags` is a (nested) mapping in which None means "not given".

    Raises SettingsError.
    """
    given = _without_none(flags)
    environment = _environment()
    path = _config_path(config, given, environment)
    file = _read_toml(path) if path else {}
    try:
        return Settings(**_merge(_merge(file, environment), given))
    except ValidationError as error:
        raise SettingsError(_explain(error, given, environment, file, path)) from error


OTHER_VARIABLES = frozenset(
    f"{ENVIRONMENT_PREFIX}{name}"
    for name in ("CONFIG", "BASE_URL", "API_KEY", "CA_FILE", "UPSTREAM_SECRET", "INTERPRETED", "FEATURE_MATRIX", "FAULT_TABLE", "CHILD")
)
"""Variables of ours that are not settings."""
_OF_TESTS = f"{ENVIRONMENT_PREFIX}TEST_"


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Those that look like settings and are none: usually typing errors."""
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in Settings.model_fields} | OTHER_VARIABLES
    ours = (name for name in names if name.upper().startswith(ENVIRONMENT_PREFIX) and not name.startswith(_OF_TESTS))
    return sorted(name for name in ours if name.upper().partition("__")[0] not in known)


def _environment() -> dict[str, Any]:
    if unknown := unknown_variables(os.environ):
        raise SettingsError(f"environment {', '.join(unknown)}: there is no such setting (`penstock env-example` lists them all)")
    try:
        return EnvSettingsSource(Settings)()
    except EnvironmentProblem as error:
        raise SettingsError(f"environment {ENVIRONMENT_PREFIX}*: {error}") from error


def _config_path(config: Path | None, *layers: Mapping[str, Any]) -> Path | None:
    """The TOML file to read: one that was named must exist, the one in the data directory may be absent."""
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named:
        return named
    data_dir = next((layer["data_dir"] for layer in layers if layer.get("data_dir")), None) or default_data_dir()
    default = Path(data_dir).expanduser() / CONFIG_NAME
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror or error}") from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise SettingsError(f"settings file {path}: {error}") from error


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in values.items() if value is not None}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; sections are merged, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _explain(
    error: ValidationError, flags: Mapping[str, Any], environment: Mapping[str, Any], file: Mapping[str, Any], path: Path | None
) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        where = tuple(problem["loc"])
        source = _source(where, flags, environment, file, path)
        message = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{'.'.join(map(str, where))} ({source}): {message}" if where else message)
    return "; ".join(lines)


def _source(
    where: tuple[Any, ...], flags: Mapping[str, Any], environment: Mapping[str, Any], file: Mapping[str, Any], path: Path | None
) -> str:
    names = tuple(part for part in where if isinstance(part, str))
    if _has(flags, names):
        return "flag"
    if _has(environment, names):
        return f"environment {ENVIRONMENT_PREFIX}{'__'.join(names).upper()}"
    return f"file {path}" if _has(file, names) else "default"


def _has(layer: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """True when the layer sets that name; a value that is not a section holds everything below it."""
    here: Any = layer
    for name in names:
        if not isinstance(here, Mapping):
            return True
        if name not in here:
            return False
        here = here[name]
    return True
