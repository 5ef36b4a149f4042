"""A signature is good for one call: of this key, method, path, body and time."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.datastructures import Headers

from penstock.base.identity import NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Identity
from penstock.domain.errors import Unauthenticated
from penstock.edge.layers import signatures
from penstock.edge.layers.signatures import LARGEST_SKEW_SECONDS, UsedSignatures, decode_public_key, verify

NOW = 1_800_000_000.0
PATH = "/api/workers/join"
BODY = b'{"name":"gpu-1"}'
WORKER = Identity(Ed25519PrivateKey.generate(), "secret")
OTHER = Identity(Ed25519PrivateKey.generate(), "secret")


def signed(now: float = NOW, signer: Identity = WORKER) -> dict[str, str]:
    return signer.sign("POST", PATH, BODY, now)


def check(headers: dict[str, str], used: UsedSignatures | None = None, **changed: Any) -> None:
    """Raises Unauthenticated; `changed`: what the gateway sees instead of what was signed."""
    seen: dict[str, Any] = {"public_key": WORKER.public_key, "method": "POST", "path": PATH, "body": BODY, "now": NOW} | changed
    verify(
        seen["public_key"],
        seen["method"],
        seen["path"],
        Headers(headers),
        seen["body"],
        seen["now"],
        UsedSignatures() if used is None else used,
    )


def test_signature_of_the_same_call_is_accepted() -> None:
    check(signed())


def test_replayed_signature_is_refused() -> None:
    used, headers = UsedSignatures(), signed()
    check(headers, used)
    for later in (0.0, 1.0, LARGEST_SKEW_SECONDS):
        with pytest.raises(Unauthenticated, match="used before"):
            check(headers, used, now=NOW + later)


def test_same_call_signed_anew_is_accepted() -> None:
    used = UsedSignatures()
    check(signed(), used)
    check(signed(), used)


def test_forged_signature_does_not_use_up_a_good_one() -> None:
    used, headers = UsedSignatures(), signed()
    with pytest.raises(Unauthenticated):
        check(headers, used, body=b"{}")
    check(headers, used)


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "/api/workers/wrk_1/leave"},
        {"path": "/api/runners/join"},
        {"method": "GET"},
        {"method": "post"},
        {"body": b'{"name":"gpu-2"}'},
        {"body": b""},
        {"public_key": OTHER.public_key},
        {"public_key": b"\0" * 32},
        {"public_key": b""},
    ],
    ids=["path", "role", "method", "case of the method", "body", "empty body", "key of another", "key of zeros", "no key"],
)
def test_signature_of_another_call_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="does not fit"):
        check(signed(), **changed)


@pytest.mark.parametrize("header", [TIMESTAMP_HEADER, NONCE_HEADER])
def test_timestamp_and_nonce_are_part_of_what_is_signed(header: str) -> None:
    headers = signed()
    with pytest.raises(Unauthenticated, match="does not fit"):
        check(headers | {header: signed(NOW + 1)[header]})


@pytest.mark.parametrize("skew", [-LARGEST_SKEW_SECONDS - 1, LARGEST_SKEW_SECONDS + 1, -86_400.0, 86_400.0])
def test_signature_whose_clock_is_off_by_more_than_five_minutes_is_refused(skew: float) -> None:
    with pytest.raises(Unauthenticated, match="check the clocks"):
        check(signed(NOW + skew))


@pytest.mark.parametrize("skew", [-LARGEST_SKEW_SECONDS, 0.0, LARGEST_SKEW_SECONDS])
def test_signature_whose_clock_is_off_by_five_minutes_is_accepted(skew: float) -> None:
    check(signed(NOW + skew))


@pytest.mark.parametrize("missing", [TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER])
def test_call_without_one_of_the_headers_is_refused(missing: str) -> None:
    headers = signed()
    del headers[missing]
    with pytest.raises(Unauthenticated, match="needs a worker's signature"):
        check(headers)


@pytest.mark.parametrize(
    "changed",
    [
        {TIMESTAMP_HEADER: "-5"},
        {TIMESTAMP_HEADER: "1e9"},
        {TIMESTAMP_HEADER: "1" * 13},
        {TIMESTAMP_HEADER: f"{int(NOW)} "},
        {NONCE_HEADER: "short"},
        {NONCE_HEADER: "x" * 65},
        {NONCE_HEADER: "with space in the middle"},
        {SIGNATURE_HEADER: "not base64"},
        {SIGNATURE_HEADER: base64.b64encode(b"\0" * 63).decode()},
        {SIGNATURE_HEADER: base64.b64encode(b"\0" * 65).decode()},
    ],
    ids=str,
)
def test_malformed_header_is_refused_before_any_cryptography(changed: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated, match="needs a worker's signature"):
        check(signed() | changed)


def test_used_signature_is_remembered_until_it_could_not_be_good_again() -> None:
    used = UsedSignatures()
    assert used.use(b"a", NOW)
    assert not used.use(b"a", NOW + 2 * LARGEST_SKEW_SECONDS)
    assert used.use(b"a", NOW + 2 * LARGEST_SKEW_SECONDS + 1)


def test_used_signatures_are_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_MOST_REMEMBERED", 2)
    used = UsedSignatures()
    assert [used.use(each, NOW) for each in (b"a", b"b", b"c")] == [True, True, True]
    assert not used.use(b"c", NOW)


@pytest.mark.parametrize("text", ["", "!", base64.b64encode(b"\0" * 31).decode(), base64.b64encode(b"\0" * 33).decode()])
def test_public_key_that_is_not_32_bytes_is_none(text: str) -> None:
    assert decode_public_key(text) is None


def test_public_key_is_read_from_base64() -> None:
    assert decode_public_key(base64.b64encode(WORKER.public_key).decode()) == WORKER.public_key


def test_signature_with_a_character_outside_base64_is_refused() -> None:
    """Such a character would be skipped by a lenient decoder: the same signature in many spellings."""
    headers = signed()
    with pytest.raises(Unauthenticated):
        check(headers | {SIGNATURE_HEADER: f"!{headers[SIGNATURE_HEADER]}"})


def test_used_signatures_are_remembered_up_to_a_capacity_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_MOST_REMEMBERED", 2)
    used = UsedSignatures()
    assert [used.use(name, NOW) for name in (b"a", b"b")] == [True, True]
    assert list(used._until) == [b"a", b"b"]
    assert used.use(b"c", NOW)
    assert list(used._until) == [b"b", b"c"]
