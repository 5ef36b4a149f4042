"""A key in use is changed as asked, and never to something wider than the key that changes it."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.accounts.key_changes import KeyChanges
from penstock.domain.errors import BadRequest, PermissionDenied
from penstock.domain.principal import KeyRecord, Scope

NOW = 1000.0
KEY = KeyRecord("key_1", "org_1", "laptop", b"d", "psk-1", frozenset({Scope.INFERENCE}), 1.0, 5000.0, None, ("10.0.0.0/8",), 60, 600)


def changed(own: KeyRecord | None = None, **changes: Any) -> KeyRecord:
    return KeyChanges(**changes).applied(KEY, own, NOW)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, {}),
        ({"name": "  server "}, {"name": "server"}),
        ({"expires_in_seconds": 10.0}, {"expires_at": 1010.0}),
        ({"expires_in_seconds": 0}, {"expires_at": None}),
        ({"allowed_networks": ("192.0.2.1",)}, {"allowed_networks": ("192.0.2.1/32",)}),
        ({"allowed_networks": ()}, {"allowed_networks": ()}),
        ({"requests_per_minute": 5}, {"requests_per_minute": 5}),
        ({"requests_per_minute": 0, "tokens_per_minute": 0}, {"requests_per_minute": None, "tokens_per_minute": None}),
    ],
    ids=["nothing", "name", "expiry", "no-expiry", "networks", "any-network", "limit", "no-limits"],
)
def test_only_what_is_given_changes(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    assert changed(**changes) == replace(KEY, **fields)


@pytest.mark.parametrize(
    ("own", "changes"),
    [
        ({"expires_at": 2000.0}, {"expires_in_seconds": 5000.0}),
        ({"allowed_networks": ("10.0.0.0/8",)}, {"allowed_networks": ("192.0.2.0/24",)}),
        ({"requests_per_minute": 60}, {"requests_per_minute": 61}),
        ({"tokens_per_minute": 100}, {}),
    ],
    ids=["longer", "elsewhere", "more", "already-wider"],
)
def test_key_does_not_become_wider_than_the_one_that_changes_it(own: dict[str, Any], changes: dict[str, Any]) -> None:
    free = KeyRecord("key_2", "org_1", "mine", b"e", "psk-2", frozenset(Scope), 1.0)
    with pytest.raises(PermissionDenied):
        changed(replace(free, **own), **changes)


def test_removed_limit_falls_back_to_that_of_the_key_that_removes_it() -> None:
    own = KeyRecord("key_2", "org_1", "mine", b"e", "psk-2", frozenset(Scope), 1.0, requests_per_minute=70)
    assert changed(own, requests_per_minute=0).requests_per_minute == 70


def test_name_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest):
        changed(name="  ")
