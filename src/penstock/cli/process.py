"""What the commands that start a process share: their flags, and flags to settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode, Failed

if TYPE_CHECKING:
    from penstock.app.settings import Settings

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (TOML).")]
HostOption = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. [127.0.0.1]")]
PortOption = Annotated[int | None, typer.Option("--port", metavar="PORT", help="Port to listen on; 0 means any free port. [8080]")]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Directory for all data.")]
StoreOption = Annotated[str | None, typer.Option("--store", metavar="URL", help="Database: sqlite:///FILE or postgresql://...")]
UpstreamOption = Annotated[
    list[str] | None, typer.Option("--upstream", metavar="MODEL=URL", help="Serve a model from an OpenAI-compatible server; repeatable.")
]
TlsCertOption = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="TLS certificate chain (PEM); needs --tls-key.")]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM).")]
CaFileOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="PEM file with further authorities, for a gateway with a private one.")
]
JsonLineOption = Annotated[bool, typer.Option("--json", help="Print one JSON line on standard output when ready.")]


def load_settings(flags: Mapping[str, Any], config: Path | None) -> "Settings":
    """Raises Failed (usage) that names the setting and its source."""
    from penstock.app.settings import SettingsError, load

    try:
        return load(flags, config)
    except SettingsError as error:
        raise Failed(str(error), ExitCode.USAGE) from error


def pairs(options: list[str] | None, flag: str) -> dict[str, str]:
    """`k=v` options as a mapping. Raises Failed (usage)."""
    split = [option.partition("=") for option in options or ()]
    for key, separator, _ in split:
        if not key or not separator:
            raise Failed(f"{flag} wants KEY=VALUE, not {key!r}", ExitCode.USAGE)
    return {key: value for key, _, value in split}
