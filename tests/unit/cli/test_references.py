"""What people write for a thing leads to its id, or to a sentence that says why not."""

from typing import Any

import pytest

from penstock.cli.client.references import choose
from penstock.cli.exits import ExitCode, Failed

KEYS: list[dict[str, Any]] = [
    {"id": "key_01aaaaaaaaaaaaaaaaaaaaaaaa", "name": "laptop", "hint": "psk-Shwn", "revoked_at": None},
    {"id": "key_01aabbbbbbbbbbbbbbbbbbbbbb", "name": "server", "hint": "psk-Q1x2", "revoked_at": None},
    {"id": "key_01cccccccccccccccccccccccc", "name": "server", "hint": "psk-9z9z", "revoked_at": 5.0},
    {"id": "key_01dddddddddddddddddddddddd", "name": "twin", "hint": "psk-aaaa", "revoked_at": None},
    {"id": "key_01eeeeeeeeeeeeeeeeeeeeeeee", "name": "twin", "hint": "psk-bbbb", "revoked_at": None},
]


@pytest.mark.parametrize(
    ("wanted", "place"),
    [(KEYS[1]["id"], 1), ("laptop", 0), ("key_01c", 2), ("psk-Q1x2", 1), ("psk-Q1x2wholesecret", 1), ("server", 1)],
    ids=["id", "name", "prefix", "hint", "secret", "name-in-use"],
)
def test_reference_finds_the_one_thing(wanted: str, place: int) -> None:
    assert choose(KEYS, wanted, "key") == KEYS[place]["id"]


def test_ambiguous_reference_names_what_it_fits() -> None:
    with pytest.raises(Failed, match=r"'twin' fits 2 of them: key_01ddd.* \(twin\), key_01eee.* \(twin\)") as raised:
        choose(KEYS, "twin", "key")
    assert raised.value.exit_code is ExitCode.USAGE


def test_unknown_name_is_not_found() -> None:
    with pytest.raises(Failed, match="there is no key 'nothing'; give its id, the start of its id, or its name") as raised:
        choose(KEYS, "nothing", "key")
    assert raised.value.exit_code is ExitCode.NOT_FOUND


def test_id_that_is_not_listed_is_left_to_the_gateway() -> None:
    assert choose(KEYS, "key_9", "key") == "key_9"
