"""Certificates for tests, made anew: self-signed, or signed by an authority of the test's own."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    file: Path
    """PEM; the chain where an authority signed it."""
    key_file: Path
    authority: Path | None = None
    """PEM of the authority that signed it."""


def make_certificate(
    directory: Path, name: str, *, hosts: tuple[str, ...] = (), authority: bool = False, expired: bool = False
) -> Certificate:
    """`hosts`: its subject alternative names; `authority`: signed by one of its own instead of by itself."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    signer, issuer = (ec.generate_private_key(ec.SECP256R1()), _name(f"authority of {name}")) if authority else (key, _name(name))
    made = _certificate(_name(name), key, issuer, signer, hosts, expired=expired)
    chain = made.public_bytes(serialization.Encoding.PEM)
    root_file = None
    if authority:
        root = _certificate(issuer, signer, issuer, signer, (), expired=False, is_authority=True).public_bytes(serialization.Encoding.PEM)
        root_file = directory / f"{name}-authority.pem"
        root_file.write_bytes(root)
        chain += root
    file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    file.write_bytes(chain)
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return Certificate(file, key_file, root_file)


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
    *,
    expired: bool,
    is_authority: bool = False,
) -> x509.Certificate:
    start = datetime.now(UTC) - (2 * _YEAR if expired else timedelta(days=1))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _YEAR)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
