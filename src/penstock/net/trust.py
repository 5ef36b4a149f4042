"""Which certificates a client of a gateway accepts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL; the module `ssl` has no name for it."""


class TrustProblem(Exception):
    """A file of certificates cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The public authorities, and what these files add or replace. False where there are no files."""

    ca_file: Path | None = None
    """PEM: further authorities, or a self-signed certificate. The name in the certificate must fit the address."""
    pin_file: Path | None = None
    """PEM: the one certificate that the server may present. Its name and its dates are not compared."""

    def __bool__(self) -> bool:
        return self.ca_file is not None or self.pin_file is not None

    @property
    def files(self) -> tuple[str, str]:
        """`ca_file` and `pin_file` as texts, for a message to another process; empty: none."""
        return str(self.ca_file or ""), str(self.pin_file or "")

    def context(self) -> "ssl.SSLContext":
        """Raises TrustProblem."""
        return _pinned(self.pin_file) if self.pin_file is not None else _authorities(self.ca_file)


def first_certificate(path: Path) -> str:
    """The first certificate of a chain, which is the server's own. Raises TrustProblem."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrustProblem(f"certificates {path}: {error.strerror or error}") from error
    begin = text.find(_BEGIN)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        raise TrustProblem(f"certificates {path}: there is no PEM certificate in it")
    return text[begin : end + len(_END)] + "\n"


def _authorities(ca_file: Path | None) -> "ssl.SSLContext":
    import ssl

    import httpx

    context = httpx.create_ssl_context()  # the public ones, or those of SSL_CERT_FILE
    context.set_default_verify_paths()  # and the system's
    if ca_file is not None:
        _load(context, ca_file, ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate authority alone is enough
    return context


def _pinned(pin_file: Path) -> "ssl.SSLContext":
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _load(context, first_certificate(pin_file), pin_file)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


def _load(context: "ssl.SSLContext", certificates: Path | str, path: Path) -> None:
    import ssl

    try:
        if isinstance(certificates, Path):
            context.load_verify_locations(cafile=certificates)
        else:
            context.load_verify_locations(cadata=certificates)
    except ssl.SSLError as error:
        raise TrustProblem(f"certificates {path}: there is no usable PEM certificate in it ({error.reason or error})") from error
    except OSError as error:
        raise TrustProblem(f"certificates {path}: {error.strerror or error}") from error
