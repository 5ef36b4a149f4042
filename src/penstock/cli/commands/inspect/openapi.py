"""`penstock openapi`: the description of the HTTP APIs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock openapi --output openapi.json")
@command
def openapi(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON, as always.", hidden=True)] = False,
) -> None:
    """Print the OpenAPI document of /v1 and /api."""
    from penstock.app import openapi as app

    text = json.dumps(app.document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
