"""Who a worker is, over restarts."""

import base64
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from penstock.base import identity


def test_a_worker_that_comes_back_is_the_same(tmp_path: Path) -> None:
    first = identity.load(tmp_path / "state")
    first.close()
    second = identity.load(tmp_path / "state")
    assert (first.public_key, first.secret) == (second.public_key, second.secret)
    assert len(first.public_key) == 32
    assert len(first.secret) >= 32
    second.close()


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    identity.load(tmp_path / "state").close()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert (modes["identity.key"], modes["dial.secret"]) == (0o600, 0o600)


def test_two_processes_cannot_be_the_same_worker(tmp_path: Path) -> None:
    first = identity.load(tmp_path)
    with pytest.raises(identity.IdentityInUse, match="one of its own"):
        identity.load(tmp_path)
    first.close()


def test_a_signature_covers_method_path_time_nonce_and_body(tmp_path: Path) -> None:
    one = identity.load(tmp_path)
    headers = one.sign("POST", "/api/workers/join", b"{}", now=1234.9)
    one.close()
    assert headers[identity.TIMESTAMP_HEADER] == "1234"
    signature = base64.b64decode(headers[identity.SIGNATURE_HEADER])
    public = Ed25519PublicKey.from_public_bytes(one.public_key)
    sha = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    nonce = headers[identity.NONCE_HEADER]
    public.verify(signature, f"POST\n/api/workers/join\n1234\n{nonce}\n{sha}".encode())
    with pytest.raises(InvalidSignature):
        public.verify(signature, identity.signed_text("POST", "/api/workers/join", "1234", nonce, b"{} "))


def test_neither_key_nor_secret_shows(tmp_path: Path) -> None:
    one = identity.load(tmp_path)
    assert one.secret not in repr(one)
    one.close()
