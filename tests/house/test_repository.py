"""What may not be in the repository: somebody's machine, somebody's registry, an address outside this machine."""

import ipaddress
import re
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.sources import ROOT, shown, text, tracked

LOCKS = [path for path in tracked() if path.suffix == ".lock" or path.name == "package-lock.json"]

# Written in two parts, so that this file does not hold what it looks for.
REGISTRIES = ("pypi." + "org", "pythonhosted." + "org", "npmjs." + "org", "npmjs." + "com", "yarnpkg." + "com", "crates." + "io")
MACHINE_PATHS = re.compile(r"(?<![\w.$}/])/(?:work|root|home/\w+|Users/\w+|opt/\w+|mnt/\w+|builds?/\w+)(?=/)")
ADDRESS = re.compile(r"(?<![\w.=-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])")

# Ranges that reach nobody from here: this machine, none, documentation (RFC 5737), what examples of allow-lists are made of, and the
# link-local and multicast addresses that tests see refused.
HARMLESS = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "127.0.0.0/8",
        "0.0.0.0/32",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "10.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
    )
)


def _found(needle: re.Pattern[str] | str) -> list[str]:
    pattern = needle if isinstance(needle, re.Pattern) else re.compile(re.escape(needle))
    return [f"{shown(path)}: {match.group()}" for path in tracked() for match in pattern.finditer(text(path))]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_no_registry_is_named(registry: str) -> None:
    assert _found(registry) == []


def test_no_path_of_a_machine() -> None:
    assert _found(MACHINE_PATHS) == []


def test_no_address_outside_this_machine() -> None:
    def harmless(literal: str) -> bool:
        try:
            address = ipaddress.IPv4Address(literal)
        except ValueError:
            return True  # not an address
        return any(address in network for network in HARMLESS)

    assert [hit for hit in _found(ADDRESS) if not harmless(hit.rpartition(" ")[2])] == []


def test_locks_name_no_address() -> None:
    assert {shown(path) for path in LOCKS} >= {"requirements/run.lock", "requirements/dev.lock", "web/package-lock.json"}
    where = re.compile(r'"resolved"|--(?:extra-)?index-url|--find-links|^\S+ @ ', re.MULTILINE)
    assert {shown(lock): found for lock in LOCKS if (found := where.findall(text(lock)))} == {}


def test_every_locked_python_package_has_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        pins = re.findall(r"^\S+==.*$", text(lock), re.MULTILINE)
        assert pins
        assert [pin for pin in pins if not pin.endswith("\\")] == [], f"{lock.name}: a pin without a hash"


def test_requirement_with_an_extra_is_locked_with_the_extra() -> None:
    """Else pip 23, which comes with Debian 12, takes the newest release for it, whose hashes no lock has."""
    pins = re.findall(r"^([\w.-]+)(?:\[(.*)\])?==", text(ROOT / "requirements" / "dev.lock"), re.MULTILINE)
    locked = {name: set(extras.replace(" ", "").split(",")) for name, extras in pins}
    wanted = [Requirement(line) for name in locked for line in _requirements(name) if "extra ==" not in line]
    wanted = [one for one in wanted if one.extras and (one.marker is None or one.marker.evaluate())]
    assert wanted, "coverage[toml] at least"
    assert [str(one) for one in wanted if not one.extras <= locked[canonicalize_name(one.name)]] == []


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # for another system
        return []


def test_smaller_locks_agree_with_the_large_one() -> None:
    """One environment holds them all: `make up` and `make test` share .venv."""

    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", text(ROOT / "requirements" / name), re.MULTILINE))

    dev = pins("dev.lock")
    for name in ("run.lock", "build.lock"):
        assert {package: version for package, version in pins(name).items() if dev.get(package, version) != version} == {}
