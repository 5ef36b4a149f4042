"""`penstock profiles`: named connections on this machine."""

from typing import Annotated

import typer

from penstock.base import profiles
from penstock.base.profiles import Profile
from penstock.cli.client.connection import root_of
from penstock.cli.command import CaFileOption, JsonOption, command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.tables import Output

app = group("Saved connections to gateways: list, save, use, remove.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@app.command("list", epilog="Example: penstock profiles list")
@command
def list_profiles(json_output: JsonOption = False) -> None:
    """List the profiles. Keys are not shown."""
    path = profiles.default_path()
    book = profiles.read(path)
    data = [
        {"name": name, "base_url": profile.base_url, "has_key": bool(profile.api_key), "default": name == book.default}
        for name, profile in book.profiles.items()
    ]
    Output(json_output).table(
        {"path": str(path), "data": data}, ("name", "address", "key", "default"), [tuple(entry.values()) for entry in data]
    )


@app.command(epilog="Example: penstock profiles save work --base-url https://ai.example.org/v1 --default")
@command
def save(
    name: Name,
    base_url: Annotated[str, typer.Option("--base-url", metavar="URL", help="Address of the gateway, for example https://host/v1.")],
    api_key: Annotated[str, typer.Option("--api-key", envvar="PENSTOCK_API_KEY", metavar="KEY", help="API key. [asked for]")] = "",
    ca_file: CaFileOption = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default profile.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Add or replace a profile."""
    address = f"{root_of(base_url)}/v1"
    secret = api_key or typer.prompt("API key", hide_input=True, err=True)
    path = profiles.default_path()
    book = profiles.read(path).with_profile(
        name, Profile(address, secret, str(ca_file.absolute()) if ca_file else ""), make_default=default
    )
    profiles.write(path, book)
    Output(json_output).done(f"saved {name} in {path}")


@app.command(epilog="Example: penstock profiles use work")
@command
def use(name: Name, json_output: JsonOption = False) -> None:
    """Make a profile the default."""
    path = profiles.default_path()
    book = profiles.read(path)
    if name not in book.profiles:
        raise Failed(f"there is no profile {name!r} in {path}", ExitCode.NOT_FOUND)
    profiles.write(path, book.with_profile(name, book.profiles[name], make_default=True))
    Output(json_output).done(f"{name} is the default")


@app.command(epilog="Example: penstock profiles remove work")
@command
def remove(name: Name, json_output: JsonOption = False) -> None:
    """Remove a profile. Its key stays valid."""
    path = profiles.default_path()
    book = profiles.read(path)
    if name not in book.profiles:
        raise Failed(f"there is no profile {name!r} in {path}", ExitCode.NOT_FOUND)
    profiles.write(path, book.without(name))
    Output(json_output).done(f"removed {name}; its key stays valid (`penstock keys revoke` revokes one)")
