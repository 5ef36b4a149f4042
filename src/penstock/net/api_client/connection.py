"""Which gateway to talk to, and with which key: for the CLI and for programs."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from penstock.base import profiles
from penstock.base.task_connection import task_connection
from penstock.net.trust import Trust

CA_FILE_VARIABLE = "PENSTOCK_CA_FILE"
DEFAULT_BASE_URL = "http://127.0.0.1:8080/v1"

_LOOPBACK = {"127.0.0.1": "all://127.0.0.1", "localhost": "all://localhost", "::1": "all://[::1]"}
"""Names of this machine, each with httpx's pattern for it."""


class NotAnAddress(ValueError):
    """What should be a gateway's address is not one; the message quotes it."""


class UnknownProfile(LookupError):
    """There is no profile of that name; the message lists those that there are."""

    def __str__(self) -> str:
        return str(self.args[0])  # a LookupError may quote its argument


@dataclass(frozen=True, slots=True)
class GatewayConnection:
    root: str
    """The gateway's address without `/v1`."""
    api_key: str = field(repr=False)
    address_from: str
    key_from: str
    trust: Trust = Trust()

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"


@dataclass(frozen=True, slots=True)
class ConnectionFlags:
    """What the command line or the program says."""

    profile: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class _ConnectionSource:
    name: str
    base_url: str
    api_key: str = field(repr=False)
    key_goes_anywhere: bool = False
    """False: the key is only for this source's own address, so that it never reaches another server."""
    trust: Trust = Trust()


def resolve(wish: ConnectionFlags, environment: Mapping[str, str], path: Path) -> GatewayConnection:
    """Flags > environment > profile > OpenAI's variables; a profile that is named goes before the environment.

    Raises UnknownProfile, NotAnAddress, and ProfileProblem when the file cannot be read.
    """
    sources = _sources(wish, environment, profiles.read(path), path)
    default = _ConnectionSource("default", DEFAULT_BASE_URL, "")
    address = next((source for source in sources if source.base_url), default)
    root = root_of(address.base_url)
    holder = next((source for source in sources if source.api_key and _fits(source, root)), None)
    # A certificate file belongs to an address, as a key does; one that was named for this call goes before it.
    named = next((source.trust for source in sources if source.trust and (source.key_goes_anywhere or _fits(source, root))), Trust())
    return GatewayConnection(root, holder.api_key if holder else "", address.name, holder.name if holder else "", named)


def resolve_here(wish: ConnectionFlags) -> GatewayConnection:
    """Inside a task the task's own connection, else with this process's environment and this user's profiles. Raises as `resolve`."""
    inside = task_connection()
    if inside is not None and inside.base_url and wish == ConnectionFlags():
        trust = Trust(_path(inside.ca_file), _path(inside.pin_file))
        return GatewayConnection(root_of(inside.base_url), inside.api_key, "task", "task", trust)
    return resolve(wish, os.environ, profiles.default_path())


def root_of(base_url: str) -> str:
    """`http://host:8080` of `http://host:8080/v1/`. Raises NotAnAddress when it is not an HTTP address."""
    if not base_url.startswith(("http://", "https://")):
        raise NotAnAddress(f"{base_url!r} is not an address: it must begin with http:// or https://")
    return base_url.rstrip("/").removesuffix("/v1")


def request_headers(connection: GatewayConnection, user_agent: str) -> dict[str, str]:
    headers = {"user-agent": user_agent}
    if connection.api_key:
        headers["authorization"] = f"Bearer {connection.api_key}"
    return headers


def around_proxies(connection: GatewayConnection) -> dict[str, None]:
    """For httpx's `mounts`: a proxy of the environment is never the way to this machine itself."""
    pattern = _LOOPBACK.get(urlsplit(connection.root).hostname or "")
    return {pattern: None} if pattern else {}


def verified_by(connection: GatewayConnection) -> ssl.SSLContext | bool:
    """For httpx's `verify`. Raises TrustProblem."""
    return connection.trust.context() if connection.trust and connection.root.startswith("https:") else True


def _fits(source: _ConnectionSource, root: str) -> bool:
    return root_of(source.base_url) == root if source.base_url else source.key_goes_anywhere


def _sources(wish: ConnectionFlags, environment: Mapping[str, str], book: profiles.ProfileBook, path: Path) -> list[_ConnectionSource]:
    flags = _ConnectionSource("flag", wish.base_url or "", wish.api_key or "", key_goes_anywhere=True, trust=Trust(wish.ca_file))
    variables = _ConnectionSource(
        "environment",
        environment.get("PENSTOCK_BASE_URL", ""),
        environment.get("PENSTOCK_API_KEY", ""),
        key_goes_anywhere=True,
        trust=Trust(_path(environment.get(CA_FILE_VARIABLE, ""))),
    )
    openai = _ConnectionSource("OPENAI_* environment", environment.get("OPENAI_BASE_URL", ""), environment.get("OPENAI_API_KEY", ""))
    if wish.profile:
        return [flags, _named(wish.profile, book, path), variables, openai]
    chosen = [_named(book.default, book, path)] if book.default in book.profiles else []
    return [flags, variables, *chosen, openai]


def _named(name: str, book: profiles.ProfileBook, path: Path) -> _ConnectionSource:
    profile = book.profiles.get(name)
    if profile is None:
        known = ", ".join(sorted(book.profiles)) or "none"
        raise UnknownProfile(f"there is no profile {name!r} in {path} (there are: {known})")
    trust = Trust(_path(profile.ca_file), _path(profile.pin_file))
    return _ConnectionSource(f"profile {name}", profile.base_url, profile.api_key, trust=trust)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
