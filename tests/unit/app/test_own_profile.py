"""`penstock up` writes the profile of its own platform, and leaves those of others alone."""

from pathlib import Path

import pytest

from penstock.app.up.own_profile import ProfileTaken, save
from penstock.base import profiles
from penstock.base.profiles import Profile, ProfileBook

DEFAULT = Path("/data/penstock")
LAB = Path("/data/lab")


def ours(data_dir: Path, port: int = 8080, key: str = "psk-1") -> Profile:
    return Profile(f"http://127.0.0.1:{port}/v1", key, data_dir=str(data_dir))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profiles.toml"


def test_names_come_from_the_data_directory_and_the_first_stays_the_default(path: Path) -> None:
    assert save(path, "", ours(DEFAULT), DEFAULT) == "default"
    assert save(path, "", ours(LAB, 9000, "psk-2"), DEFAULT) == "lab"
    assert profiles.read(path) == ProfileBook("default", {"default": ours(DEFAULT), "lab": ours(LAB, 9000, "psk-2")})


def test_later_start_without_a_key_keeps_the_known_one_and_the_authority_that_a_person_added(path: Path) -> None:
    profiles.write(path, ProfileBook().with_profile("lab", Profile("http://old/v1", "psk-2", "ca.pem", "", str(LAB))))
    assert save(path, "", ours(LAB, 9001, ""), DEFAULT) == "lab"
    assert profiles.read(path).profiles == {"lab": Profile("http://127.0.0.1:9001/v1", "psk-2", "ca.pem", "", str(LAB))}


def test_without_any_key_nothing_is_written(path: Path) -> None:
    assert save(path, "", ours(LAB, key=""), DEFAULT) == ""
    assert not path.exists()


def test_directory_of_the_same_name_gets_the_next_free_profile(path: Path) -> None:
    save(path, "", ours(LAB), DEFAULT)
    elsewhere = Path("/srv/lab")
    assert save(path, "", ours(elsewhere, 9000), DEFAULT) == "lab-2"
    assert save(path, "", ours(elsewhere, 9001), DEFAULT) == "lab-2"
    assert profiles.read(path).profiles == {"lab": ours(LAB), "lab-2": ours(elsewhere, 9001)}


def test_profile_that_a_person_saved_is_not_touched(path: Path) -> None:
    work = Profile("https://ai.example.org/v1", "psk-9")
    profiles.write(path, ProfileBook().with_profile("default", work))
    assert save(path, "", ours(DEFAULT), DEFAULT) == "default-2"
    with pytest.raises(ProfileTaken, match=r"'default' belongs to https://ai.example.org/v1"):
        save(path, "default", ours(DEFAULT), DEFAULT)
    assert profiles.read(path).profiles["default"] == work


def test_wanted_name_is_used_and_refused_for_another_directory(path: Path) -> None:
    assert save(path, "try", ours(LAB), DEFAULT) == "try"
    with pytest.raises(ProfileTaken, match="belongs to /data/lab"):
        save(path, "try", ours(DEFAULT), DEFAULT)


def test_profile_of_an_earlier_version_is_taken_over_for_the_default_directory_alone(path: Path) -> None:
    profiles.write(path, ProfileBook().with_profile("local", Profile("http://127.0.0.1:8080/v1", "psk-1")))
    assert save(path, "", ours(LAB, 9000, "psk-2"), DEFAULT) == "lab"
    assert save(path, "", ours(DEFAULT, key=""), DEFAULT) == "local"
    assert profiles.read(path).profiles["local"] == ours(DEFAULT)
