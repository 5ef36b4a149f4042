import hashlib
import hmac
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.keys import API_KEY, JOIN_TOKEN, digest, hint, new_secret, well_formed


@pytest.mark.parametrize("prefix", [API_KEY, JOIN_TOKEN])
def test_a_new_secret_is_well_formed_under_its_own_prefix_only(prefix: str) -> None:
    secret = new_secret(prefix)
    assert well_formed(secret, prefix)
    assert not well_formed(secret, JOIN_TOKEN if prefix == API_KEY else API_KEY)


def test_a_secret_has_at_least_160_random_bits() -> None:
    random_chars = len(new_secret(API_KEY)) - len(API_KEY) - 6
    assert random_chars * math.log2(62) >= 160


def test_new_secrets_differ_from_each_other() -> None:
    assert len({new_secret(API_KEY) for _ in range(1000)}) == 1000


def test_a_changed_character_breaks_the_checksum() -> None:
    secret = new_secret(API_KEY)
    for place in range(len(API_KEY), len(secret)):
        other = "a" if secret[place] != "a" else "b"
        assert not well_formed(secret[:place] + other + secret[place + 1 :], API_KEY)


@pytest.mark.slow
@given(st.text())
def test_noise_is_refused_without_an_error(text: str) -> None:
    assert not well_formed(text, API_KEY)
    assert not well_formed(API_KEY + text, API_KEY)


@pytest.mark.parametrize("tail", ["é" * 38, "-" * 38, "0" * 37, "0" * 39, "zzzzzz".rjust(38, "z")])
def test_wrong_shapes_are_refused(tail: str) -> None:
    assert not well_formed(API_KEY + tail, API_KEY)


def test_the_digest_is_hmac_sha256_and_needs_the_secret_key() -> None:
    assert digest(b"k" * 32, "psk-x") == hmac.new(b"k" * 32, b"psk-x", hashlib.sha256).digest()
    assert digest(b"k" * 32, "psk-x") != digest(b"j" * 32, "psk-x")


def test_the_hint_is_a_short_beginning() -> None:
    secret = new_secret(API_KEY)
    assert secret.startswith(hint(secret))
    assert len(hint(secret)) == len(API_KEY) + 4
