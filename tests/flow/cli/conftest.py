"""The command, run in this process or as one of its own, against a gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from tests.flow.cli.fake_gateway import ADMIN_KEY, FakeGatewayState, running


@dataclass(frozen=True)
class Gateway:
    """Where the commands are pointed to; a real gateway fits as well."""

    root: str
    api_key: str

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cli:
    environment: Mapping[str, str]

    def run(self, *args: str, text: str | None = None, **variables: str) -> Result:
        """In this process: quick."""
        result = CliRunner().invoke(app, list(args), input=text, env={**self.environment, **variables})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "penstock", *args]

    def process_environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_"))}
        return {**kept, **self.environment, **variables}

    def start(self, *args: str, **variables: str) -> subprocess.Popen[str]:
        """As a process of its own, with pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*args), stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.process_environment(**variables)
        )


@pytest.fixture
def state() -> FakeGatewayState:
    return FakeGatewayState()


@pytest.fixture
def gateway(state: FakeGatewayState) -> Iterator[Gateway]:
    with running(state) as root:
        yield Gateway(root, ADMIN_KEY)


@pytest.fixture
def cli(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command, told of the gateway by environment; no file of this machine's user is read."""
    for name in list(os.environ):
        if name.startswith(("PENSTOCK_", "OPENAI_")):
            monkeypatch.delenv(name)
    return Cli(
        {
            "PENSTOCK_BASE_URL": gateway.base_url,
            "PENSTOCK_API_KEY": gateway.api_key,
            "PENSTOCK_PROFILE": str(tmp_path / "profiles.toml"),
            "PENSTOCK_DATA_DIR": str(tmp_path / "data"),
        }
    )
