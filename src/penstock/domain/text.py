"""Text that came from outside (an exception, a server's answer, a remote runner), made fit for every store."""

_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with U+FFFD for NUL, which PostgreSQL refuses, and for halves of surrogate pairs, which UTF-8 cannot hold."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves that belong together become their character; a lone half is replaced.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
