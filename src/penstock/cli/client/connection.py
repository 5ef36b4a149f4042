"""Which gateway to talk to, and with which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.base import profiles
from penstock.cli.exits import ExitCode, Failed
from penstock.net.trust import Trust

CA_FILE_VARIABLE = "PENSTOCK_CA_FILE"
DEFAULT_BASE_URL = "http://127.0.0.1:8080/v1"


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
    """What the command line says."""

    profile: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    base_url: str
    api_key: str = field(repr=False)
    key_goes_anywhere: bool = False
    """False: the key is only for this source's own address, so that it never reaches another server."""
    trust: Trust = Trust()


def resolve(wish: ConnectionFlags, environment: Mapping[str, str], path: Path) -> GatewayConnection:
    """Flags > environment > profile > OpenAI's variables; a profile named on the command line goes before the environment.

    Raises Failed when the named profile is not there, ProfileProblem when the file cannot be read.
    """
    sources = _sources(wish, environment, profiles.read(path), path)
    default = _Source("default", DEFAULT_BASE_URL, "")
    address = next((source for source in sources if source.base_url), default)
    root = root_of(address.base_url)
    holder = next((source for source in sources if source.api_key and _fits(source, root)), None)
    # A certificate file belongs to an address, as a key does; one that was named for this call goes before it.
    named = next((source.trust for source in sources if source.trust and (source.key_goes_anywhere or _fits(source, root))), Trust())
    return GatewayConnection(root, holder.api_key if holder else "", address.name, holder.name if holder else "", named)


def root_of(base_url: str) -> str:
    """`http://host:8080` of `http://host:8080/v1/`. Raises Failed when it is not an HTTP address."""
    if not base_url.startswith(("http://", "https://")):
        raise Failed(f"{base_url!r} is not an address: it must begin with http:// or https://", ExitCode.USAGE)
    return base_url.rstrip("/").removesuffix("/v1")


def _fits(source: _Source, root: str) -> bool:
    return root_of(source.base_url) == root if source.base_url else source.key_goes_anywhere


def _sources(wish: ConnectionFlags, environment: Mapping[str, str], book: profiles.ProfileBook, path: Path) -> list[_Source]:
    flags = _Source("flag", wish.base_url or "", wish.api_key or "", key_goes_anywhere=True, trust=Trust(wish.ca_file))
    variables = _Source(
        "environment",
        environment.get("PENSTOCK_BASE_URL", ""),
        environment.get("PENSTOCK_API_KEY", ""),
        key_goes_anywhere=True,
        trust=Trust(_path(environment.get(CA_FILE_VARIABLE, ""))),
    )
    openai = _Source("OPENAI_* environment", environment.get("OPENAI_BASE_URL", ""), environment.get("OPENAI_API_KEY", ""))
    if wish.profile:
        return [flags, _named(wish.profile, book, path), variables, openai]
    chosen = [_named(book.default, book, path)] if book.default in book.profiles else []
    return [flags, variables, *chosen, openai]


def _named(name: str, book: profiles.ProfileBook, path: Path) -> _Source:
    profile = book.profiles.get(name)
    if profile is None:
        known = ", ".join(sorted(book.profiles)) or "none"
        raise Failed(f"there is no profile {name!r} in {path} (there are: {known})", ExitCode.NOT_FOUND)
    trust = Trust(_path(profile.ca_file), _path(profile.pin_file))
    return _Source(f"profile {name}", profile.base_url, profile.api_key, trust=trust)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
