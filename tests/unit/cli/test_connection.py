"""Which gateway, which key; and that a key never goes to a server that it is not for."""

from pathlib import Path

import pytest

from penstock.base import profiles
from penstock.base.profiles import Profile, ProfileBook, ProfileProblem
from penstock.cli.client.connection import resolve, root_of
from penstock.cli.exits import ExitCode, Failed
from penstock.net.api_client.connection import ConnectionFlags

OPENAI = {"OPENAI_BASE_URL": "http://openai/v1", "OPENAI_API_KEY": "k-openai"}
NOTHING = ConnectionFlags()
OURS = {"PENSTOCK_BASE_URL": "http://env/v1", "PENSTOCK_API_KEY": "k-env"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    book = (
        ProfileBook()
        .with_profile("local", Profile("http://local/v1", "k-local"))
        .with_profile("other", Profile("http://other/v1", "k-other"))
    )
    profiles.write(tmp_path / "profiles.toml", book)
    return tmp_path / "profiles.toml"


def chosen(path: Path, wish: ConnectionFlags = NOTHING, /, **environment: str) -> tuple[str, str]:
    connection = resolve(wish, environment, path)
    return connection.root, connection.api_key


def test_address_and_key_sources_have_their_precedence(path: Path, tmp_path: Path) -> None:
    assert chosen(path, ConnectionFlags(base_url="http://flag", api_key="k-flag"), **OURS, **OPENAI) == ("http://flag", "k-flag")
    assert chosen(path, NOTHING, **OURS, **OPENAI) == ("http://env", "k-env")
    assert chosen(path, NOTHING, **OPENAI) == ("http://local", "k-local")
    assert chosen(path, ConnectionFlags(profile="other"), **OURS, **OPENAI) == ("http://other", "k-other")
    assert chosen(tmp_path / "none", NOTHING, **OPENAI) == ("http://openai", "k-openai")
    assert chosen(tmp_path / "none") == ("http://127.0.0.1:8080", "")


def test_a_key_is_sent_only_to_its_own_server(path: Path, tmp_path: Path) -> None:
    assert chosen(path, ConnectionFlags(base_url="http://elsewhere/v1")) == ("http://elsewhere", "")
    assert chosen(path, PENSTOCK_BASE_URL="http://elsewhere/v1") == ("http://elsewhere", "")
    assert chosen(tmp_path / "none", ConnectionFlags(base_url="http://elsewhere/v1"), **OPENAI) == ("http://elsewhere", "")
    assert chosen(tmp_path / "none", OPENAI_API_KEY="k-openai") == ("http://127.0.0.1:8080", "")
    assert chosen(path, ConnectionFlags(base_url="http://local/v1/")) == ("http://local", "k-local")


def test_penstock_api_key_without_address_uses_the_chosen_address(path: Path) -> None:
    assert chosen(path, ConnectionFlags(api_key="k-flag")) == ("http://local", "k-flag")
    assert chosen(path, ConnectionFlags(profile="other", api_key="k-flag")) == ("http://other", "k-flag")
    assert chosen(path, PENSTOCK_API_KEY="k-env") == ("http://local", "k-env")


def test_unknown_profile_lists_the_known_ones(path: Path) -> None:
    with pytest.raises(Failed, match="there are: local, other") as raised:
        resolve(ConnectionFlags(profile="work"), {}, path)
    assert raised.value.exit_code is ExitCode.NOT_FOUND


def test_address_without_http_scheme_is_a_usage_error() -> None:
    with pytest.raises(Failed) as raised:
        root_of("localhost:8080")
    assert raised.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("text", ["default = [", "default = 1\n", "profiles = 1\n", "[profiles.a]\n", "[profiles.a]\nbase_url = 1\n"])
def test_broken_profile_file_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    with pytest.raises(ProfileProblem, match=r"profiles\.toml"):
        profiles.read(path)


def test_profile_of_up_does_not_change_the_chosen_default(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profiles.toml"
    for name, profile in (
        ("local", Profile("http://a/v1", "k1")),
        ("second", Profile("http://b/v1", "k2")),
        ("local", Profile("http://c/v1", "k3")),
    ):
        profiles.write(path, profiles.read(path).with_profile(name, profile))
    book = profiles.read(path)
    assert (book.default, dict(book.profiles)) == ("local", {"local": Profile("http://c/v1", "k3"), "second": Profile("http://b/v1", "k2")})
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_repr_hides_the_key() -> None:
    assert "hush" not in repr(ProfileBook().with_profile("a", Profile("http://a/v1", "hush")))
    assert "hush" not in repr(resolve(ConnectionFlags(api_key="hush"), {}, Path("none")))
