"""One TLS context for everything that calls an upstream: its probe, the relay of a worker, the gateway's own calls."""

import os
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING

from penstock.net.trust import Trust

if TYPE_CHECKING:
    import ssl


class TlsProblem(ValueError):
    """A certificate or a key cannot be used; the message says which, without its content."""


@lru_cache(maxsize=256)
def upstream_tls(ca: str = "", client_certificate: str = "", client_key: str = "") -> "ssl.SSLContext":
    """The public authorities and `ca`; all three are PEM texts. Raises TlsProblem."""
    import ssl

    context = Trust().context()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise TlsProblem(f"there is no usable PEM certificate in the authorities ({_reason(error)})") from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate authority alone is enough
    if client_certificate:
        _present(context, client_certificate, client_key)
    return context


def _present(context: "ssl.SSLContext", certificate: str, key: str) -> None:
    """The module `ssl` reads them from files only: from a private one, which is removed at once."""
    import ssl

    descriptor, path = tempfile.mkstemp(prefix="penstock-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(path, password="")
    except (ssl.SSLError, ValueError) as error:
        raise TlsProblem(f"the client certificate and its key cannot be used ({_reason(error)})") from None
    finally:
        os.unlink(path)  # noqa: PTH108 - a text from mkstemp


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or type(error).__name__)
