"""The `penstock` command: the list of commands, and the entry point. A command's file is imported when it is asked for."""

import importlib
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from penstock import __version__

GROUPS: dict[str, dict[str, str]] = {
    "serve": {
        "up": "Start a gateway with workers on this machine.",
        "gateway": "Start a gateway that workers join.",
        "worker": "Start a worker that joins a gateway.",
        "runner": "Start a runner, which executes tasks.",
        "stream": "Start a stream, which runs Kafka or NATS messages as tasks.",
        "migrate": "Create or update the schema of the store.",
        "backup": "Save everything in one file, while Penstock runs.",
        "restore": "Make an installation from a backup.",
        "admin": "The way back in: reset the administrator, release a copy.",
    },
    "work": {
        "chat": "Chat with a model, or send one prompt.",
        "batch": "Batches: run a file of requests, list, show, cancel, results.",
        "tasks": "Tasks: submit, list, show, logs, watch, cancel, retry, clone, export.",
        "queues": "Queues of tasks: list, pause, resume, limit.",
        "schedules": "Schedules: create, list, show, pause, resume, remove.",
    },
    "manage": {
        "keys": "API keys: create, list, show, rotate, update, revoke.",
        "orgs": "Organisations: list, create, show, update; plans.",
        "tokens": "Join tokens for workers and runners: create, list, revoke.",
        "models": "Models: list, show, price, alias, remove.",
        "policy": "The policy: show, versions, diff, rollback.",
        "apply": "Apply a policy file; --dry-run shows what it would change.",
        "workers": "Workers and upstreams: list, show, add, remove, drain, resume.",
        "runners": "Runners: list, drain, resume, remove.",
        "plans": "Plans: list. Change them with the policy.",
        "profiles": "Saved connections to gateways: list, save, use, remove.",
    },
    "inspect": {
        "usage": "Requests, tokens and cost by organisation, key, model or day.",
        "explain": "Explain a request: its worker, its waiting time, its limits.",
        "decisions": "Decisions: list the latest requests, the refused ones too.",
        "doctor": "Check gateway, store, workers, port, disk, clock and profiles.",
        "simulate": "Simulate traffic on a virtual clock: scenarios, what-if.",
        "bench": "Measure the gateway with a small load.",
        "openapi": "Print the OpenAPI document of /v1 and /api.",
        "env-example": "Print every setting as an environment file.",
    },
}
"""Folder of `cli/commands/` -> command -> one line of help."""
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
_FAST = ("up", "gateway")
"""Worth compiled modules."""


class Commands(TyperGroup):
    """Names and one line each are known here, so that `--help` and completion import no command."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _FAST and not os.environ.get("PENSTOCK_INTERPRETED"):
            from penstock.base import compiled

            compiled.use()
        folder = next(folder for folder, commands in GROUPS.items() if cmd_name in commands)
        module = importlib.import_module(f"penstock.cli.commands.{folder}.{cmd_name.replace('-', '_')}")
        return typer.main.get_command(module.app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for folder, commands in GROUPS.items():
            with formatter.section(f"Commands: {folder}"):
                formatter.write_dl(list(commands.items()))


# Plain help text: Rich costs more at start than everything else of `--help` together.
app = typer.Typer(name="penstock", cls=Commands, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """One multi-tenant, OpenAI-compatible inference cloud from any mix of machines and engines."""


def main() -> None:
    app(prog_name="penstock")
