"""How the members of a family are found: modules of its package, and entry points of its public group."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.base import family
from penstock.base.family import GROUPS, Family, UnknownMember
from tests.support.sources import PACKAGE

POLICIES: Family[object] = Family("penstock.serving.routing.policies")


def install(folder: Path, group: str, name: str, value: str = "a made member") -> None:
    """A distribution with one entry point, as an installer leaves it behind."""
    (folder / "fake_members.py").write_text(f"MEMBER = {value!r}\n")
    info = folder / "fake_members-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-members\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = fake_members:MEMBER\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which installed distributions are looked for."""
    monkeypatch.syspath_prepend(str(tmp_path))
    family._entry_points.cache_clear()
    yield tmp_path
    family._entry_points.cache_clear()
    sys.modules.pop("fake_members", None)


def test_groups_keep_the_names_that_other_distributions_use() -> None:
    assert GROUPS == {
        "penstock.compute.engines": "penstock.engines",
        "penstock.compute.transport": "penstock.transport",
        "penstock.processes.runner.kinds": "penstock.runner.kinds",
        "penstock.processes.streams.brokers": "penstock.streams.brokers",
        "penstock.serving.routing.policies": "penstock.routing.policies",
        "penstock.storage.blobs": "penstock.blobs",
        "penstock.storage.state": "penstock.state",
        "penstock.storage.stores": "penstock.stores",
    }


@pytest.mark.parametrize("package", GROUPS)
def test_every_family_is_a_package_with_a_member(package: str) -> None:
    assert (PACKAGE / Path(*package.split(".")[1:]) / "__init__.py").exists()
    assert Family[object](package).names() != []


@pytest.mark.parametrize(("package", "group"), GROUPS.items())
def test_entry_point_of_the_group_is_a_member_of_the_family(package: str, group: str, site: Path) -> None:
    install(site, group, "fake")
    found: Family[object] = Family(package)
    assert "fake" in found.names()
    assert found.member("fake") == "a made member"


def test_entry_point_of_another_group_is_not_a_member(site: Path) -> None:
    install(site, "penstock.serving.routing.policies", "fake")  # the package's name is not the group's
    assert "fake" not in POLICIES.names()
    with pytest.raises(UnknownMember):
        POLICIES.member("fake")


def test_entry_point_goes_before_a_module_of_the_same_name(site: Path) -> None:
    install(site, "penstock.routing.policies", "round_robin")
    assert POLICIES.member("round_robin") == "a made member"
    assert POLICIES.names().count("round_robin") == 1


@pytest.mark.usefixtures("site")
def test_names_are_sorted_and_leave_out_private_modules_and_packages() -> None:
    stores: Family[object] = Family("penstock.storage.stores")
    assert stores.names() == ["postgres", "sqlite"]
    assert POLICIES.names() == sorted(POLICIES.names())


@pytest.mark.parametrize("name", ["missing", "_store", "sql", "__init__", ""])
@pytest.mark.usefixtures("site")
def test_an_unknown_name_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(UnknownMember, match=f"there is no {name!r} in stores; there are: postgres, sqlite"):
        Family[object]("penstock.storage.stores").member(name)
