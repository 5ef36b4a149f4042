"""Why a server was not reached, as a sentence that names the server."""

from collections.abc import Iterator

import httpx

_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


def unreachable(role: str, address: str, error: Exception) -> str:
    """`role`: who was called, for example "the gateway"."""
    return f"{role} at {address}: {connection_failure(error)}"


def connection_failure(error: Exception) -> str:
    """What went wrong. httpx's own text says only that all attempts failed; the reason of the system is behind it."""
    causes = list(_causes(error))
    texts = [str(cause) for cause in causes]
    if any(_CERTIFICATE in text for text in texts):
        reason = next(text for text in texts if _CERTIFICATE in text).partition("verify failed: ")[2].partition(" (_ssl")[0]
        return f"its certificate is not trusted: {reason or 'unknown authority'} (give --ca-file for a private authority)"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time" if not isinstance(error, httpx.ConnectTimeout) else "no connection in time"
    numbered = next((cause for cause in reversed(causes) if isinstance(cause, OSError) and cause.errno and _plain(cause)), None)
    if numbered is not None:
        return _plain(numbered)
    return next((text for text in texts if text), type(error).__name__)


def _plain(error: OSError) -> str:
    """The system's own words, without the number."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    text = str(error)
    return text.partition("] ")[2] or error.strerror or text


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.exceptions[0] if isinstance(seen, BaseExceptionGroup) and seen.exceptions else seen.__cause__ or seen.__context__
